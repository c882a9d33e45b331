//! VPC images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use formats::engine::{self, Write};
use formats::{Format, Image, OpenFlags, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{IMAGE, MIB, WRITE, begin, commit, content, cut_power, random, sparse, transact, use_anyhow};

const SIZE: u64 = 9 * MIB;
/// The sum of a footer's bytes has its complement here.
const CHECKSUM: std::ops::Range<usize> = 0x40..0x44;

fn open(fs: &dyn Fs, flags: OpenFlags) -> Result<Image> {
    simulated::open(fs, IMAGE, Format::Vpc, flags)
}

/// An image of 9 MiB with something in its second and last block.
fn image(subformat: &str) -> SimFs {
    simulated::image(Format::Vpc, &format!("force_size=on,subformat={subformat}"), SIZE, 2 * MIB)
}

/// Writes into blocks that are there and into new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, WRITE)?;
    engine::write(&image, 2 * MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    let zeroes = Write::Zeroes { len: 400, how: Zeroing::Keep };
    engine::write(&image, SIZE - 450, zeroes)?;
    engine::write(&image, 6 * MIB, Write::Data(&[5; 512]))?;
    commit(&image)
}

/// The disk as the next program finds it.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    content(&open(&transaction, WRITE).unwrap())
}

/// A disk that was left behind is written as a sound one is, and its file ends in a footer.
fn is_written_again(fs: &SimFs, new: &[u8]) {
    let len = fs.bytes(IMAGE).unwrap().len();
    transact(fs, change);
    assert!(found(fs) == new);
    let file = fs.bytes(IMAGE).unwrap();
    assert!(file[file.len() - 512..].starts_with(b"conectix") && file.len() >= len);
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    for subformat in ["dynamic", "fixed"] {
        let plan = CrashPlan { per_moment: 8, total: 300, seed: 3 };
        let fs = image(subformat);
        let new = cut_power(subformat, &fs, plan, change, found);
        fs.crash_states(plan).for_each(|state| is_written_again(&state.fs, &new));
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
    transact(&fs, change);
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
    transact(&fs, change);
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
    let plan = CrashPlan { per_moment: 8, total: 300, seed: 5 };
    cut_power("", &differencing(), plan, change, found);
}

/// Where the batmap's header and the batmap are.
const BATMAP_HEADER: usize = 0x800;
const BATMAP: usize = 0xa00;

/// The same as Xen makes it: with a batmap, which has these bits.
fn with_batmap(bits: u8) -> SimFs {
    let fs = differencing();
    let mut bytes = fs.bytes(IMAGE).unwrap()[..BATMAP_HEADER].to_vec();
    bytes[28..32].copy_from_slice(b"tap\0");
    bytes[32..36].copy_from_slice(&0x0001_0003_u32.to_be_bytes());
    seal(&mut bytes);
    bytes.resize(0xc00, 0);
    bytes[BATMAP_HEADER..][..8].copy_from_slice(b"tdbatmap");
    bytes[BATMAP_HEADER + 8..][..8].copy_from_slice(&(BATMAP as u64).to_be_bytes());
    bytes[BATMAP_HEADER + 16..][..8].copy_from_slice(&[0, 0, 0, 1, 0, 1, 0, 2]);
    bytes.extend_from_within(..512);
    set_batmap(&mut bytes, bits);
    fs.add_file(IMAGE, &bytes);
    fs.settle();
    fs
}

fn set_batmap(bytes: &mut [u8], bits: u8) {
    bytes[BATMAP] = bits;
    bytes[BATMAP_HEADER + 24..][..4].copy_from_slice(&(!u32::from(bits)).to_be_bytes());
}

/// The batmap's bits, if its checksum is right and nothing has become of its header.
fn batmap(fs: &SimFs) -> u8 {
    let bytes = fs.bytes(IMAGE).unwrap();
    assert!(bytes[BATMAP_HEADER..].starts_with(b"tdbatmap"));
    let sum: u32 = bytes[BATMAP..BATMAP + 512].iter().map(|&byte| u32::from(byte)).sum();
    assert_eq!(bytes[BATMAP_HEADER + 24..][..4], (!sum).to_be_bytes());
    bytes[BATMAP]
}

#[test]
fn blocks_that_are_full_by_the_batmap_need_no_bitmap() {
    let fs = with_batmap(0);
    let old = found(&fs);
    assert!(old == found(&differencing()));
    transact(&fs, change);
    let written = found(&fs);
    assert_eq!((written[2 * MIB as usize + 700], batmap(&fs)), (1, 0));
    let mut bytes = fs.bytes(IMAGE).unwrap();
    assert_eq!(bytes[..512], bytes[bytes.len() - 512..]);
    // What the second block does not have of its own are zeroes then.
    set_batmap(&mut bytes, 0x40);
    fs.add_file(IMAGE, &bytes);
    let mut expected = written;
    let second = 2 * MIB as usize..4 * MIB as usize;
    expected[second.clone()].fill(0);
    expected[second.start + 4000..second.start + 7000].fill(3);
    // A sector is copied from the parent where only a part of it is written.
    let sectors = second.start + 7 * 512..second.start + 14 * 512;
    let now = found(&fs);
    assert!(
        now[..sectors.start] == expected[..sectors.start] && now[sectors.end..] == expected[sectors.end..]
    );
}

#[test]
fn a_new_block_is_not_full() {
    // Of blocks that are not there, the third and the fourth are said to be.
    let plan = CrashPlan { per_moment: 8, total: 300, seed: 5 };
    let fs = with_batmap(0x30);
    let new = cut_power("", &fs, plan, change, |fs| (found(fs), batmap(fs)));
    let plain = differencing();
    transact(&plain, change);
    assert!(new == (found(&plain), 0x20));
    fs.settle();
    let emptied = |fs: &dyn Fs| {
        let image = open(fs, WRITE)?;
        image.driver().writer().unwrap().overlay().unwrap().make_empty()?;
        commit(&image)
    };
    let (shown, bits) = cut_power("", &fs, plan, emptied, |fs| (found(fs), batmap(fs)));
    assert!(shown == found(&differencing()) && bits == 0);
    assert_eq!(fs.bytes(IMAGE).unwrap().len(), 0xe00);
    transact(&fs, change);
    assert!((found(&fs), batmap(&fs)) == (new.0, 0));
}

#[test]
fn a_batmap_that_cannot_be_is_none() {
    let fs = with_batmap(0);
    transact(&fs, change);
    let written = found(&fs);
    let mut sound = fs.bytes(IMAGE).unwrap();
    set_batmap(&mut sound, 0x40);
    let patches: [(usize, &[u8]); 11] = [
        (BATMAP_HEADER, b"T"),
        // Over its header, the table, a block, the end of the file, and beyond all numbers.
        (BATMAP_HEADER + 8, &(BATMAP_HEADER as u64).to_be_bytes()),
        (BATMAP_HEADER + 8, &0x600_u64.to_be_bytes()),
        (BATMAP_HEADER + 8, &0xc00_u64.to_be_bytes()),
        (BATMAP_HEADER + 8, &(sound.len() as u64).to_be_bytes()),
        (BATMAP_HEADER + 8, &u64::MAX.to_be_bytes()),
        (BATMAP_HEADER + 16, &[0; 4]),
        (BATMAP_HEADER + 16, &[0xff; 4]),
        (BATMAP_HEADER + 20, &[0, 1, 0, 3]),
        (BATMAP_HEADER + 24, &[0]),
        (BATMAP, &[0x41]),
    ];
    for (at, patch) in patches {
        let mut bytes = sound.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        fs.add_file(IMAGE, &bytes);
        assert!(found(&fs) == written, "{at:x}: {patch:x?}");
    }
    let mut below = random();
    for _ in 0..2000 {
        let mut bytes = sound[..0x1000].to_vec();
        for _ in 0..=below(3) {
            bytes[BATMAP_HEADER + below(28)] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        let damaged = sparse(&bytes, sound.len() as u64);
        damaged.add_file("/base.vhd", &fs.bytes("/base.vhd").unwrap());
        if let Ok(image) = open(&damaged, WRITE) {
            use_anyhow(&image);
        }
    }
}

#[test]
fn a_disk_with_a_batmap_does_not_grow() {
    let fs = with_batmap(0);
    let image = open(&fs, WRITE).unwrap();
    assert!(image.driver().writer().unwrap().resizer().is_none());
}

#[test]
fn a_differencing_disk_that_names_no_parent_is_refused() {
    let fs = differencing();
    let mut bytes = fs.bytes(IMAGE).unwrap();
    bytes[0x200 + 0x240] = 0;
    fs.add_file(IMAGE, &bytes);
    let refused = open(&fs, OpenFlags::READ).map_or_else(|error| error.report(), |_| String::new());
    assert!(refused.contains("does not name its parent"), "{refused}");
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image("dynamic").bytes(IMAGE).unwrap();
    let mut below = random();
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
        let fs = sparse(&bytes, len as u64);
        if let Ok(image) = open(&fs, WRITE) {
            use_anyhow(&image);
        }
    }
}
