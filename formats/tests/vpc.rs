//! VPC images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use formats::create::{CreateRequest, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::{Durability, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result, open_filename};
use journal::sim::CrashPlan;
use journal::{Access, Fs, SimFs, Transaction, Zeroing};

const IMAGE: &str = "/image";
const MIB: u64 = 1 << 20;
const SIZE: u64 = 9 * MIB;
/// The sum of a footer's bytes has its complement here.
const CHECKSUM: std::ops::Range<usize> = 0x40..0x44;

fn open(fs: &dyn Fs, access: Access) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(IMAGE), Some("vpc"), OpenFlags { access, ..OpenFlags::READ })
}

/// An image of 9 MiB with something in its second and last block.
fn image(subformat: &str) -> SimFs {
    let fs = SimFs::new();
    fs.add_directory("/");
    let mut list = OptionList::default();
    list.add(OsStr::new(&format!("force_size=on,subformat={subformat}"))).unwrap();
    let mut options = OptionTable::for_file(Format::Vpc).parse(&list).unwrap();
    options.set_size(SIZE).unwrap();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let request = CreateRequest {
        target: Path::new(IMAGE),
        format: Format::Vpc,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    engine::write(new.image(), 2 * MIB + 700, Write::Data(&[1; 9000])).unwrap();
    engine::write(new.image(), SIZE - 512, Write::Data(&[2; 512])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Writes into blocks that are there and into new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, Access::Write)?;
    engine::write(&image, 2 * MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    let zeroes = Write::Zeroes { len: 400, how: Zeroing::Keep };
    engine::write(&image, SIZE - 450, zeroes)?;
    engine::write(&image, 6 * MIB, Write::Data(&[5; 512]))?;
    image.driver().writer().unwrap().commit(Durability::Durable)
}

fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// The disk as the next program finds it.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    let image = open(&transaction, Access::Write).unwrap();
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(&image, 0, &mut bytes).unwrap();
    bytes
}

/// A disk that was left behind is written as a sound one is, and its file ends in a footer.
fn is_written_again(fs: &SimFs, new: &[u8]) {
    let len = fs.bytes(IMAGE).unwrap().len();
    let transaction = begin(fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    assert!(found(fs) == new);
    let file = fs.bytes(IMAGE).unwrap();
    assert!(file[file.len() - 512..].starts_with(b"conectix") && file.len() >= len);
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    for subformat in ["dynamic", "fixed"] {
        let fs = image(subformat);
        let old = found(&fs);
        let transaction = begin(&fs);
        change(&transaction).unwrap();
        transaction.commit().unwrap();
        let new = found(&fs);
        assert_ne!(old, new);
        let mut counts = [0; 2];
        let plan = CrashPlan { per_moment: 8, total: 300, seed: 3 };
        for state in fs.crash_states(plan) {
            let disk = found(&state.fs);
            assert!(disk == old || disk == new, "{subformat}: state {}", state.id);
            counts[usize::from(disk == new)] += 1;
            is_written_again(&state.fs, &new);
        }
        assert!(counts.iter().all(|&count| count > 10), "{subformat}: {counts:?}");
    }
}

#[test]
fn new_blocks_are_in_use_and_the_footers_are_the_same() {
    let fs = image("dynamic");
    let bytes = fs.bytes(IMAGE).unwrap();
    assert_eq!(bytes.len(), 2048 + 2 * (512 + 2 * MIB as usize) + 512);
    assert_eq!(bytes[..512], bytes[bytes.len() - 512..]);
    for block in 0..2 {
        let at = 2048 + block * (512 + 2 * MIB as usize);
        assert!(bytes[at..at + 512].iter().all(|&byte| byte == 0xff));
    }
}

#[test]
fn sectors_are_marked_in_bitmaps_of_others() {
    let fs = image("dynamic");
    // The first block in the file is the guest's second.
    let bitmap = || fs.bytes(IMAGE).unwrap()[2048..2560].to_vec();
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[2048..2560].fill(0);
    fs.add_file(IMAGE, &bytes);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    // Bytes 4000 to 7000 lie in sectors 7 to 13.
    assert_eq!(bitmap()[..3], [0b0000_0001, 0b1111_1100, 0]);
}

/// Puts the right checksum into the footer at the start.
fn seal(bytes: &mut [u8]) {
    bytes[CHECKSUM].fill(0);
    let sum: u32 = bytes[..512].iter().map(|&byte| u32::from(byte)).sum();
    bytes[CHECKSUM].copy_from_slice(&(!sum).to_be_bytes());
}

/// A disk of 9 MiB that stands on another, which it names as Hyper-V does.
fn differencing() -> SimFs {
    const LOCATOR: usize = 0x200 + 0x240;
    const NAME: usize = 0x200 + 0x300;
    let fs = image("dynamic");
    fs.add_file("/base.vhd", &fs.bytes(IMAGE).unwrap());
    let mut bytes = fs.bytes(IMAGE).unwrap()[..2048].to_vec();
    bytes[0x3f] = 4;
    seal(&mut bytes);
    bytes[0x600..].fill(0xff);
    let name: Vec<u8> = r".\base.vhd".encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes[NAME..NAME + name.len()].copy_from_slice(&name);
    bytes[LOCATOR..LOCATOR + 4].copy_from_slice(b"W2ru");
    bytes[LOCATOR + 8..LOCATOR + 12].copy_from_slice(&(name.len() as u32).to_be_bytes());
    bytes[LOCATOR + 16..LOCATOR + 24].copy_from_slice(&(NAME as u64).to_be_bytes());
    bytes.extend_from_within(..512);
    fs.add_file(IMAGE, &bytes);
    fs.settle();
    fs
}

#[test]
fn a_differencing_disk_shows_its_parent_where_it_holds_nothing() {
    let fs = differencing();
    let base = fs.bytes("/base.vhd").unwrap();
    let mut expected = found(&fs);
    assert!(expected[2 * MIB as usize + 700] == 1 && expected[SIZE as usize - 1] == 2);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    for (at, len, byte) in
        [(2 * MIB + 4000, 3000, 3), (5000, 20_000, 4), (SIZE - 450, 400, 0), (6 * MIB, 512, 5)]
    {
        expected[at as usize..(at + len) as usize].fill(byte);
    }
    assert!(found(&fs) == expected);
    assert!(fs.bytes("/base.vhd").unwrap() == base);
    // 4000 to 7000 lie in sectors 7 to 13 of the block that was the first to be written.
    let bytes = fs.bytes(IMAGE).unwrap();
    assert_eq!(bytes[2048..2051], [0b0000_0001, 0b1111_1100, 0]);
    assert_eq!(bytes[..512], bytes[bytes.len() - 512..]);
}

#[test]
fn a_power_cut_leaves_a_differencing_disk_old_or_new() {
    let fs = differencing();
    let old = found(&fs);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let new = found(&fs);
    for state in fs.crash_states(CrashPlan { per_moment: 8, total: 300, seed: 5 }) {
        let disk = found(&state.fs);
        assert!(disk == old || disk == new, "state {}", state.id);
    }
}

#[test]
fn a_differencing_disk_that_names_no_parent_is_refused() {
    let fs = differencing();
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[0x200 + 0x240] = 0;
    fs.add_file(IMAGE, &bytes);
    let refused = open(&fs, Access::Read).map_or_else(|error| error.report(), |_| String::new());
    assert!(refused.contains("does not name its parent"), "{refused}");
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image("dynamic").bytes(IMAGE).unwrap();
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
            let at = if below(8) == 0 { below(bytes.len()) } else { [0, 0x200, 0x600][below(3)] + below(64) };
            bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        seal(&mut bytes);
        // What is cut off is a hole, so that the table's blocks are in the file.
        let len = if below(10) == 0 { below(4096) } else { sound.len() };
        let fs = SimFs::new();
        fs.add_directory("/");
        let disk = fs.create(Path::new(IMAGE)).unwrap();
        disk.write_at(0, &bytes).unwrap();
        disk.set_len(len as u64).unwrap();
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
