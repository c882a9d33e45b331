//! VMDK images after power cuts, disks that stand on others, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use formats::engine::{self, Write};
use formats::{Format, Image, OpenFlags, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{WRITE, begin, begin_image, commit, content, cut_power, empty, random, use_anyhow};

const IMAGE: &str = "/image.vmdk";
const BASE: &str = "/base.vmdk";
const GRAIN: u64 = 64 << 10;
const SIZE: u64 = 20 * GRAIN + 1024;

fn open(fs: &dyn Fs, name: &str, flags: OpenFlags) -> Result<Image> {
    simulated::open(fs, name, Format::Vmdk, flags)
}

/// Makes an image with something in its second and in its last grain.
fn make(fs: &SimFs, name: &str, options: &str) {
    begin_image(fs, name, Format::Vmdk, options, SIZE).publish().unwrap();
    let image = open(fs, name, WRITE).unwrap();
    let whole: Vec<u8> = (0..GRAIN).map(|at| (at / 7) as u8).collect();
    engine::write(&image, GRAIN, Write::Data(&whole)).unwrap();
    engine::write(&image, SIZE - 1024, Write::Data(&[2; 1024])).unwrap();
    commit(&image).unwrap();
    fs.settle();
}

fn image(options: &str) -> SimFs {
    let fs = empty();
    if options.contains("backing") {
        make(&fs, BASE, "zeroed_grain=off");
    }
    make(&fs, IMAGE, options);
    fs
}

/// Writes into grains that are there and into new ones.
fn change(fs: &dyn Fs, is_compressed: bool) -> Result<()> {
    let image = open(fs, IMAGE, WRITE)?;
    let whole = vec![6; GRAIN as usize];
    if is_compressed {
        engine::write(&image, 4 * GRAIN, Write::Data(&whole))?;
    } else {
        engine::write(&image, GRAIN + 4000, Write::Data(&[3; 3000]))?;
        engine::write(&image, 5 * GRAIN - 5000, Write::Data(&[4; 20_000]))?;
        engine::write(&image, SIZE - 450, Write::Zeroes { len: 400, how: Zeroing::Keep })?;
        engine::write(&image, 9 * GRAIN, Write::Zeroes { len: 2 * GRAIN, how: Zeroing::Unmap })?;
    }
    commit(&image)
}

/// The disk as the next program finds it, without errors, and its identity.
fn found(fs: &SimFs) -> (Vec<u8>, u32) {
    let transaction = begin(fs);
    let image = open(&transaction, IMAGE, WRITE).unwrap();
    image.driver().check(&mut |finding| panic!("{finding:?}")).unwrap();
    (content(&image), image.driver().content_id().unwrap())
}

/// All kinds of images that can be changed.
const KINDS: [&str; 7] = [
    "subformat=monolithicSparse",
    "subformat=monolithicFlat",
    "subformat=twoGbMaxExtentSparse",
    "subformat=streamOptimized",
    "zeroed_grain=on",
    "backing_file=base.vmdk,backing_fmt=vmdk",
    "backing_file=base.vmdk,backing_fmt=vmdk,zeroed_grain=on,subformat=twoGbMaxExtentSparse",
];

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    for kind in KINDS {
        let fs = image(kind);
        let (_, old_id) = found(&fs);
        let plan = CrashPlan { per_moment: 8, total: 200, seed: 3 };
        let change = |fs: &dyn Fs| change(fs, kind.contains("stream"));
        let (_, new_id) = cut_power(kind, &fs, plan, change, found);
        assert_ne!(old_id, new_id, "{kind}");
    }
}

#[test]
fn what_stands_on_a_changed_image_is_not_read() {
    let fs = image("backing_file=base.vmdk,backing_fmt=vmdk");
    let (disk, _) = found(&fs);
    let base = open(&fs, BASE, WRITE).unwrap();
    engine::write(&base, 0, Write::Data(&[9; 512])).unwrap();
    commit(&base).unwrap();
    drop(base);
    let image = open(&fs, IMAGE, WRITE).unwrap();
    let mut bytes = vec![0; GRAIN as usize];
    let refusal = engine::read(&image, 0, &mut bytes).unwrap_err();
    assert_eq!(refusal.report(), "Invalid argument");
    // What the image holds itself is read.
    engine::read(&image, GRAIN, &mut bytes).unwrap();
    assert_eq!(bytes[..], disk[GRAIN as usize..2 * GRAIN as usize]);
    // Told that this is meant to be, it is read by whoever opens it next.
    let base = open(&fs, BASE, OpenFlags::READ).unwrap();
    image.driver().writer().unwrap().follow(base.driver());
    commit(&image).unwrap();
    drop(image);
    let (now, _) = found(&fs);
    assert_eq!(now[..512], [9; 512]);
    assert_eq!(now[512..], disk[512..]);
}

#[test]
fn tables_that_are_not_there_are_made() {
    let fs = image("subformat=monolithicSparse");
    let (old, _) = found(&fs);
    let mut bytes = fs.bytes(IMAGE).unwrap();
    // Both directories have nothing in them, as on ESX; so all is zeroes.
    for at in [0x30, 0x38] {
        let directory = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize * 512;
        bytes[directory..directory + 4].fill(0);
    }
    fs.add_file(IMAGE, &bytes);
    fs.settle();
    assert!(found(&fs).0.iter().all(|&byte| byte == 0));
    let image = open(&fs, IMAGE, WRITE).unwrap();
    engine::write(&image, 0, Write::Data(&old)).unwrap();
    commit(&image).unwrap();
    drop(image);
    assert!(found(&fs).0 == old);
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let seeds: Vec<(SimFs, &str)> = KINDS
        .iter()
        .map(|kind| {
            let has_pieces = kind.contains("twoGb");
            (image(kind), if has_pieces { "/image-s001.vmdk" } else { IMAGE })
        })
        .collect();
    let mut below = random();
    for _ in 0..20_000 {
        let (seed, damaged) = &seeds[below(seeds.len())];
        let mut bytes = seed.bytes(damaged).unwrap();
        for _ in 0..=below(4) {
            let (start, len) =
                [(0, 0x50), (0x200, 0x180), (0x2a00, 8), (0x2c00, 64), (0x3400, 8), (0x3600, 64)][below(6)];
            let at = (start + below(len)).min(bytes.len() - 1);
            bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8, b'"', b'\n'][below(7)];
        }
        if below(10) == 0 {
            bytes.truncate(below(bytes.len()));
        }
        let fs = empty();
        for name in [IMAGE, BASE, "/image-s001.vmdk", "/image-flat.vmdk"] {
            let found = if name == *damaged { Some(bytes.clone()) } else { seed.bytes(name) };
            if let Some(bytes) = found {
                fs.add_file(name, &bytes);
            }
        }
        try_everything(&fs);
    }
}

fn try_everything(fs: &SimFs) {
    if let Ok(image) = open(fs, IMAGE, OpenFlags::READ) {
        let size = image.virtual_size();
        let mut buffer = vec![0; size.min(5000) as usize];
        drop(engine::read(&image, size - buffer.len() as u64, &mut buffer));
        drop(engine::read(&image, 0, &mut buffer));
        drop(image.driver().check(&mut |_| ()));
        drop(image.driver().details());
    }
    if let Ok(image) = open(fs, IMAGE, WRITE) {
        use_anyhow(&image);
    }
}
