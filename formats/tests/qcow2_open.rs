//! What is refused when an image is opened, in QEMU's words: headers, extensions, snapshot tables
//! and bitmap directories that this test damages.

#![allow(clippy::disallowed_methods, reason = "the test damages image files behind the library's back")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::Path;

use common::{Scratch, open_qcow2, qemu_img, qemu_io};
use formats::{Driver, OpenFlags};

/// What opening for `map` says on standard error: nothing where it succeeds.
fn ours(path: &Path, flags: &OpenFlags) -> String {
    match open_qcow2(path, flags) {
        Ok(_) => String::new(),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("{hint}\n")).unwrap_or_default();
            format!("qemu-img: Could not open '{}': {}\n{hint}", path.display(), error.report())
        }
    }
}

fn theirs(path: &Path, command: &str) -> String {
    let output = qemu_img(&[command, "-f", "qcow2", path.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    // Troubles behind the door are not this test's, nor are warnings before the refusal.
    let refusal = stderr.find("qemu-img: Could not open").map(|at| stderr[at..].to_owned());
    refusal.filter(|text| !text.contains("Could not open backing file")).unwrap_or_default()
}

struct Victim {
    bytes: Vec<u8>,
}

impl Victim {
    /// Writes the image with `patch` at `at`, and compares what is said of it.
    fn compare(&self, scratch: &Scratch, at: usize, patch: &[u8]) {
        let path = scratch.path("victim");
        let mut bytes = self.bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        std::fs::write(&path, bytes).unwrap();
        let info = OpenFlags { data: false, ..OpenFlags::READ };
        for (command, flags) in [("map", OpenFlags::READ), ("info", info)] {
            assert_eq!(ours(&path, &flags), theirs(&path, command), "{command}: {at:#x} {patch:x?}");
        }
    }

    fn find(&self, magic: u32) -> usize {
        let magic = magic.to_be_bytes();
        (112..4096).step_by(8).find(|&at| self.bytes[at..at + 4] == magic).unwrap()
    }

    fn word(&self, at: usize) -> usize {
        u64::from_be_bytes(self.bytes[at..at + 8].try_into().unwrap()) as usize
    }
}

/// An image with a backing file, two snapshots and two bitmaps.
fn victim(scratch: &Scratch) -> Victim {
    let base = scratch.path("base");
    let path = scratch.path("image");
    let (base, image) = (base.to_str().unwrap(), path.to_str().unwrap());
    assert!(qemu_img(&["create", "-q", "-f", "raw", base, "1M"]).status.success());
    let create = ["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image, "1M"];
    assert!(qemu_img(&create).status.success());
    for name in ["first", "second"] {
        assert!(qemu_img(&["bitmap", "--add", "-g", "65536", image, name]).status.success());
        assert!(qemu_img(&["snapshot", "-c", name, image]).status.success());
        qemu_io(image, &["write 0 64k"]);
    }
    Victim { bytes: std::fs::read(path).unwrap() }
}

/// Values that fields of one, two, four and eight bytes may be damaged to.
const VALUES: &[u64] = &[0, 1, 2, 7, 0x1000, 0x0fff_ffff, 0x7fff_ffff_ffff_fe00, u64::MAX];

#[test]
fn every_field_of_the_header() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = victim(&scratch);
    for (at, size) in [
        (0, 4),
        (4, 4),
        (8, 8),
        (16, 4),
        (20, 4),
        (24, 8),
        (32, 4),
        (36, 4),
        (40, 8),
        (48, 8),
        (56, 4),
        (60, 4),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 8),
        (96, 4),
        (100, 4),
        (104, 1),
    ] {
        for value in VALUES {
            // AES encryption is known and not supported yet: that is said in other words. Of the
            // largest size QEMU thinks that no L1 entry is needed for it.
            if [(32, 1), (24, u64::MAX)].contains(&(at, *value)) {
                continue;
            }
            victim.compare(&scratch, at, &value.to_be_bytes()[8 - size..]);
        }
    }
}

#[test]
fn every_field_of_the_extensions() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = victim(&scratch);
    for magic in [0xe279_2acau32, 0x6803_f857, 0x2385_2875] {
        let at = victim.find(magic);
        for value in VALUES {
            victim.compare(&scratch, at, &value.to_be_bytes()[4..]);
            victim.compare(&scratch, at + 4, &value.to_be_bytes()[4..]);
        }
        for other in [0x0537_be77u32, 0x4441_5441, 0x2385_2875, 0xe279_2aca] {
            victim.compare(&scratch, at, &other.to_be_bytes());
        }
    }
    let bitmaps = victim.find(0x2385_2875) + 8;
    for value in VALUES {
        for (at, size) in [(0, 4), (4, 4), (8, 8), (16, 8)] {
            victim.compare(&scratch, bitmaps + at, &value.to_be_bytes()[8 - size..]);
        }
    }
}

#[test]
fn every_field_of_the_bitmap_directory_and_a_table() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = victim(&scratch);
    let directory = victim.word(victim.find(0x2385_2875) + 24);
    let table = victim.word(directory);
    for value in VALUES {
        for (at, size) in [(0, 8), (8, 4), (12, 4), (16, 1), (17, 1), (18, 2), (20, 4), (24, 1)] {
            // QEMU takes lengths of 2 GiB and more for negative ones, and words them differently.
            if at != 20 || *value as u32 <= i32::MAX as u32 {
                victim.compare(&scratch, directory + at, &value.to_be_bytes()[8 - size..]);
            }
        }
        victim.compare(&scratch, table, &value.to_be_bytes());
    }
    // Two bitmaps of one name.
    victim.compare(&scratch, directory + 24, b"second");
}

#[test]
fn every_field_of_the_snapshot_table() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = victim(&scratch);
    let table = victim.word(64);
    for value in VALUES {
        for (at, size) in [(0, 8), (8, 4), (12, 2), (14, 2), (36, 4)] {
            victim.compare(&scratch, table + at, &value.to_be_bytes()[8 - size..]);
        }
    }
}

/// An encrypted image, or nothing where this QEMU cannot make it.
fn encrypted(scratch: &Scratch, options: &str) -> Option<Victim> {
    let path = scratch.path("encrypted");
    let image = path.to_str().unwrap();
    let options = format!("encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=1{options}");
    let object = ["--object", "secret,id=key,data=open"];
    let create = [&["create", "-q"], &object[..], &["-f", "qcow2", "-o", &options, image, "1M"]].concat();
    qemu_img(&create).status.success().then(|| Victim { bytes: std::fs::read(&path).unwrap() })
}

#[test]
fn what_can_be_told_of_encrypted_images() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let others = [
        "",
        ",encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
        ",encrypt.hash-alg=sha512",
    ];
    for options in others {
        let victim = encrypted(&scratch, options).unwrap();
        let path = scratch.path("encrypted");
        std::fs::write(&path, &victim.bytes).unwrap();
        let output = qemu_img(&["info", "--output=json", path.to_str().unwrap()]);
        let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let driver = open_qcow2(&path, &OpenFlags { data: false, ..OpenFlags::READ }).unwrap();
        let specific = driver.details().unwrap().specific.unwrap();
        assert_eq!(specific.to_string(), info["format-specific"].to_string(), "{options}");
        assert!(open_qcow2(&path, &OpenFlags::READ).is_err());
    }
}

#[test]
fn every_field_of_the_encryption_header() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let victim = encrypted(&scratch, "").unwrap();
    let header = victim.word(victim.find(0x0537_be77) + 8);
    let patches: [(usize, &[u8]); 12] = [
        (0, b"X"),
        (6, &[0, 3]),
        (8, b"foo\0"),
        (8, &[b'x'; 32]),
        (40, b"foo\0"),
        (40, b"cbc-foo\0"),
        (40, &[b'x'; 32]),
        (72, b"foo\0"),
        (108, &[0, 0, 0, 7]),
        (164, &[0; 4]),
        (208, &[0, 0, 0, 1]),
        (252, &[0, 0, 0, 1]),
    ];
    for (at, patch) in patches {
        let path = scratch.path("victim");
        let mut bytes = victim.bytes.clone();
        bytes[header + at..header + at + patch.len()].copy_from_slice(patch);
        std::fs::write(&path, bytes).unwrap();
        let flags = OpenFlags { data: false, ..OpenFlags::READ };
        assert_eq!(ours(&path, &flags), theirs(&path, "info"), "{at}: {patch:x?}");
    }
}
