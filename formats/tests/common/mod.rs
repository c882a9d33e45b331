//! What the tests against QEMU share.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each test uses some of it")]

#[path = "../../../tests/src/need.rs"]
pub mod need;
#[path = "../../../tests/src/start.rs"]
pub mod start;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use formats::qcow2::{OpenRequest, Qcow2};
use formats::{Error, OpenFlags, Result};
use journal::{Disk, Fs, OpenOptions, RealFs};

/// A directory that goes with the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Runs QEMU's qemu-img. A missing one fails the test.
pub fn qemu_img(arguments: &[&str]) -> Output {
    let mut qemu_img = Command::new("qemu-img");
    start::output(qemu_img.args(arguments).env("LC_ALL", "C")).expect("qemu-img is installed")
}

/// Changes a qcow2 image with QEMU.
pub fn qemu_io(image: &str, commands: &[&str]) {
    let mut qemu_io = Command::new("qemu-io");
    qemu_io.args(["-f", "qcow2"]);
    for command in commands {
        qemu_io.args(["-c", command]);
    }
    let output = start::output(qemu_io.arg(image)).expect("qemu-io is installed");
    assert!(output.status.success(), "{commands:?}: {output:?}");
}

/// Opens an image, and its external data file beside it.
pub fn open_qcow2(path: &Path, flags: &OpenFlags) -> Result<Qcow2> {
    let open = |path: &Path| RealFs.open(path, OpenOptions::READ).map_err(Error::from);
    let file = open(path)?;
    let by_name = |name: &[u8]| -> Result<Arc<dyn Disk>> {
        open(&path.parent().unwrap().join(OsStr::from_bytes(name)))
    };
    Qcow2::open(
        file,
        &OpenRequest { flags, data_file: None, open_data_file: &by_name, find_passphrase: &no_key },
    )
}

fn no_key(
    _: formats::qcow2::header::Encryption,
) -> formats::Result<std::sync::Arc<formats::secrets::Secret>> {
    Err(formats::Error::invalid("No secret"))
}
