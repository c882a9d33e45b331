//! VHDX images after power cuts, with logs that were not replayed, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::path::Path;

use formats::engine::{self, Write};
use formats::{Format, Image, OpenFlags, Repair, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{
    IMAGE, MIB, WRITE, begin, commit, content, cut_power, empty, random, sound_content, transact, use_anyhow,
};

const SIZE: u64 = 6 * MIB;
const LOG: usize = 1 << 20;
const TABLE: usize = 2 << 20;
const METADATA: usize = 3 << 20;
const HEADERS: [usize; 2] = [64 << 10, 128 << 10];
/// Identity of the log in the tests.
const LOG_GUID: [u8; 16] = [0x55; 16];

fn open(fs: &dyn Fs, flags: OpenFlags) -> Result<Image> {
    simulated::open(fs, IMAGE, Format::Vhdx, flags)
}

fn made(options: &str, size: u64) -> SimFs {
    simulated::image(Format::Vhdx, options, size, MIB)
}

/// An image of 6 MiB with something in its second and last block.
fn image(subformat: &str) -> SimFs {
    made(&format!("block_size=1M,block_state_zero=off,subformat={subformat}"), SIZE)
}

/// Writes into blocks that are there and into new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, WRITE)?;
    engine::write(&image, MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    let zeroes = Write::Zeroes { len: 400, how: Zeroing::Keep };
    engine::write(&image, SIZE - 450, zeroes)?;
    engine::write(&image, 3 * MIB, Write::Data(&[5; 512]))?;
    commit(&image)
}

/// The disk as the next program finds it, without errors.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    sound_content(&open(&transaction, WRITE).unwrap())
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    for subformat in ["dynamic", "fixed"] {
        let plan = CrashPlan { per_moment: 8, total: 300, seed: 3 };
        cut_power(subformat, &image(subformat), plan, change, found);
    }
}

#[test]
fn a_change_gives_the_file_new_identities() {
    let fs = image("dynamic");
    let sequence = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
    let before = fs.bytes(IMAGE).unwrap();
    change(&fs).unwrap();
    let after = fs.bytes(IMAGE).unwrap();
    let newest = |bytes: &[u8]| HEADERS.into_iter().max_by_key(|&at| sequence(bytes, at)).unwrap();
    let (old, new) = (newest(&before), newest(&after));
    assert_eq!(sequence(&after, new), sequence(&before, old) + 2);
    assert_ne!(before[old + 16..old + 32], after[new + 16..new + 32]);
    assert_ne!(before[old + 32..old + 48], after[new + 32..new + 48]);
    // Both say the same.
    assert_eq!(after[HEADERS[0] + 16..HEADERS[0] + 80], after[HEADERS[1] + 16..HEADERS[1] + 80]);
}

#[test]
fn blocks_are_found_across_chunks() {
    let size = 9 << 30;
    let fs = made("block_size=256M", size);
    let image = open(&fs, WRITE).unwrap();
    // A chunk has 16 blocks, which end at 4 GiB.
    engine::write(&image, (4 << 30) - 4096, Write::Data(&[7; 8192])).unwrap();
    commit(&image).unwrap();
    drop(image);
    let image = open(&fs, OpenFlags::READ).unwrap();
    let mut bytes = vec![0; 16384];
    engine::read(&image, (4 << 30) - 8192, &mut bytes).unwrap();
    assert!(bytes[..4096].iter().all(|&byte| byte == 0) && bytes[12288..].iter().all(|&byte| byte == 0));
    assert!(bytes[4096..12288].iter().all(|&byte| byte == 7));
    let mut table = vec![0; 8 * 40];
    let frozen = fs.freeze();
    frozen.read(frozen.find(IMAGE).unwrap(), TABLE as u64, &mut table);
    // The bitmap's entry stands between those of blocks 15 and 16.
    assert_eq!((table[15 * 8], table[16 * 8], table[17 * 8]), (6, 0, 6));
}

#[test]
fn sectors_of_4096_bytes() {
    let fs = image("dynamic");
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[METADATA + 0x10020..METADATA + 0x10024].copy_from_slice(&4096_u32.to_le_bytes());
    let old = found(&fs);
    fs.add_file(IMAGE, &bytes);
    // Blocks are so few that there is no bitmap's entry among them.
    assert_eq!(found(&fs), old);
}

/// A disk of 6 MiB over one that is full of eights: two sectors of its second block are its own, its third
/// block is zeroes, and its last one is all there.
fn differencing() -> (SimFs, Vec<u8>) {
    const LOCATOR: usize = METADATA + 0x20000;
    let base = made("block_size=2M", SIZE);
    let image_of_base = open(&base, WRITE).unwrap();
    engine::write(&image_of_base, 0, Write::Data(&vec![8; SIZE as usize])).unwrap();
    commit(&image_of_base).unwrap();
    let fs = image("dynamic");
    let old = found(&fs);
    fs.add_file("/base.vhdx", &base.bytes(IMAGE).unwrap());
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[METADATA + 10] = 6;
    let item =
        [0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c];
    bytes[METADATA + 0xc0..METADATA + 0xd0].copy_from_slice(&item);
    bytes[METADATA + 0xd0..METADATA + 0xd4].copy_from_slice(&0x20000_u32.to_le_bytes());
    bytes[METADATA + 0x10004] = 2;
    let kind =
        [0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13];
    bytes[LOCATOR..LOCATOR + 16].copy_from_slice(&kind);
    bytes[LOCATOR + 18] = 1;
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (key, value) = (wide("relative_path"), wide(r".\base.vhdx"));
    bytes[LOCATOR + 20] = 0x40;
    bytes[LOCATOR + 24] = 0x80;
    (bytes[LOCATOR + 28], bytes[LOCATOR + 30]) = (key.len() as u8, value.len() as u8);
    bytes[LOCATOR + 0x40..][..key.len()].copy_from_slice(&key);
    bytes[LOCATOR + 0x80..][..value.len()].copy_from_slice(&value);
    // The second block has a bitmap, which is behind everything; a chunk has 4096 blocks.
    bytes[TABLE + 8] |= 7;
    bytes[TABLE + 16] = 2;
    let bitmap = bytes.len().next_multiple_of(MIB as usize);
    bytes.resize(bitmap + MIB as usize, 0);
    bytes[TABLE + 4096 * 8..][..8].copy_from_slice(&(bitmap as u64 | 6).to_le_bytes());
    bytes[bitmap + 256] = 0b1100;
    fs.add_file(IMAGE, &bytes);
    fs.settle();
    let mut expected = vec![8; SIZE as usize];
    let own = MIB as usize + 1024..MIB as usize + 2048;
    expected[own.clone()].copy_from_slice(&old[own]);
    expected[2 * MIB as usize..3 * MIB as usize].fill(0);
    expected[5 * MIB as usize..].copy_from_slice(&old[5 * MIB as usize..]);
    (fs, expected)
}

#[test]
fn a_differencing_disk_shows_its_parent_where_it_holds_nothing() {
    let (fs, mut expected) = differencing();
    let base = fs.bytes("/base.vhdx").unwrap();
    assert!(found(&fs) == expected);
    transact(&fs, change);
    for (at, len, byte) in [(MIB + 4000, 3000, 3), (5000, 20_000, 4), (SIZE - 450, 400, 0), (3 * MIB, 512, 5)]
    {
        expected[at as usize..(at + len) as usize].fill(byte);
    }
    assert!(found(&fs) == expected);
    assert!(fs.bytes("/base.vhdx").unwrap() == base);
}

#[test]
fn a_power_cut_leaves_a_differencing_disk_old_or_new() {
    let (fs, old) = differencing();
    assert!(found(&fs) == old);
    cut_power("", &fs, CrashPlan { per_moment: 8, total: 200, seed: 5 }, change, found);
}

fn seal(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let sum = crc32c::crc32c(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// A log entry that replaces one sector of the file and makes another zeroes.
fn entry(sequence: u64, tail: u32, flushed: u64, data: (u64, &[u8; 4096]), zeroes: u64) -> Vec<u8> {
    let mut bytes = b"loge\0\0\0\0".to_vec();
    bytes.extend(8192_u32.to_le_bytes());
    bytes.extend(tail.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(LOG_GUID);
    bytes.extend(flushed.to_le_bytes());
    bytes.extend(flushed.to_le_bytes());
    bytes.extend(b"desc");
    bytes.extend(&data.1[4092..]);
    bytes.extend(&data.1[..8]);
    bytes.extend(data.0.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(b"zero\0\0\0\0");
    bytes.extend(4096_u64.to_le_bytes());
    bytes.extend(zeroes.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.resize(4096, 0);
    bytes.extend(b"data");
    bytes.extend(((sequence >> 32) as u32).to_le_bytes());
    bytes.extend(&data.1[8..4092]);
    bytes.extend((sequence as u32).to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// An image whose table is still in the log, in two entries that wrap around its end; what stands in its
/// place is garbage.
fn image_with_log() -> (SimFs, Vec<u8>) {
    let fs = image("dynamic");
    let old = found(&fs);
    let mut bytes = fs.bytes(IMAGE).unwrap();
    let len = bytes.len() as u64;
    let table: [u8; 4096] = bytes[TABLE..TABLE + 4096].try_into().unwrap();
    let (first, second) = (MIB - 8192 - 4096, MIB - 4096);
    let unused = (METADATA + 0x20000) as u64;
    let entries = [
        entry(7, first as u32, len, (TABLE as u64, &[9; 4096]), unused),
        entry(8, first as u32, len, (TABLE as u64, &table), unused + 4096),
    ];
    for (at, entry) in [first, second].into_iter().zip(entries) {
        for (index, sector) in entry.chunks(4096).enumerate() {
            let at = LOG + (at as usize + index * 4096) % MIB as usize;
            bytes[at..at + 4096].copy_from_slice(sector);
        }
    }
    bytes[TABLE..TABLE + 4096].fill(0xee);
    bytes[unused as usize..unused as usize + 8192].fill(0xee);
    for at in HEADERS {
        bytes[at + 48..at + 64].copy_from_slice(&LOG_GUID);
        seal(&mut bytes[at..at + 4096]);
    }
    fs.add_file(IMAGE, &bytes);
    (fs, old)
}

#[test]
fn a_log_is_replayed_for_readers_in_memory() {
    let (fs, old) = image_with_log();
    let before = fs.bytes(IMAGE).unwrap();
    let image = open(&fs, OpenFlags::READ).unwrap();
    assert_eq!(content(&image), old);
    assert_eq!(fs.bytes(IMAGE).unwrap(), before);
    let refused = open(&fs, OpenFlags { check: true, ..OpenFlags::READ });
    let refusal = refused.map_or_else(|error| error.report(), |_| String::new());
    assert!(refusal.contains("contains a log that needs to be replayed"), "{refusal}");
}

#[test]
fn a_log_is_replayed_into_a_file_that_is_written() {
    let (fs, old) = image_with_log();
    let flags = OpenFlags { check: true, ..WRITE };
    let transaction = begin(&fs);
    let image = open(&transaction, flags).unwrap();
    let repaired =
        image.driver().repairer().unwrap().repair(Repair::All, &mut |finding| panic!("{finding:?}"));
    assert_eq!((repaired.report.corruptions_fixed, repaired.report.corruptions), (1, 0));
    repaired.image.unwrap();
    drop(image);
    transaction.commit().unwrap();
    let bytes = fs.bytes(IMAGE).unwrap();
    for at in HEADERS {
        assert_eq!(bytes[at + 48..at + 64], [0; 16]);
    }
    assert!(bytes[METADATA + 0x20000..METADATA + 0x22000].iter().all(|&byte| byte == 0));
    assert_eq!(found(&fs), old);
}

#[test]
fn of_a_torn_log_only_what_is_complete_counts() {
    let (fs, _) = image_with_log();
    let mut bytes = fs.bytes(IMAGE).unwrap();
    // The second entry's data, at the start of the ring.
    bytes[LOG + 100] ^= 1;
    fs.add_file(IMAGE, &bytes);
    // The first entry's table has no block at all.
    let image = open(&fs, OpenFlags::READ).unwrap();
    assert!(content(&image).iter().all(|&byte| byte == 0));
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let (with_log, _) = image_with_log();
    let seeds = [
        image("dynamic").bytes(IMAGE).unwrap(),
        with_log.bytes(IMAGE).unwrap(),
        differencing().0.bytes(IMAGE).unwrap(),
    ];
    let parts = [
        (HEADERS[0], 0x50),
        (HEADERS[1], 0x50),
        (192 << 10, 0x50),
        (LOG, 0x80),
        (2 * LOG - 12288, 0x80),
        (TABLE, 0x40),
        (METADATA, 0xe0),
        (METADATA + 0x20000, 0xa0),
        (METADATA + 0x10000, 0x28),
    ];
    let mut below = random();
    for _ in 0..20_000 {
        let seed = &seeds[below(3)];
        let fs = empty();
        let disk = fs.create(Path::new(IMAGE)).unwrap();
        for start in [
            0,
            HEADERS[0],
            HEADERS[1],
            LOG,
            2 * LOG - 12288,
            TABLE,
            METADATA,
            METADATA + 0x10000,
            METADATA + 0x20000,
        ] {
            disk.write_at(start as u64, &seed[start..start + 12288]).unwrap();
        }
        disk.write_at(192 << 10, &seed[192 << 10..256 << 10]).unwrap();
        disk.set_len(seed.len() as u64).unwrap();
        for _ in 0..=below(3) {
            let (start, len) = parts[below(parts.len())];
            let at = (start + below(len)) as u64;
            disk.write_at(at, &[[0, 1, 0x7f, 0xff, below(256) as u8][below(5)]]).unwrap();
        }
        for (at, len) in [(HEADERS[0], 4096), (HEADERS[1], 4096), (192 << 10, 65536)] {
            let mut bytes = vec![0; len];
            disk.read_exact_at(at as u64, &mut bytes).unwrap();
            seal(&mut bytes);
            disk.write_at(at as u64, &bytes).unwrap();
        }
        if below(10) == 0 {
            disk.set_len(below(seed.len()) as u64).unwrap();
        }
        try_everything(&fs);
    }
}

fn try_everything(fs: &SimFs) {
    if let Ok(image) = open(fs, OpenFlags::READ) {
        let size = image.virtual_size();
        let mut buffer = vec![0; size.min(5000) as usize];
        drop(engine::read(&image, size - buffer.len() as u64, &mut buffer));
    }
    if let Ok(image) = open(fs, OpenFlags { check: true, ..WRITE }) {
        drop(image.driver().check(&mut |_| ()));
    }
    if let Ok(image) = open(fs, WRITE) {
        use_anyhow(&image);
    }
}
