//! Directories in which cases happen.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::script;
use crate::shapes::Shape;

static SCRATCH: OnceLock<PathBuf> = OnceLock::new();

/// This process's scratch directory, under `TXIMG_TMP` or the system's. It goes when the process
/// ends in an orderly way.
pub fn scratch() -> &'static Path {
    SCRATCH.get_or_init(|| {
        let parent = std::env::var_os("TXIMG_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new().prefix("tximg-tests-").tempdir_in(parent);
        // SAFETY: `sweep` is a function of the right type that does not unwind.
        unsafe { libc::atexit(sweep) };
        dir.expect("the directory for scratch files can be written").keep()
    })
}

extern "C" fn sweep() {
    if let Some(dir) = SCRATCH.get() {
        drop(fs::remove_dir_all(dir));
    }
}

/// The directory with a shape's files, built once for all cases, which only read it.
pub fn fixture(shape: &'static Shape) -> PathBuf {
    type Slot = Arc<OnceLock<PathBuf>>;
    static FIXTURES: OnceLock<Mutex<HashMap<&'static str, Slot>>> = OnceLock::new();
    let slot = {
        let mut all = FIXTURES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(shape.name).or_default())
    };
    slot.get_or_init(|| {
        let dir = scratch().join("shapes").join(shape.name.replace('/', "-"));
        fs::create_dir_all(&dir).expect("the scratch directory can be written");
        script::run(shape.script, &dir);
        dir
    })
    .clone()
}

/// A directory of a case's own that sees a shape's files through symbolic links.
pub fn linked(shape: &'static Shape) -> TempDir {
    let dir = empty();
    let fixture = fixture(shape);
    for entry in fs::read_dir(fixture).expect("a fixture can be listed").flatten() {
        symlink(entry.path(), dir.path().join(entry.file_name()))
            .expect("the scratch directory can be written");
    }
    dir
}

/// An empty directory of a case's own.
pub fn empty() -> TempDir {
    let dir = tempfile::Builder::new().prefix("case-").tempdir_in(scratch());
    dir.expect("the scratch directory can be written")
}
