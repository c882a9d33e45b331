//! Parallels images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::ffi::OsStr;

use formats::engine::{self, Write};
use formats::{Finding, Format, Image, OpenContext, OpenFlags, PermissiveGate, Repair, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{IMAGE, WRITE, begin, commit, content, cut_power, random, sparse, transact, use_anyhow};

const CLUSTER: u64 = 64 << 10;
const SIZE: u64 = 16 * CLUSTER;
/// Where the header says that the image is written.
const IN_USE: usize = 44;
/// Where the table starts.
const TABLE: usize = 64;

fn open(fs: &dyn Fs, flags: OpenFlags) -> Result<Image> {
    simulated::open(fs, IMAGE, Format::Parallels, flags)
}

/// An image of 16 clusters with something in its second, third and last one.
fn image() -> SimFs {
    let fs = simulated::image(Format::Parallels, "cluster_size=64k", SIZE, CLUSTER);
    let image = open(&fs, WRITE).unwrap();
    engine::write(&image, 2 * CLUSTER, Write::Data(&[6; CLUSTER as usize])).unwrap();
    commit(&image).unwrap();
    drop(image);
    fs.settle();
    fs
}

/// Writes into clusters that are there and into new ones, and gives one back.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, WRITE)?;
    engine::write(&image, CLUSTER + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 3 * CLUSTER - 5000, Write::Data(&[4; 100_000]))?;
    let zeroes = |len| Write::Zeroes { len, how: Zeroing::Keep };
    engine::write(&image, SIZE - 450, zeroes(400))?;
    engine::write(&image, 9 * CLUSTER, Write::Data(&[5; 512]))?;
    engine::write(&image, CLUSTER, zeroes(CLUSTER))?;
    engine::write(&image, 0, Write::Data(&[7; 5000]))?;
    commit(&image)
}

/// The disk as the next program finds it. At the end of the file there may be what nobody needs.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    let image = open(&transaction, WRITE).unwrap();
    let mut tell = |finding| match finding {
        Finding::Line(line) if line.contains("space leaked at the end") => {}
        other => panic!("{other:?}"),
    };
    assert_eq!(image.driver().check(&mut tell).unwrap().corruptions, 0);
    content(&image)
}

/// The file ends where its last cluster does.
fn is_tight(fs: &SimFs) {
    let image = open(fs, OpenFlags::READ).unwrap();
    image.driver().check(&mut |finding| panic!("{finding:?}")).unwrap();
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    let fs = image();
    cut_power("", &fs, CrashPlan { per_moment: 12, total: 600, seed: 3 }, change, found);
    is_tight(&fs);
}

/// An image that was not closed properly, of which two guest clusters have one place and one has none in the
/// file.
fn damaged() -> SimFs {
    let fs = image();
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[IN_USE..IN_USE + 4].copy_from_slice(&0x746f_6e59_u32.to_le_bytes());
    let entry = bytes[TABLE + 4..TABLE + 8].to_vec();
    bytes[TABLE + 20..TABLE + 24].copy_from_slice(&entry);
    bytes[TABLE + 40..TABLE + 44].copy_from_slice(&77_u32.to_le_bytes());
    bytes.resize(bytes.len() + 100_000, 9);
    fs.add_file(IMAGE, &bytes);
    fs.settle();
    fs
}

#[test]
fn a_repair_that_is_cut_off_has_not_happened() {
    let fs = damaged();
    let flags = OpenFlags { check: true, ..WRITE };
    let repair = |fs: &SimFs| {
        let transaction = begin(fs);
        let image = open(&transaction, flags).unwrap();
        let repaired = image.driver().repairer().unwrap().repair(Repair::All, &mut |_| ());
        let again = repaired.image.unwrap().check(&mut |finding| panic!("{finding:?}")).unwrap();
        assert_eq!((again.corruptions, again.leaks), (0, 0));
        drop(image);
        transaction.commit().unwrap();
        repaired.report
    };
    let report = repair(&fs);
    assert_eq!((report.corruptions, report.corruptions_fixed), (3, 3));
    assert_eq!((report.leaks, report.leaks_fixed), (2, 2));
    let sound = found(&fs);
    let cluster = |number: u64| &sound[(number * CLUSTER) as usize..((number + 1) * CLUSTER) as usize];
    assert!(cluster(1) == cluster(5) && cluster(1)[700..9700] == [1; 9000]);
    for state in fs.crash_states(CrashPlan { per_moment: 8, total: 300, seed: 7 }) {
        let report = repair(&state.fs);
        assert!([0, 3].contains(&report.corruptions_fixed), "state {}", state.id);
        assert!(found(&state.fs) == sound, "state {}", state.id);
    }
}

#[test]
fn a_damaged_image_is_repaired_before_it_is_written() {
    let fs = damaged();
    transact(&fs, change);
    let disk = found(&fs);
    // The copy of the second cluster is the sixth one's own.
    assert!(disk[CLUSTER as usize..2 * CLUSTER as usize].iter().all(|&byte| byte == 0));
    assert!(disk[(5 * CLUSTER) as usize + 700..][..9000] == [1; 9000]);
}

#[test]
fn what_is_not_here_is_the_other_images() {
    let fs = image();
    let base: Vec<u8> = (0..SIZE).map(|at| (at / 512 % 251) as u8).collect();
    fs.add_file("/base", &base);
    let mut expected = found(&fs);
    let held = [1, 2, 15].map(|number| number * CLUSTER as usize..(number + 1) * CLUSTER as usize);
    for at in (0..SIZE as usize).filter(|at| !held.iter().any(|range| range.contains(at))) {
        expected[at] = base[at];
    }
    let options = "driver=parallels,file.filename=/image,backing.driver=raw,backing.file.filename=/base";
    let transaction = begin(&fs);
    let context = OpenContext { fs: &transaction, gate: &PermissiveGate, secrets: None };
    let image = formats::open_image_opts(&context, OsStr::new(options), WRITE).unwrap();
    for (at, len) in [(700, 100), (5 * CLUSTER + 1, 2 * CLUSTER), (CLUSTER, 10)] {
        engine::write(&image, at, Write::Data(&vec![0xee; len as usize])).unwrap();
        expected[at as usize..(at + len) as usize].fill(0xee);
    }
    let zeroes = Write::Zeroes { len: 2 * CLUSTER, how: Zeroing::Unmap };
    engine::write(&image, 9 * CLUSTER + 512, zeroes).unwrap();
    expected[9 * CLUSTER as usize + 512..][..2 * CLUSTER as usize].fill(0);
    assert!(content(&image) == expected);
    commit(&image).unwrap();
    drop(image);
    transaction.commit().unwrap();
    assert!(fs.bytes("/base").unwrap() == base);
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let image = formats::open_image_opts(&context, OsStr::new(options), OpenFlags::READ).unwrap();
    assert!(content(&image) == expected);
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image().bytes(IMAGE).unwrap();
    let mut below = random();
    for _ in 0..20_000 {
        let mut bytes = sound[..4096].to_vec();
        for _ in 0..=below(3) {
            // The fields and the table, for the most part.
            let at = if below(8) == 0 { below(bytes.len()) } else { [16, 28, 64][below(3)] + below(36) };
            bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        if below(10) == 0 {
            bytes[..16].copy_from_slice(b"WithoutFreeSpace");
        }
        // What is cut off is a hole, so that the table's clusters are in the file.
        let len = if below(10) == 0 { below(4096) } else { sound.len() };
        let fs = sparse(&bytes, len as u64);
        if let Ok(image) = open(&fs, OpenFlags::READ) {
            drop(image.driver().check(&mut |_| ()));
        }
        if let Ok(image) = open(&fs, WRITE) {
            use_anyhow(&image);
        }
    }
}
