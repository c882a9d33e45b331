//! The installed QEMU tools, which decide what is right.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::run::{Outcome, Run};
use crate::words;

/// The version whose behaviour tximg reproduces.
const VERSION: &str = "10.0.";

/// The oracle's programs.
#[derive(Debug)]
pub struct Oracle {
    /// `qemu-img`.
    pub img: PathBuf,
    /// `qemu-io`.
    pub io: PathBuf,
}

/// The installed oracle.
///
/// # Panics
///
/// If it is missing or of another version: a suite without its oracle must not pass.
pub fn oracle() -> &'static Oracle {
    static ORACLE: OnceLock<Oracle> = OnceLock::new();
    ORACLE.get_or_init(|| Oracle { img: find("qemu-img"), io: find("qemu-io") })
}

/// Runs a command line of `qemu-img`.
///
/// # Panics
///
/// If it fails.
pub fn stock(dir: &Path, line: &str) -> Outcome {
    let outcome = Run::new(&oracle().img, dir).args(words::split(line)).run();
    assert!(outcome.success(), "{line}: {}", outcome.err());
    outcome
}

fn find(name: &str) -> PathBuf {
    let Some(program) = in_path(name) else {
        panic!("{name} is not installed: these tests compare with {name} {VERSION}x, please install it");
    };
    let version = Run::new(&program, Path::new("/")).args(["--version"]).run().out();
    assert!(
        version.contains(&format!("version {VERSION}")),
        "{} must be version {VERSION}x to be compared with, but says: {}",
        program.display(),
        version.lines().next().unwrap_or_default()
    );
    program
}

/// The first file of that name in `PATH`.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
