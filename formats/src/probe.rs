//! Which format a file has, by looking at its first bytes.
//!
//! Every format that QEMU knows is recognised, whether tximg has a driver for it or not: an image
//! must never be taken for raw because its driver is missing here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use journal::Disk;

use crate::{Format, Result};

/// How much of the file is looked at.
const PROBED: usize = 2048;
/// How much of it has to be readable.
const NEEDED: usize = 512;

/// The most likely format of a file; raw if it is like no other.
pub fn probe(disk: &dyn Disk, filename: &OsStr) -> Result<Format> {
    if disk.is_empty()? {
        return Ok(Format::Raw);
    }
    let mut start = vec![0; PROBED];
    let mut got = disk.read_at(0, &mut start[..NEEDED])?;
    if got == NEEDED {
        got += disk.read_at(NEEDED as u64, &mut start[NEEDED..]).unwrap_or(0);
    }
    start.truncate(got);
    Ok(probe_bytes(&start, filename.as_bytes()))
}

/// The most likely format of a file that starts with these bytes.
pub fn probe_bytes(start: &[u8], filename: &[u8]) -> Format {
    let scored = Format::ALL.into_iter().map(|format| (score(format, start, filename), format));
    // The first of equals wins, and raw is always possible.
    let best = scored.rev().max_by_key(|(score, _)| *score);
    best.map_or(Format::Raw, |(_, format)| format)
}

/// The formats that a file's first bytes are certainly of.
pub(crate) fn certain(start: &[u8]) -> impl Iterator<Item = Format> {
    let start = &start[..start.len().min(PROBED)];
    Format::ALL.into_iter().filter(|format| score(*format, start, b"") == 100)
}

/// How sure QEMU is, from 0 to 100.
fn score(format: Format, start: &[u8], filename: &[u8]) -> u8 {
    let certain = |is: bool| if is { 100 } else { 0 };
    match format {
        Format::Raw => 1,
        Format::Qcow2 => certain(start.starts_with(b"QFI\xfb") && be32(start, 4).is_some_and(|v| v >= 2)),
        Format::Qcow => certain(start.starts_with(b"QFI\xfb") && be32(start, 4) == Some(1)),
        Format::Qed => certain(start.starts_with(b"QED\0") && start.len() >= 64),
        Format::Vmdk => certain(is_vmdk(start)),
        Format::Vdi => certain(le32(start, 0x40) == Some(0xbeda_107f)),
        Format::Vpc => certain(start.starts_with(b"conectix")),
        Format::Vhdx => certain(start.starts_with(b"vhdxfile")),
        Format::Parallels => certain(is_parallels(start)),
        Format::PrlXml => {
            if is_bundle(start, filename) {
                2
            } else {
                0
            }
        }
        Format::Luks => certain(start.starts_with(b"LUKS\xba\xbe") && start.get(6..8) == Some(&[0, 1])),
        Format::Bochs => certain(is_bochs(start)),
        Format::Cloop => {
            if start.starts_with(
                b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n",
            ) {
                2
            } else {
                0
            }
        }
        Format::Dmg => {
            if filename.ends_with(b".dmg") {
                2
            } else {
                0
            }
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A sparse extent, or a descriptor: comments and blank lines, then a version.
fn is_vmdk(start: &[u8]) -> bool {
    if start.starts_with(b"KDMV") || start.starts_with(b"COWD") {
        return true;
    }
    let lines = start.split_inclusive(|byte| *byte == b'\n');
    for line in lines {
        if line.starts_with(b"#") {
            continue;
        }
        let text = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        match text {
            Some(text) if text.iter().all(|byte| *byte == b' ') => {}
            Some(text) => return [&b"version=1"[..], b"version=2", b"version=3"].contains(&text),
            None => return false,
        }
    }
    false
}

fn is_parallels(start: &[u8]) -> bool {
    let magic = start.starts_with(b"WithoutFreeSpace") || start.starts_with(b"WithouFreSpacExt");
    start.len() >= 64 && magic && le32(start, 16) == Some(2)
}

/// The descriptor of a bundle. Its name counts: guests can write what looks like one.
fn is_bundle(start: &[u8], filename: &[u8]) -> bool {
    let tag = b"<Parallels_disk_image";
    filename.ends_with(b"DiskDescriptor.xml") && start.windows(tag.len()).any(|bytes| bytes == tag)
}

/// Three texts in fields of 32, 16 and 16 bytes, and a version.
fn is_bochs(start: &[u8]) -> bool {
    let field = |at: usize, text: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(text));
    field(0, b"Bochs Virtual HD Image\0")
        && field(32, b"Redolog\0")
        && field(48, b"Growing\0")
        && matches!(le32(start, 64), Some(0x0001_0000 | 0x0002_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(start: &[u8]) -> Format {
        let mut bytes = start.to_vec();
        bytes.resize(PROBED, 0);
        probe_bytes(&bytes, b"image")
    }

    #[test]
    fn magics_are_recognised() {
        let bochs = [
            &b"Bochs Virtual HD Image\0\0\0\0\0\0\0\0\0\0Redolog\0\0\0\0\0\0\0\0\0Growing\0\0\0\0\0\0\0\0\0"
                [..],
            &[0, 0, 2, 0],
        ]
        .concat();
        for (start, format) in [
            (&b""[..], Format::Raw),
            (b"QFI\xfb\0\0\0\x02", Format::Qcow2),
            (b"QFI\xfb\0\0\0\x03", Format::Qcow2),
            (b"QFI\xfb\0\0\0\x01", Format::Qcow),
            (b"QFI\xfb\0\0\0\0", Format::Raw),
            (b"QED\0", Format::Qed),
            (b"KDMV", Format::Vmdk),
            (b"COWD", Format::Vmdk),
            (b"# Disk DescriptorFile\n\n \nversion=1\n", Format::Vmdk),
            (b"# Disk DescriptorFile\r\nversion=3\r\n", Format::Vmdk),
            (b"# Disk DescriptorFile\nversion=4\n", Format::Raw),
            (b"conectix", Format::Vpc),
            (b"vhdxfile", Format::Vhdx),
            (b"WithoutFreeSpace\x02\0\0\0", Format::Parallels),
            (b"WithouFreSpacExt\x02\0\0\0", Format::Parallels),
            (b"WithoutFreeSpace\x03\0\0\0", Format::Raw),
            (b"LUKS\xba\xbe\0\x01", Format::Luks),
            (b"LUKS\xba\xbe\0\x02", Format::Raw),
            (&bochs, Format::Bochs),
        ] {
            assert_eq!(probed(start), format, "{:?}", String::from_utf8_lossy(start));
        }
        let mut vdi = vec![0; 0x40];
        vdi.extend_from_slice(&0xbeda_107f_u32.to_le_bytes());
        assert_eq!(probed(&vdi), Format::Vdi);
    }

    #[test]
    fn short_files_and_names() {
        assert_eq!(probe_bytes(b"QFI", b"x"), Format::Raw);
        assert_eq!(probe_bytes(b"x", b"x.dmg"), Format::Dmg);
        assert_eq!(probe_bytes(b"QFI\xfb\0\0\0\x03", b"x.dmg"), Format::Qcow2);
        assert_eq!(probe_bytes(b"", b""), Format::Raw);
        let bundle = b"<?xml version='1.0'?>\n<Parallels_disk_image Version='1.0'>";
        assert_eq!(probe_bytes(bundle, b"a.hdd/DiskDescriptor.xml"), Format::PrlXml);
        assert_eq!(probe_bytes(bundle, b"a.xml"), Format::Raw);
    }
}
