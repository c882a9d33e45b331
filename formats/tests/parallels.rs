//! Parallels images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use formats::create::{CreateRequest, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::{
    Durability, Finding, Format, Image, OpenContext, OpenFlags, PermissiveGate, Repair, Result, open_filename,
};
use journal::sim::CrashPlan;
use journal::{Access, Fs, SimFs, Transaction, Zeroing};

const IMAGE: &str = "/image";
const CLUSTER: u64 = 64 << 10;
const SIZE: u64 = 16 * CLUSTER;
/// Where the header says that the image is written.
const IN_USE: usize = 44;
/// Where the table starts.
const TABLE: usize = 64;

fn open(fs: &dyn Fs, access: Access) -> Result<Image> {
    open_with(fs, OpenFlags { access, ..OpenFlags::READ })
}

fn open_with(fs: &dyn Fs, flags: OpenFlags) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(IMAGE), Some("parallels"), flags)
}

/// An image of 16 clusters with something in its second, third and last one.
fn image() -> SimFs {
    let fs = SimFs::new();
    fs.add_directory("/");
    let mut list = OptionList::default();
    list.add(OsStr::new("cluster_size=64k")).unwrap();
    let mut options = OptionTable::for_file(Format::Parallels).parse(&list).unwrap();
    options.set_size(SIZE).unwrap();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let request = CreateRequest {
        target: Path::new(IMAGE),
        format: Format::Parallels,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    engine::write(new.image(), CLUSTER + 700, Write::Data(&[1; 9000])).unwrap();
    engine::write(new.image(), SIZE - 512, Write::Data(&[2; 512])).unwrap();
    engine::write(new.image(), 2 * CLUSTER, Write::Data(&[6; CLUSTER as usize])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Writes into clusters that are there and into new ones, and gives one back.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, Access::Write)?;
    engine::write(&image, CLUSTER + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 3 * CLUSTER - 5000, Write::Data(&[4; 100_000]))?;
    let zeroes = |len| Write::Zeroes { len, how: Zeroing::Keep };
    engine::write(&image, SIZE - 450, zeroes(400))?;
    engine::write(&image, 9 * CLUSTER, Write::Data(&[5; 512]))?;
    engine::write(&image, CLUSTER, zeroes(CLUSTER))?;
    engine::write(&image, 0, Write::Data(&[7; 5000]))?;
    image.driver().writer().unwrap().commit(Durability::Durable)
}

fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// The disk as the next program finds it. At the end of the file there may be what nobody needs.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    let image = open(&transaction, Access::Write).unwrap();
    let mut tell = |finding| match finding {
        Finding::Line(line) if line.contains("space leaked at the end") => {}
        other => panic!("{other:?}"),
    };
    assert_eq!(image.driver().check(&mut tell).unwrap().corruptions, 0);
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(&image, 0, &mut bytes).unwrap();
    bytes
}

/// The file ends where its last cluster does.
fn is_tight(fs: &SimFs) {
    let image = open(fs, Access::Read).unwrap();
    image.driver().check(&mut |finding| panic!("{finding:?}")).unwrap();
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    let fs = image();
    let old = found(&fs);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    is_tight(&fs);
    let new = found(&fs);
    assert_ne!(old, new);
    let mut counts = [0; 2];
    let plan = CrashPlan { per_moment: 12, total: 600, seed: 3 };
    for state in fs.crash_states(plan) {
        let disk = found(&state.fs);
        assert!(disk == old || disk == new, "state {}", state.id);
        counts[usize::from(disk == new)] += 1;
    }
    assert!(counts.iter().all(|&count| count > 10), "{counts:?}");
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
    let flags = OpenFlags { access: Access::Write, check: true, ..OpenFlags::READ };
    let repair = |fs: &SimFs| {
        let transaction = begin(fs);
        let image = open_with(&transaction, flags).unwrap();
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
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
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
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    let image = formats::open_image_opts(&context, OsStr::new(options), flags).unwrap();
    for (at, len) in [(700, 100), (5 * CLUSTER + 1, 2 * CLUSTER), (CLUSTER, 10)] {
        engine::write(&image, at, Write::Data(&vec![0xee; len as usize])).unwrap();
        expected[at as usize..(at + len) as usize].fill(0xee);
    }
    let zeroes = Write::Zeroes { len: 2 * CLUSTER, how: Zeroing::Unmap };
    engine::write(&image, 9 * CLUSTER + 512, zeroes).unwrap();
    expected[9 * CLUSTER as usize + 512..][..2 * CLUSTER as usize].fill(0);
    let mut bytes = vec![0; SIZE as usize];
    engine::read(&image, 0, &mut bytes).unwrap();
    assert!(bytes == expected);
    image.driver().writer().unwrap().commit(Durability::Durable).unwrap();
    drop(image);
    transaction.commit().unwrap();
    assert!(fs.bytes("/base").unwrap() == base);
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let image = formats::open_image_opts(&context, OsStr::new(options), OpenFlags::READ).unwrap();
    engine::read(&image, 0, &mut bytes).unwrap();
    assert!(bytes == expected);
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image().bytes(IMAGE).unwrap();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
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
        let fs = SimFs::new();
        fs.add_directory("/");
        let disk = fs.create(Path::new(IMAGE)).unwrap();
        disk.write_at(0, &bytes).unwrap();
        disk.set_len(len as u64).unwrap();
        if let Ok(image) = open(&fs, Access::Read) {
            drop(image.driver().check(&mut |_| ()));
        }
        if let Ok(image) = open(&fs, Access::Write) {
            let size = image.virtual_size();
            let mut buffer = vec![0; size.min(5000) as usize];
            drop(engine::read(&image, size - buffer.len() as u64, &mut buffer));
            let written = engine::write(&image, 0, Write::Data(&buffer));
            let writer = image.driver().writer().unwrap();
            drop(written.and_then(|()| writer.commit(Durability::Durable)));
        }
    }
}
