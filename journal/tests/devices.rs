//! Block devices, through a loop device: needs root and `losetup`.
//!
//! Run with `cargo test -p journal --test devices -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests make real devices")]

use std::path::PathBuf;
use std::process::Command;

use journal::{
    Access, AlignedBuf, Allocate, Caching, DiskKind, DraftOptions, ErrorKind, ExtentKind, Fs, OpenOptions,
    RealFs, Zeroing,
};

const SIZE: u64 = 4 << 20;

/// A loop device over a file, until it is dropped.
struct Loop {
    device: PathBuf,
    _backing: tempfile::NamedTempFile,
}

impl Loop {
    fn new() -> Self {
        let backing = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        backing.as_file().set_len(SIZE).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(backing.path()).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        let device = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        Self { device, _backing: backing }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_has_a_fixed_capacity() {
    let device = Loop::new();
    let disk = RealFs.open(&device.device, OpenOptions::WRITE).unwrap();
    let status = disk.status().unwrap();
    assert_eq!((status.kind, status.len, disk.len().unwrap()), (DiskKind::Block, SIZE, SIZE));
    disk.set_len(SIZE).unwrap();
    disk.set_len(5).unwrap();
    assert_eq!(disk.len().unwrap(), SIZE);
    assert_eq!(disk.set_len(SIZE + 1).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(disk.zero(SIZE - 1..SIZE + 1, Zeroing::Keep).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(disk.allocate(0..SIZE, Allocate::Grow).unwrap_err().kind(), ErrorKind::Unsupported);
    let extent = disk.extent_at(0).unwrap();
    assert_eq!((extent.kind, extent.end), (ExtentKind::Data, SIZE));
    assert_eq!(disk.write_at(SIZE, b"x").unwrap_err().kind(), ErrorKind::NoSpace);
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_is_written_and_zeroed() {
    let device = Loop::new();
    for caching in [Caching::Cached, Caching::Direct] {
        let disk = RealFs.open(&device.device, OpenOptions { access: Access::Write, caching }).unwrap();
        let mut bulk = AlignedBuf::new(1 << 20);
        bulk.fill(3);
        disk.write_bulk_at(0, &bulk).unwrap();
        disk.write_at(1000, &[4; 5000]).unwrap();
        disk.zero(8192..65536, Zeroing::Unmap).unwrap();
        disk.zero(70_001..80_003, Zeroing::Keep).unwrap();
        disk.sync().unwrap();
        let mut expected = vec![3; 1 << 20];
        expected[1000..6000].fill(4);
        expected[8192..65536].fill(0);
        expected[70_001..80_003].fill(0);
        let mut seen = vec![9; 1 << 20];
        disk.read_exact_at(0, &mut seen).unwrap();
        assert!(seen == expected, "{caching:?}");
    }
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_is_drafted_in_place() {
    let device = Loop::new();
    let draft = RealFs.draft(&device.device, DraftOptions::default()).unwrap();
    assert!(!draft.is_atomic());
    draft.disk().write_at(0, b"image").unwrap();
    draft.publish().unwrap();
    assert_eq!(std::fs::read(&device.device).unwrap()[..5], *b"image");
}
