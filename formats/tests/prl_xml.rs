//! Damaged descriptors of Parallels bundles.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::ffi::OsStr;

use formats::engine;
use formats::{Image, OpenContext, OpenFlags, PermissiveGate, Result, open_filename};
use journal::SimFs;
use simulated::random;

const DESCRIPTOR: &str = "<?xml version='1.0'?>
    <Parallels_disk_image Version='1.0'><Disk_Parameters><Disk_size>12</Disk_size><Padding>0</Padding></Disk_Parameters>
    <StorageData>
    <Storage><Start>0</Start><End>8</End><Blocksize>8</Blocksize>
    <Image><GUID>{1}</GUID><Type>Plain</Type><File>a</File></Image>
    <Image><GUID>{2}</GUID><Type>Compressed</Type><File>b</File></Image></Storage>
    <Storage><Start>8</Start><End>12</End><Blocksize>8</Blocksize>
    <Image><GUID>{1}</GUID><Type>Plain</Type><File>c</File></Image></Storage>
    </StorageData>
    <Snapshots><TopGUID>{2}</TopGUID>
    <Shot><GUID>{2}</GUID><ParentGUID>{1}</ParentGUID></Shot></Snapshots></Parallels_disk_image>";

/// An expandable image of 8 sectors, of which clusters of two sectors the second is there, with ones.
fn expandable() -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    bytes[..16].copy_from_slice(b"WithouFreSpacExt");
    for (at, number) in [(16, 2_u32), (28, 2), (32, 4), (36, 8), (48, 2), (68, 1)] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes[1024..].fill(1);
    bytes
}

fn open(descriptor: &[u8]) -> Result<Image> {
    let fs = SimFs::new();
    fs.add_directory("/");
    fs.add_file("/DiskDescriptor.xml", descriptor);
    fs.add_file("/a", &[7; 4096]);
    fs.add_file("/b", &expandable());
    fs.add_file("/c", &[9; 2048]);
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new("/DiskDescriptor.xml"), Some("prl-xml"), OpenFlags::READ)
}

#[test]
fn the_top_image_hides_what_it_holds() {
    let image = open(DESCRIPTOR.as_bytes()).unwrap();
    let mut bytes = vec![0; 6144];
    engine::read(&image, 0, &mut bytes).unwrap();
    assert!(bytes[..1024] == [7; 1024] && bytes[1024..2048] == [1; 1024] && bytes[2048..4096] == [7; 2048]);
    assert!(bytes[4096..] == [9; 2048]);
}

#[test]
fn a_damaged_descriptor_is_an_error_or_an_answer() {
    let mut below = random();
    let mut opened = 0;
    for _ in 0..20_000 {
        let mut bytes = DESCRIPTOR.as_bytes().to_vec();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = b'0' + below(10) as u8,
                1 => bytes[at] = below(256) as u8,
                2 => drop(bytes.drain(at..(at + below(40)).min(DESCRIPTOR.len() / 2).max(at))),
                _ => bytes[at] = b"<>/{}&;'"[below(8)],
            }
        }
        let Ok(image) = open(&bytes) else { continue };
        opened += 1;
        let mut buffer = vec![0; image.virtual_size().min(100_000) as usize];
        drop(engine::read(&image, 0, &mut buffer));
    }
    assert!(opened > 100, "{opened}");
}
