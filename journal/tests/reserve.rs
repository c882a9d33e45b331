//! Space that was reserved for a change which did not happen is given back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use journal::{Allocate, ErrorKind, Fs, OpenOptions, RealFs, Transaction};

const LEN: u64 = 4 << 20;

/// Bytes on the filesystem.
fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// A file with some data, a hole, and data at its end.
fn sparse(path: &Path) {
    let file = RealFs;
    fs::write(path, vec![b'd'; 64 << 10]).unwrap();
    let disk = file.open(path, OpenOptions::WRITE).unwrap();
    disk.write_at(LEN - 4096, &[b'd'; 4096]).unwrap();
    disk.sync().unwrap();
}

#[test]
fn a_rollback_gives_reserved_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raw");
    let how = [
        (0..LEN + (8 << 20), Allocate::Grow),
        (LEN..LEN + (8 << 20), Allocate::KeepLength),
        (0..LEN, Allocate::KeepLength),
    ];
    for (range, how) in how {
        sparse(&path);
        let (bytes, before) = (fs::read(&path).unwrap(), allocated(&path));
        let transaction = Transaction::begin(Arc::new(RealFs), Arc::new(AtomicBool::new(false)));
        let disk = transaction.open(&path, OpenOptions::WRITE).unwrap().in_place().unwrap();
        match disk.allocate(range.clone(), how) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                eprintln!("skipped: the filesystem reserves no space");
                return;
            }
            result => result.unwrap(),
        }
        assert!(allocated(&path) > before, "{range:?} {how:?}: space is reserved");
        drop(transaction);
        assert_eq!(allocated(&path), before, "{range:?} {how:?}");
        assert!(fs::read(&path).unwrap() == bytes, "{range:?} {how:?}");
    }
}
