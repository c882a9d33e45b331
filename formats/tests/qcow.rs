//! qcow images of version 1 after power cuts, and damaged ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use formats::codec::Encoder;
use formats::create::{CreateRequest, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::{
    Codec, Durability, Format, GuestOffset, Image, OpenContext, OpenFlags, PermissiveGate, Result,
    open_filename,
};
use journal::sim::CrashPlan;
use journal::{Access, Fs, SimFs, Transaction, Zeroing};

const IMAGE: &str = "/image";
const CLUSTER: usize = 4096;
const SIZE: u64 = 9 << 20;
/// Where the table of the first level is.
const L1: usize = 48;

fn open(fs: &dyn Fs, access: Access) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(IMAGE), Some("qcow"), OpenFlags { access, ..OpenFlags::READ })
}

fn compress(image: &Image, at: u64, value: u8) -> Result<()> {
    let mut payload = vec![0; CLUSTER - 1];
    let len = Encoder::new(Codec::Deflate).unwrap().encode(&[value; CLUSTER], &mut payload).unwrap();
    image.driver().writer().unwrap().write_compressed(GuestOffset(at), &payload[..len])
}

/// An image with something in a few clusters, one of them compressed.
fn image() -> SimFs {
    let fs = SimFs::new();
    fs.add_directory("/");
    let mut options = OptionTable::for_file(Format::Qcow).parse(&OptionList::default()).unwrap();
    options.set_size(SIZE).unwrap();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let request = CreateRequest {
        target: Path::new(IMAGE),
        format: Format::Qcow,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    engine::write(new.image(), 5000, Write::Data(&[1; 9000])).unwrap();
    compress(new.image(), 8 * CLUSTER as u64, 7).unwrap();
    engine::write(new.image(), SIZE - 512, Write::Data(&[2; 512])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Writes into clusters that are there and into new ones, under tables that are there and new ones.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, Access::Write)?;
    engine::write(&image, 4500, Write::Data(&[3; 3000]))?;
    engine::write(&image, 8 * CLUSTER as u64 + 100, Write::Data(&[4; 100]))?;
    compress(&image, 4096, 8)?;
    engine::write(&image, 5 << 20, Write::Data(&[5; 512]))?;
    engine::write(&image, 9000, Write::Zeroes { len: 30_000, how: Zeroing::Keep })?;
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

fn cut_power_during(change: fn(&dyn Fs) -> Result<()>) {
    let fs = image();
    let old = found(&fs);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let new = found(&fs);
    assert_ne!(old, new);
    let mut counts = [0; 2];
    let plan = CrashPlan { per_moment: 12, total: 400, seed: 3 };
    for state in fs.crash_states(plan) {
        let disk = found(&state.fs);
        assert!(disk == old || disk == new, "state {}", state.id);
        counts[usize::from(disk == new)] += 1;
    }
    assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    cut_power_during(change);
}

#[test]
fn a_power_cut_leaves_a_full_image_or_an_empty_one() {
    cut_power_during(|fs| {
        let image = open(fs, Access::Write)?;
        let writer = image.driver().writer().unwrap();
        writer.overlay().unwrap().make_empty()?;
        writer.commit(Durability::Durable)
    });
}

#[test]
fn a_damaged_image_is_an_error_or_an_answer() {
    let sound = image().bytes(IMAGE).unwrap();
    let l2 = u64::from_be_bytes(sound[L1..L1 + 8].try_into().unwrap()) as usize;
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
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
        let Ok(image) = open(&fs, Access::Write) else { continue };
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
