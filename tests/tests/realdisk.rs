//! A real filesystem through every kind of target and back.
//!
//! `TXIMG_DISK_GIB` is how large the disk is (default: half a GiB, which a part of `/usr`
//! fills; from 6 on, all of `/usr` goes in). The large run is meant for `--release`.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::oracle::oracle;
use testkit::run::Run;
use testkit::tximg::tximg;
use testkit::{content, scene};

/// No conversion of the largest disk takes longer.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Kinds of target that the disk goes through.
const KINDS: [(&str, &[&str]); 4] = [
    ("plain", &[]),
    ("zlib", &["-c"]),
    ("zstd", &["-c", "-o", "compression_type=zstd"]),
    ("subclusters", &["-o", "extended_l2=on,cluster_size=128k"]),
];

#[test]
fn a_real_disk_comes_back_unchanged() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "mkfs.ext4"]) {
        return;
    }
    let gib: f64 =
        std::env::var("TXIMG_DISK_GIB").map_or(0.5, |text| text.parse().expect("TXIMG_DISK_GIB is a number"));
    let scene = scene::empty();
    let dir = scene.path();
    make_disk(dir, gib);
    for (kind, options) in KINDS {
        let there = [&["convert", "-f", "raw", "-O", "qcow2"], options, &["disk.raw", "disk.qcow2"]].concat();
        succeed(tximg(), dir, &there);
        for program in [&oracle().img, tximg()] {
            succeed(program, dir, &["check", "-q", "disk.qcow2"]);
            succeed(program, dir, &["compare", "-q", "-f", "raw", "-F", "qcow2", "disk.raw", "disk.qcow2"]);
        }
        succeed(tximg(), dir, &["convert", "-f", "qcow2", "-O", "raw", "disk.qcow2", "back.raw"]);
        let difference = content::difference(&dir.join("disk.raw"), &dir.join("back.raw"));
        assert_eq!(difference.expect("both can be read"), None, "{kind}");
    }
}

/// A disk with an ext4 filesystem that holds what this machine has installed.
fn make_disk(dir: &Path, gib: f64) {
    let disk = dir.join("disk.raw");
    let bytes = (gib * f64::from(1 << 30)) as u64;
    std::fs::File::create(&disk).and_then(|file| file.set_len(bytes)).expect("scratch files can be written");
    let source = if gib >= 6.0 { "/usr" } else { "/usr/bin" };
    let source = if gib >= 1.0 || fits(source, bytes) { source } else { "/usr/sbin" };
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-d", source]).arg(&disk).status();
    assert!(made.expect("mkfs.ext4 is installed").success(), "{source} does not fit into {gib} GiB");
}

/// Whether a directory's files fill no more than half of that many bytes.
fn fits(dir: &str, bytes: u64) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes =
        entries.filter_map(|entry| std::fs::symlink_metadata(entry.path()).ok().map(|data| data.len()));
    sizes.sum::<u64>() <= bytes / 2
}

fn succeed(program: &Path, dir: &Path, args: &[&str]) {
    let outcome = Run::new(program, dir).args(args).timeout(PATIENCE).run();
    assert!(outcome.success(), "{args:?}: {}: {}{}", outcome.status_text(), outcome.out(), outcome.err());
}
