//! `check` against QEMU's: the same findings, word for word and in the same order, on images that
//! QEMU made and this test damaged.

#![allow(clippy::disallowed_methods, reason = "the test damages image files behind the library's back")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Scratch, open_qcow2, qemu_img, qemu_io};
use formats::{CheckReport, Driver, Finding, OpenFlags};

/// What a check says: lines on standard error, and the sums if it got that far.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    stderr: String,
    sums: Option<Vec<(String, u64)>>,
}

fn ours(image: &Path) -> Verdict {
    let mut stderr = String::new();
    let mut tell = |finding| match finding {
        Finding::Line(line) => stderr += &format!("{line}\n"),
        Finding::Complaint(line) => stderr += &format!("qemu-img: {line}\n"),
    };
    let flags = OpenFlags { check: true, ..OpenFlags::READ };
    let result = match open_qcow2(image, &flags) {
        Ok(driver) => driver.check(&mut tell).map_err(|error| format!("Check failed: {}", error.report())),
        Err(error) => Err(format!("Could not open '{}': {}", image.display(), error.report())),
    };
    match result {
        Ok(report) => {
            if report.check_errors > 0 {
                stderr += "qemu-img: Check failed\n";
            }
            Verdict { stderr, sums: Some(sums(&report)) }
        }
        Err(line) => Verdict { stderr: format!("{stderr}qemu-img: {line}\n"), sums: None },
    }
}

fn sums(report: &CheckReport) -> Vec<(String, u64)> {
    let sums = [
        ("image-end-offset", report.image_end_offset.unwrap_or(0)),
        ("total-clusters", report.total_clusters),
        ("check-errors", report.check_errors),
        ("corruptions", report.corruptions),
        ("leaks", report.leaks),
        ("allocated-clusters", report.allocated_clusters),
        ("fragmented-clusters", report.fragmented_clusters),
        ("compressed-clusters", report.compressed_clusters),
    ];
    let mut sums: Vec<_> = sums.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    sums.sort();
    sums
}

fn theirs(image: &Path) -> Verdict {
    let path = image.to_str().unwrap();
    let output = qemu_img(&["check", "-f", "qcow2", "--output=json", path]);
    let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let sums = report.map(|report| {
        let keys = sums(&CheckReport::default());
        keys.into_iter().map(|(key, _)| (key.clone(), report[&key].as_u64().unwrap_or(0))).collect()
    });
    Verdict { stderr: String::from_utf8_lossy(&output.stderr).into_owned(), sums }
}

/// An image with something of everything its kind can have.
struct Kind {
    name: &'static str,
    options: &'static str,
    features: &'static [Feature],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    Compressed,
    Zeroes,
    Snapshots,
    Bitmaps,
}

use Feature::{Bitmaps, Compressed, Snapshots, Zeroes};

const KINDS: &[Kind] = &[
    Kind { name: "plain", options: "", features: &[Compressed, Zeroes, Snapshots, Bitmaps] },
    Kind { name: "old", options: "compat=0.10", features: &[Compressed, Snapshots] },
    Kind {
        name: "small",
        options: "cluster_size=512,refcount_bits=8",
        features: &[Compressed, Zeroes, Snapshots, Bitmaps],
    },
    Kind { name: "narrow", options: "cluster_size=4096,refcount_bits=1", features: &[Zeroes, Compressed] },
    Kind { name: "two", options: "cluster_size=4096,refcount_bits=2", features: &[Zeroes, Snapshots] },
    Kind { name: "wide", options: "cluster_size=4096,refcount_bits=64", features: &[Zeroes, Snapshots] },
    Kind {
        name: "extended",
        options: "cluster_size=16k,extended_l2=on",
        features: &[Compressed, Zeroes, Snapshots, Bitmaps],
    },
    Kind { name: "external", options: "data_file=DATA,cluster_size=4096", features: &[Zeroes] },
];

/// Builds the image; its size leaves the last cluster incomplete.
fn build(scratch: &Scratch, kind: &Kind) -> std::path::PathBuf {
    let path = scratch.path(kind.name);
    let image = path.to_str().unwrap();
    let data = scratch.path("data").display().to_string();
    let mut create = vec!["create", "-q", "-f", "qcow2"];
    let options = kind.options.replace("DATA", &data);
    if !options.is_empty() {
        create.extend(["-o", &options]);
    }
    create.extend([image, "3000k"]);
    assert!(qemu_img(&create).status.success());
    let has = |feature| kind.features.contains(&feature);
    if has(Bitmaps) {
        assert!(qemu_img(&["bitmap", "--add", "-g", "4096", image, "recent"]).status.success());
        assert!(qemu_img(&["bitmap", "--add", "--disable", image, "still"]).status.success());
    }
    qemu_io(image, &["write 0 300k", "write 1M 64k", "write 1200k 2k"]);
    if has(Compressed) {
        qemu_io(image, &["write -c 2M 64k", "write -c 2112k 64k"]);
    }
    if has(Zeroes) {
        qemu_io(image, &["write -z 1500k 70k", "write -z 64k 16k"]);
    }
    if has(Snapshots) {
        for name in ["one", "two"] {
            assert!(qemu_img(&["snapshot", "-c", name, image]).status.success());
            qemu_io(image, &["write 100k 30k", "write 1700k 40k"]);
        }
    }
    path
}

/// A small generator of numbers that are random enough.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) % sides
    }
}

fn word(bytes: &[u8], at: u64) -> u64 {
    let at = at as usize;
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

/// Places of metadata in an image that are worth damaging: 8-byte words that are not all zero.
fn targets(bytes: &[u8]) -> Vec<u64> {
    const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    let cluster: u64 = 1 << (word(bytes, 16) & 0xff);
    let (l1, l1_entries) = (word(bytes, 40), word(bytes, 32) & 0xffff_ffff);
    let (snapshots, snapshot_count) = (word(bytes, 64), word(bytes, 56) & 0xffff_ffff);
    let mut tables = vec![];
    let mut l1s = vec![(l1, l1_entries)];
    if snapshot_count > 0 {
        tables.push(snapshots..snapshots + 200);
        l1s.push((word(bytes, snapshots), word(bytes, snapshots + 8) >> 32));
    }
    for (offset, entries) in l1s {
        tables.push(offset..offset + entries * 8);
        for index in 0..entries {
            let table = word(bytes, offset + index * 8) & OFFSET;
            if table > 0 {
                tables.push(table..table + cluster.min(8192));
            }
        }
    }
    let refcounts = word(bytes, 48);
    tables.push(refcounts..refcounts + 64);
    let block = word(bytes, refcounts);
    tables.push(block..block + 256);
    let words = tables.into_iter().flat_map(|table| table.step_by(8));
    let mut targets: Vec<u64> = words.filter(|at| word(bytes, *at) != 0).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// Damages one word; says how.
fn damage(file: &std::fs::File, bytes: &[u8], targets: &[u64], dice: &mut Dice) -> String {
    let at = targets[dice.roll(targets.len() as u64) as usize];
    let old = word(bytes, at);
    let other = word(bytes, targets[dice.roll(targets.len() as u64) as usize]);
    let new = match dice.roll(7) {
        0 => 0,
        1 => old ^ 1 << 63,
        2 => old ^ 1 << dice.roll(64),
        3 => other,
        4 => old.wrapping_add(512 << dice.roll(12)),
        5 => old ^ 1 << 62,
        _ => old & 0xff00_0000_0000_01ff | dice.roll(bytes.len() as u64) & !511,
    };
    file.write_all_at(&new.to_be_bytes(), at).unwrap();
    format!("{at:#x}: {old:#x} -> {new:#x}")
}

fn compare(kind: &Kind, rounds: usize) {
    let scratch = Scratch::new();
    let path = build(&scratch, kind);
    assert_eq!(ours(&path), theirs(&path), "{}: as built", kind.name);
    let bytes = std::fs::read(&path).unwrap();
    let targets = targets(&bytes);
    let mut dice = Dice(0x5eed + kind.name.len() as u64);
    let (mut failed, mut clean) = (0, 0);
    for round in 0..rounds {
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let wounds = (0..=dice.roll(3)).map(|_| damage(&file, &bytes, &targets, &mut dice));
        let wounds: Vec<String> = wounds.collect();
        let (ours, theirs) = (ours(&path), theirs(&path));
        assert_eq!(ours, theirs, "{} round {round}: {wounds:?}", kind.name);
        failed += usize::from(theirs.sums.is_none());
        clean += usize::from(theirs.stderr.is_empty());
    }
    // The comparison must be about findings, not about images that cannot be opened.
    assert!(failed + clean < rounds / 2, "{}: {failed} failed and {clean} clean of {rounds}", kind.name);
}

#[test]
fn damaged_plain_images() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    compare(&KINDS[0], 60);
    compare(&KINDS[1], 30);
}

#[test]
fn damaged_images_of_small_clusters() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    compare(&KINDS[2], 60);
}

#[test]
fn damaged_images_of_all_refcount_widths() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    for kind in &KINDS[3..6] {
        compare(kind, 30);
    }
}

#[test]
fn damaged_images_with_subclusters() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    compare(&KINDS[6], 60);
}

#[test]
fn damaged_images_with_external_data() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    compare(&KINDS[7], 30);
}
