//! Directories as disks, byte for byte as QEMU's `vvfat` has them.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use testkit::effects::run_tximg;
use testkit::oracle::oracle;
use testkit::run::Run;
use testkit::tximg::own;
use testkit::{need, scene, script};

const CLUSTER: usize = 8192;

/// Makes a directory.
type Maker = fn(&Path);

fn file(dir: &Path, name: impl AsRef<OsStr>, len: usize) {
    let seed = name.as_ref().as_bytes().iter().fold(1, |seed, byte| seed * 31 % 65521 + u64::from(*byte));
    fs::write(dir.join(name.as_ref()), script::noise(len as u64, seed))
        .expect("scratch files can be written");
}

fn below(dir: &Path, name: &str) -> std::path::PathBuf {
    fs::create_dir_all(dir.join(name)).expect("scratch directories can be made");
    dir.join(name)
}

/// Sizes around the ends of sectors and clusters.
const SIZES: [usize; 10] = [0, 1, 5, 511, 512, 513, CLUSTER - 1, CLUSTER, CLUSTER + 1, 20_000];

fn sizes(dir: &Path) {
    SIZES.iter().for_each(|len| file(dir, format!("size{len}"), *len));
}

fn names(dir: &Path) {
    let names = [
        "a",
        "b.txt",
        "B.TXT",
        "long file name with spaces.text",
        "ünï.txt",
        "日本語ファイル.txt",
        "ħ.x",
        "ı.ſ",
        "ß.doc",
        ".hidden",
        "..two",
        "a.b.c.d",
        "trailing.",
        "12345678.123",
        "123456789.1234",
        "abcdefghijklm",
        "abcdefghijklmnopqrstuvwxyz",
        "readme",
        "README",
        "ReadMe",
        "QEMU VVF.AT",
        "$%'-_@~`!(){}^#&",
        "+,;=[]",
        "~1",
        "😀😀😀.txt",
        "name~1",
        "ΐ.txt",
        "ŉ.a",
        "ﬁ.t",
        " lead",
        "tab\there",
    ];
    names.iter().zip(SIZES.iter().cycle()).for_each(|(name, len)| file(dir, name, *len));
    file(dir, "x".repeat(255), 3);
    for name in [&b"bad\xffname"[..], b"\xe9t\xe9.txt", b"\xc3", b"a\xe2\x28\xa1.b\xc0"] {
        file(dir, OsStr::from_bytes(name), 7);
    }
}

fn nested(dir: &Path) {
    sizes(&below(dir, "one/two/three"));
    sizes(&below(dir, "one/Another directory"));
    below(dir, "empty");
}

fn many(dir: &Path) {
    let many = below(dir, "many");
    (0..300).for_each(|number| file(&many, format!("file number {number}.bin"), number % 2));
}

fn full_root(dir: &Path) {
    (0..255).for_each(|number| file(dir, format!("f{number}"), 0));
}

fn times(dir: &Path) {
    sizes(dir);
    for (name, seconds) in [("size1", 0), ("size5", 86_400 * 365 * 20), ("size511", 4_000_000_000)] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = fs::File::options().write(true).open(dir.join(name)).expect("the file is there");
        file.set_times(fs::FileTimes::new().set_modified(time)).expect("times can be set");
    }
}

fn links(dir: &Path) {
    sizes(&below(dir, "sub"));
    for (target, name) in [("sub/size513", "file"), ("sub", "again"), ("gone", "dangling"), (".", "loop")] {
        symlink(target, dir.join(name)).expect("links can be made");
    }
    symlink("/dev/null", dir.join("device")).expect("links can be made");
}

const MAKERS: [(&str, Maker); 7] = [
    ("sizes", sizes),
    ("names", names),
    ("nested", nested),
    ("many", many),
    ("root", full_root),
    ("times", times),
    ("links", links),
];

const MEDIA: [&str; 7] = ["12:", "floppy:", "floppy:12:", "floppy:16:", "floppy:32:", "16:", "32:"];

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

/// Clears what is behind the ends of files: QEMU leaves there what it has read before.
fn clear_tails(disk: &mut [u8]) {
    let boot = if disk[0] == 0xeb { 0 } else { 63 * 512 };
    let root = boot + 512 * (1 + 2 * number(disk, boot + 0x16, 2));
    let mut directories = vec![root];
    let mut seen = Vec::new();
    while let Some(directory) = directories.pop() {
        let entries = (directory..).step_by(32).take_while(|at| disk[*at] != 0).collect::<Vec<_>>();
        for at in entries {
            let (attributes, size) = (disk[at + 11], number(disk, at + 28, 4));
            let cluster = number(disk, at + 26, 2) + (number(disk, at + 20, 2) << 16);
            let start = root + cluster * CLUSTER;
            match attributes {
                0x10 if disk[at] != b'.' && !seen.contains(&cluster) => {
                    seen.push(cluster);
                    directories.push(start);
                }
                0x20 => disk[start + size..start + size.next_multiple_of(CLUSTER)].fill(0),
                _ => {}
            }
        }
    }
}

#[test]
fn every_byte_is_as_in_qemu() {
    if need::lacks(&["qemu-img"]) {
        return;
    }
    let scene = scene::empty();
    let dir = scene.path();
    for (maker, make) in MAKERS {
        make(&below(dir, maker));
        // Reading changes when a file was read last; let that be so before.
        run_tximg(dir, ["convert", &format!("fat:12:{maker}"), "ours"]);
        for medium in MEDIA {
            // Of the large disks one is enough.
            if medium.len() == 3 && !["12:", "16:"].contains(&medium) && maker != "nested" {
                continue;
            }
            let name = format!("fat:{medium}{maker}");
            let stock = Run::new(&oracle().img, dir).args(["convert", "-O", "raw", &name, "stock"]).run();
            let ours = run_tximg(dir, ["convert", "-O", "raw", &name, "ours"]);
            assert_eq!(ours.code(), stock.code(), "{name}: {}", ours.err());
            assert_eq!(ours.err(), stock.err(), "{name}");
            if !ours.success() {
                continue;
            }
            let read = |name: &str| fs::read(dir.join(name)).expect("the target is there");
            let (mut stock, ours) = (read("stock"), read("ours"));
            clear_tails(&mut stock);
            let differs = stock.iter().zip(&ours).position(|(one, two)| one != two);
            assert!(stock.len() == ours.len() && differs.is_none(), "{name}: {differs:x?}");
        }
    }
}

#[test]
fn a_directory_that_is_too_large_is_refused() {
    let scene = scene::empty();
    let dir = scene.path();
    let refused = |name: &str, words: &str| {
        let run = run_tximg(dir, ["convert", "-O", "raw", name, "out"]);
        assert!(!run.success() && run.err().contains(words), "{name}: {}", run.err());
    };
    file(&below(dir, "root"), "f", 0);
    (0..256).for_each(|number| file(&dir.join("root"), format!("f{number}"), 0));
    refused("fat:root", "Too many entries in root directory");
    let huge = fs::File::create(below(dir, "huge").join("f")).expect("scratch files can be made");
    huge.set_len(1 << 31).expect("scratch files can be grown");
    refused("fat:huge", "File huge/f is larger than 2GB");
    huge.set_len((1 << 31) - 1).expect("scratch files can be cut");
    refused("fat:huge", "Directory does not fit in FAT16 (capacity 516.06 MB)");
    refused("fat:12:huge", "Directory does not fit in FAT12 (capacity 32.22 MB)");
    // A tree that never ends: each of its directories holds all of it, twice.
    let endless = below(dir, "endless");
    symlink(".", endless.join("a")).expect("links can be made");
    symlink(".", endless.join("b")).expect("links can be made");
    refused("fat:endless", "Directory does not fit in FAT16");
}

#[test]
fn a_stranger_is_shown_no_directory() {
    let scene = scene::empty();
    let dir = scene.path();
    file(&below(dir, "d"), "secret", 100);
    for line in [
        "convert --untrusted -f raw fat:d out",
        "convert --untrusted --image-opts driver=raw,file.driver=vvfat,file.dir=d out",
        "info --untrusted --image-opts driver=vvfat,dir=d",
    ] {
        let run = own(dir, line);
        assert!(!run.success() && !run.err().is_empty(), "{line}: {}", run.out());
    }
    let made =
        run_tximg(dir, ["create", "-q", "-f", "qcow2", "-b", "fat:floppy:d", "-F", "raw", "over.qcow2"]);
    assert!(made.success(), "{}", made.err());
    let run = own(dir, "convert --untrusted -f qcow2 over.qcow2 out");
    assert!(!run.success() && run.err().contains("not trusted"), "{}", run.err());
}
