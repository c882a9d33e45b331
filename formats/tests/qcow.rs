//! qcow images of version 1 after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use formats::codec::Encoder;
use formats::engine::{self, Write};
use formats::{Codec, Durability, Format, GuestOffset, Image, Result};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{IMAGE, WRITE, begin, begin_image, commit, content, cut_power, empty, random};

const CLUSTER: usize = 4096;
const SIZE: u64 = 9 << 20;
/// Where the table of the first level is.
const L1: usize = 48;
const PLAN: CrashPlan = CrashPlan { per_moment: 12, total: 400, seed: 3 };

fn open(fs: &dyn Fs) -> Result<Image> {
    simulated::open(fs, IMAGE, Format::Qcow, WRITE)
}

fn compress(image: &Image, at: u64, value: u8) -> Result<()> {
    let mut payload = vec![0; CLUSTER - 1];
    let len = Encoder::new(Codec::Deflate).unwrap().encode(&[value; CLUSTER], &mut payload).unwrap();
    image.driver().writer().unwrap().write_compressed(GuestOffset(at), &payload[..len])
}

/// An image with something in a few clusters, one of them compressed.
fn image() -> SimFs {
    let fs = empty();
    let new = begin_image(&fs, IMAGE, Format::Qcow, "", SIZE);
    engine::write(new.image(), 5000, Write::Data(&[1; 9000])).unwrap();
    compress(new.image(), 8 * CLUSTER as u64, 7).unwrap();
    engine::write(new.image(), SIZE - 512, Write::Data(&[2; 512])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Writes into clusters that are there and into new ones, under tables that are there and new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs)?;
    engine::write(&image, 4500, Write::Data(&[3; 3000]))?;
    engine::write(&image, 8 * CLUSTER as u64 + 100, Write::Data(&[4; 100]))?;
    compress(&image, 4096, 8)?;
    engine::write(&image, 5 << 20, Write::Data(&[5; 512]))?;
    engine::write(&image, 9000, Write::Zeroes { len: 30_000, how: Zeroing::Keep })?;
    commit(&image)
}

/// The disk as the next program finds it.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    content(&open(&transaction).unwrap())
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    cut_power("", &image(), PLAN, change, found);
}

#[test]
fn a_power_cut_leaves_a_full_image_or_an_empty_one() {
    let make_empty = |fs: &dyn Fs| {
        let image = open(fs)?;
        image.driver().writer().unwrap().overlay().unwrap().make_empty()?;
        commit(&image)
    };
    cut_power("", &image(), PLAN, make_empty, found);
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image().bytes(IMAGE).unwrap();
    let l2 = u64::from_be_bytes(sound[L1..L1 + 8].try_into().unwrap()) as usize;
    let mut below = random();
    for _ in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..=below(3) {
            // The fields and the tables, for the most part.
            let at = match below(8) {
                0 => below(bytes.len()),
                1..4 => below(L1),
                4 => l2 + below(CLUSTER),
                _ => [L1, l2][below(2)] + below(40),
            };
            bytes[at] = [0, 1, 9, 0x10, 0x7f, 0x80, 0xff, below(256) as u8][below(8)];
        }
        bytes.truncate(if below(10) == 0 { below(bytes.len()) } else { bytes.len() });
        let fs = SimFs::new();
        fs.add_file(IMAGE, &bytes);
        let Ok(image) = open(&fs) else { continue };
        let size = image.virtual_size();
        let mut buffer = vec![0; size.min(50_000) as usize];
        drop(engine::read(&image, 0, &mut buffer));
        drop(engine::read(&image, size - buffer.len() as u64, &mut buffer));
        let written = engine::write(&image, 0, Write::Data(&buffer));
        let writer = image.driver().writer().unwrap();
        drop(written.and_then(|()| writer.zero(GuestOffset(0), size.min(1 << 16), Zeroing::Unmap)));
        drop(writer.commit(Durability::Durable));
    }
}
