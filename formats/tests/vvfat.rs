//! Directories as disks that change while they are read.

#![allow(clippy::disallowed_methods, reason = "the test changes files behind the library's back")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use formats::{Image, OpenContext, OpenFlags, PermissiveGate, Result, engine, open_image_opts};
use journal::RealFs;

/// Where the first file's bytes are on a floppy disk: behind two tables and the root directory.
const FIRST_FILE: u64 = 512 + 2 * 2 * 512 + 2 * 8192;

fn open(directory: &Path) -> Result<Image> {
    let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
    let text = format!("driver=vvfat,floppy=on,dir={}", directory.display());
    open_image_opts(&context, &OsString::from(text), OpenFlags::READ)
}

fn read(image: &Image, at: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0xee; 16];
    engine::read(image, at, &mut bytes).map(|()| bytes)
}

#[test]
fn a_file_that_has_changed_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, b"0123456789").unwrap();
    let image = open(dir.path()).unwrap();
    assert_eq!(read(&image, FIRST_FILE).unwrap(), b"0123456789\0\0\0\0\0\0");

    for change in [&b"0123"[..], b"0123456789abcdefgh"] {
        let image = open(dir.path()).unwrap();
        fs::write(&path, change).unwrap();
        let error = read(&image, FIRST_FILE).unwrap_err();
        let error = error.floor().unwrap().reason();
        assert!(error.contains("has been changed meanwhile"), "{error}");
        // What is not in the file can still be read.
        assert_eq!(read(&image, 510).unwrap()[..2], [0x55, 0xaa]);
        assert_eq!(read(&image, FIRST_FILE + 8192).unwrap(), [0; 16]);
    }

    let image = open(dir.path()).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(read(&image, FIRST_FILE).is_err());
    fs::create_dir(&path).unwrap();
    assert!(read(&image, FIRST_FILE).is_err());
}

#[test]
fn a_file_that_was_opened_is_still_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, vec![7; 20_000]).unwrap();
    let image = open(dir.path()).unwrap();
    assert_eq!(read(&image, FIRST_FILE).unwrap(), [7; 16]);
    fs::write(&path, vec![8; 20_000]).unwrap();
    assert!(read(&image, FIRST_FILE + 8192).is_err());
}
