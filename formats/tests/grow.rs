//! Images that grow, in formats that QEMU does not resize.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use formats::create::Preallocation;
use formats::engine::{self, Write};
use formats::resize::{Behind, Fit, Remainder};
use formats::{Finding, Format, Image, NewSize, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs};
use simulated::{IMAGE, MIB, WRITE, begin, commit, content, cut_power, transact};

const SIZE: u64 = 4 * MIB + 512;
const PLAN: CrashPlan = CrashPlan { per_moment: 6, total: 150, seed: 9 };

/// What grows, and to which sizes: without a larger table, with one in its place, and with one that needs more room
/// than there is.
const CASES: [(Format, &str, [u64; 3]); 15] = [
    (Format::Vdi, "", [5 * MIB, 6 * MIB, 200 * MIB]),
    (Format::Vdi, "static=on", [5 * MIB, 6 * MIB, 200 * MIB]),
    (Format::Vpc, "force_size=on", [5 * MIB, 7 * MIB, 400 * MIB]),
    (Format::Vpc, "force_size=on,subformat=fixed", [5 * MIB, 7 * MIB, 20 * MIB]),
    (Format::Vhdx, "block_size=1M", [5 * MIB, 6 * MIB, 200 * MIB]),
    (Format::Vhdx, "block_size=1M,subformat=fixed,block_state_zero=off", [5 * MIB, 6 * MIB, 20 * MIB]),
    (Format::Parallels, "cluster_size=64k", [SIZE + 512, 5 * MIB, 900 * MIB]),
    (Format::Parallels, "cluster_size=4k", [SIZE + 512, 5 * MIB, 20 * MIB]),
    (Format::Parallels, "", [SIZE + 512, 5 * MIB, 200 * MIB]),
    (Format::Vmdk, "", [SIZE + 512, 5 * MIB, 200 * MIB]),
    (Format::Vmdk, "zeroed_grain=on", [SIZE + 512, 40 * MIB, 900 * MIB]),
    (Format::Vmdk, "subformat=monolithicFlat", [SIZE + 512, 5 * MIB, 20 * MIB]),
    (Format::Vmdk, "subformat=twoGbMaxExtentSparse", [SIZE + 512, 5 * MIB, 200 * MIB]),
    (Format::Vmdk, "subformat=twoGbMaxExtentFlat", [SIZE + 512, 5 * MIB, 20 * MIB]),
    // Its directory moves.
    (Format::Vmdk, "adapter_type=lsilogic", [5 * MIB, 20 * MIB, 4200 * MIB]),
];

fn open(fs: &dyn Fs, format: Format) -> Result<Image> {
    simulated::open(fs, IMAGE, format, WRITE)
}

fn resize(image: &Image, size: u64, preallocation: Preallocation, behind: Behind) -> Result<Remainder> {
    let resizer = image.driver().writer().unwrap().resizer().unwrap();
    resizer.resize(&NewSize { preallocation, behind, ..NewSize::plain(size, Fit::Exact) })
}

fn grow(fs: &dyn Fs, format: Format, size: u64) -> Result<()> {
    let image = open(fs, format)?;
    assert_eq!(resize(&image, size, Preallocation::Off, Behind::Nothing)?, Remainder::None);
    assert_eq!(image.virtual_size(), size);
    commit(&image)
}

/// The size of the disk, and what is in it but for zeroes at its end, of an image without errors.
fn found(fs: &SimFs, format: Format) -> (u64, Vec<u8>) {
    let transaction = begin(fs);
    let image = open(&transaction, format).unwrap();
    if image.driver().can_check() {
        let mut tell = |finding| match finding {
            // Of a change that was cut off.
            Finding::Line(line) if line.contains("space leaked at the end") => {}
            other => panic!("{other:?}"),
        };
        assert_eq!(image.driver().check(&mut tell).unwrap().corruptions, 0);
    }
    let mut bytes = content(&image);
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    (image.virtual_size(), bytes)
}

fn image(format: Format, options: &str) -> SimFs {
    simulated::image(format, options, SIZE, MIB)
}

#[test]
fn what_is_added_reads_as_zeroes() {
    for (format, options, sizes) in CASES {
        for size in sizes {
            let fs = image(format, options);
            let (_, old) = found(&fs, format);
            transact(&fs, |fs| grow(fs, format, size));
            assert!(found(&fs, format) == (size, old.clone()), "{format} {options} {size}");
            // What is added can be written, and what was there can, too.
            transact(&fs, |fs| {
                let image = open(fs, format)?;
                engine::write(&image, size - 700, Write::Data(&[7; 700]))?;
                engine::write(&image, 3 * MIB, Write::Data(&[8; 700]))?;
                commit(&image)
            });
            let mut expected = old;
            expected.resize(size as usize, 0);
            expected[size as usize - 700..].fill(7);
            expected[3 * MIB as usize..][..700].fill(8);
            assert!(found(&fs, format) == (size, expected), "{format} {options} {size}: written");
        }
    }
}

#[test]
fn what_is_behind_the_end_of_the_disk_does_not_show() {
    for (format, options, [size, ..]) in CASES {
        let fs = image(format, options);
        let mut bytes = fs.bytes(IMAGE).unwrap();
        // The last sector is full of twos; zeroes follow it in its block.
        let at =
            bytes.windows(1024).rposition(|window| window[..512] == [2; 512] && window[512..] == [0; 512]);
        // A fixed disk ends there.
        let Some(at) = at else { continue };
        bytes[at + 512..at + 1024].fill(9);
        fs.add_file(IMAGE, &bytes);
        let (_, old) = found(&fs, format);
        transact(&fs, |fs| grow(fs, format, size));
        assert!(found(&fs, format) == (size, old), "{format} {options}");
    }
}

#[test]
fn a_power_cut_leaves_the_old_size_or_the_new_one() {
    for (format, options, [_, size, larger]) in CASES {
        for size in [size, larger.min(20 * MIB)] {
            let what = format!("{format} {options} {size}");
            cut_power(
                &what,
                &image(format, options),
                PLAN,
                |fs| grow(fs, format, size),
                |fs| found(fs, format),
            );
        }
    }
}

#[test]
fn an_image_that_has_grown_goes_on() {
    for (format, options, [_, size, larger]) in CASES {
        let fs = image(format, options);
        let (_, mut expected) = found(&fs, format);
        transact(&fs, |fs| {
            let image = open(fs, format)?;
            engine::write(&image, 2 * MIB, Write::Data(&[3; 600]))?;
            resize(&image, size, Preallocation::Off, Behind::Nothing)?;
            engine::write(&image, size - 600, Write::Data(&[4; 600]))?;
            resize(&image, larger, Preallocation::Off, Behind::Nothing)?;
            engine::write(&image, larger - 600, Write::Data(&[5; 600]))?;
            commit(&image)
        });
        expected.resize(larger as usize, 0);
        for (at, byte) in [(2 * MIB, 3), (size - 600, 4), (larger - 600, 5)] {
            expected[at as usize..][..600].fill(byte);
        }
        assert!(found(&fs, format) == (larger, expected), "{format} {options}");
    }
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    for (format, options, [size, ..]) in CASES {
        let fs = image(format, options);
        let before = fs.bytes(IMAGE).unwrap();
        let image = open(&fs, format).unwrap();
        let refused = |size, preallocation, behind| {
            resize(&image, size, preallocation, behind).map_or_else(|error| error.report(), |_| String::new())
        };
        assert_eq!(
            refused(MIB, Preallocation::Off, Behind::Nothing),
            "Image format driver does not support resize"
        );
        assert_eq!(
            refused(size, Preallocation::Full, Behind::Nothing),
            "Image format driver does not support resize"
        );
        assert!(!refused(size, Preallocation::Off, Behind::Bytes).is_empty());
        // How long a file can be is its filesystem's affair.
        if options != "subformat=monolithicFlat" {
            assert!(!refused(1 << 60, Preallocation::Off, Behind::Nothing).is_empty());
        }
        assert!(fs.bytes(IMAGE).unwrap() == before, "{format} {options}");
    }
}
