//! VDI images after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use formats::engine::{self, Write};
use formats::{Format, Image, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{IMAGE, MIB, WRITE, begin, commit, cut_power, random, sound_content, use_anyhow};

fn open(fs: &dyn Fs) -> Result<Image> {
    simulated::open(fs, IMAGE, Format::Vdi, WRITE)
}

/// An image of 4 MiB with something in its second and last block.
fn image() -> SimFs {
    simulated::image(Format::Vdi, "", 4 * MIB, MIB)
}

/// Writes into blocks that are there and into new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs)?;
    engine::write(&image, MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    let zeroes = Write::Zeroes { len: 400, how: Zeroing::Keep };
    engine::write(&image, 4 * MIB - 450, zeroes)?;
    engine::write(&image, 2 * MIB, Write::Data(&[5; 512]))?;
    commit(&image)
}

/// The disk as the next program finds it, without errors.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    sound_content(&open(&transaction).unwrap())
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    let plan = CrashPlan { per_moment: 12, total: 600, seed: 3 };
    cut_power("", &image(), plan, change, found);
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image().bytes(IMAGE).unwrap();
    let mut below = random();
    for _ in 0..20_000 {
        let mut bytes = sound[..4096].to_vec();
        for _ in 0..=below(3) {
            // The fields and the map, for the most part.
            let at =
                if below(8) == 0 { below(bytes.len()) } else { [0x40, 0x150, 0x200][below(3)] + below(56) };
            bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        bytes.truncate(if below(10) == 0 { below(4096) } else { 4096 });
        let fs = SimFs::new();
        fs.add_file(IMAGE, &bytes);
        if let Ok(image) = open(&fs) {
            if image.virtual_size() < 1 << 32 {
                drop(image.driver().check(&mut |_| ()));
            }
            use_anyhow(&image);
        }
    }
}
