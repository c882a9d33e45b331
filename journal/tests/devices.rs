//! Block devices, through a loop device. Where none can be had (root can), that is skipped aloud.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests make real devices")]

use std::io::Write;
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
    /// A device, where one can be had.
    fn new() -> Option<Self> {
        let backing = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        backing.as_file().set_len(SIZE).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(backing.path()).output();
        let reason = match output {
            Ok(output) if output.status.success() => {
                let device = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
                return Some(Self { device, _backing: backing });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("losetup: {error}"),
        };
        let test = std::thread::current();
        // Not by a print macro: the test harness would keep that to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED {}: {reason}", test.name().unwrap_or("a test"));
        None
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[test]
fn a_device_has_a_fixed_capacity() {
    let Some(device) = Loop::new() else { return };
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
fn a_device_is_written_and_zeroed() {
    let Some(device) = Loop::new() else { return };
    for caching in [Caching::Cached, Caching::Direct] {
        let disk = RealFs
            .open(&device.device, OpenOptions { access: Access::Write, caching, ..OpenOptions::READ })
            .unwrap();
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
fn a_device_is_drafted_in_place() {
    let Some(device) = Loop::new() else { return };
    let draft = RealFs.draft(&device.device, DraftOptions::default()).unwrap();
    assert!(!draft.is_atomic());
    draft.disk().write_at(0, b"image").unwrap();
    draft.publish().unwrap();
    assert_eq!(std::fs::read(&device.device).unwrap()[..5], *b"image");
}
