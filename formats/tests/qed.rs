//! QED images after power cuts, and damaged ones.

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

fn open(fs: &dyn Fs, access: Access) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(IMAGE), Some("qed"), OpenFlags { access, ..OpenFlags::READ })
}

/// An image of 4 MiB with something in its second mebibyte and at its end.
fn image() -> SimFs {
    let fs = SimFs::new();
    fs.add_directory("/");
    let mut options = OptionTable::for_file(Format::Qed).parse(&OptionList::default()).unwrap();
    options.set_size(4 * MIB).unwrap();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let request = CreateRequest {
        target: Path::new(IMAGE),
        format: Format::Qed,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    engine::write(new.image(), MIB + 700, Write::Data(&[1; 9000])).unwrap();
    engine::write(new.image(), 4 * MIB - 512, Write::Data(&[2; 512])).unwrap();
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Writes into clusters that are there and into new ones, one of them of a table that is new too.
fn change(fs: &dyn Fs) -> Result<()> {
    let image = open(fs, Access::Write)?;
    engine::write(&image, MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    let zeroes = Write::Zeroes { len: 400, how: Zeroing::Keep };
    engine::write(&image, 4 * MIB - 450, zeroes)?;
    engine::write(&image, 2 * MIB, Write::Data(&[5; 512]))?;
    let zeroes = Write::Zeroes { len: MIB, how: Zeroing::Keep };
    engine::write(&image, 2 * MIB, zeroes)?;
    image.driver().writer().unwrap().commit(Durability::Durable)
}

fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// The disk as the next program finds it, without errors.
fn found(fs: &SimFs) -> Vec<u8> {
    let transaction = begin(fs);
    let image = open(&transaction, Access::Write).unwrap();
    let report = image.driver().check(&mut |finding| panic!("{finding:?}")).unwrap();
    assert_eq!(report.corruptions, 0);
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(&image, 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    let fs = image();
    let old = found(&fs);
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
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
            // The fields and the map, for the most part.
            let at = if below(8) == 0 { below(bytes.len()) } else { [0, 24, 64][below(3)] + below(40) };
            bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
        }
        bytes.truncate(if below(10) == 0 { below(4096) } else { 4096 });
        let fs = SimFs::new();
        fs.add_file(IMAGE, &bytes);
        if let Ok(image) = open(&fs, Access::Write) {
            let size = image.virtual_size();
            if size < 1 << 32 {
                drop(image.driver().check(&mut |_| ()));
            }
            let mut buffer = vec![0; size.min(5000) as usize];
            drop(engine::read(&image, size - buffer.len() as u64, &mut buffer));
            let written = engine::write(&image, 0, Write::Data(&buffer));
            let writer = image.driver().writer().unwrap();
            drop(written.and_then(|()| writer.commit(Durability::Durable)));
        }
    }
}
