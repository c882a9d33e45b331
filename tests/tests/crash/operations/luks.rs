//! LUKS volumes, of which the guest's bytes and the length change: their files are old or new byte for byte; and
//! their key slots: the same passphrases open them.

use std::ffi::OsString;
use std::sync::{Arc, LazyLock};

use formats::create::Preallocation;
use formats::{Durability, Format, OpenContext, Result};
use journal::sim::Frozen;
use journal::{SimFs, Zeroing};
use store::ImageName;
use store::NoProgress;
use store::ops::convert::{self, Transfer};
use store::ops::resize::Change;

use super::copying::conversion;
use super::encrypted::{add_second_key, change_slots, slot_change};
use super::{Subject, WRITE};
use crate::scenario::{Foreign, Scenario, Watched, other, raw};
use crate::subject::{SOURCE, TOP, context, new_image, pattern, put, writer, zero};

/// Ciphers with short keys, so that the key slots are short, and sizes of volumes.
const KINDS: [(&str, u64); 4] = [
    ("cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain64", 300 << 10),
    ("cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256", (300 << 10) + 512),
    ("cipher-alg=aes-128,cipher-mode=ctr,ivgen-alg=plain64", (301 << 10) + 512),
    ("cipher-alg=aes-128,cipher-mode=xts", 302 << 10),
];

/// A tree with a volume of each kind: it takes long to make one, since that is timed.
static VOLUMES: LazyLock<Vec<Arc<Frozen>>> = LazyLock::new(|| KINDS.into_iter().map(build).collect());

fn build((cipher, size): (&str, u64)) -> Arc<Frozen> {
    let fs = SimFs::new();
    fs.add_file(SOURCE, &pattern(5, size / 2 / 512 * 512));
    let options = format!("size={size},key-secret=key,iter-time=1,{cipher}");
    let made = new_image(&fs, TOP, Format::Luks, &options, |image| {
        put(image, 700, 1, 70_000)?;
        put(image, size / 2, 2, 5000)
    });
    let made = made.and_then(|()| add_second_key(&context(&fs), &volume(), ""));
    made.unwrap_or_else(|error| panic!("{options}: {}", error.report()));
    fs.settle();
    Arc::new(fs.freeze())
}

/// The volume, with its key.
fn volume() -> ImageName {
    ImageName::Options(OsString::from("driver=luks,file.filename=/top,key-secret=key"))
}

/// An operation on a volume; it gets the size of the disk, and what makes it differ from others.
fn scenario(
    subject: &Subject,
    operation: &str,
    watched: Watched,
    run: impl Fn(&OpenContext<'_>, u64, u64) -> Result<()> + Send + Sync + 'static,
) -> Scenario {
    let seed = subject.shape.seed;
    let kind = (seed / 7919) as usize % KINDS.len();
    let (_, size) = KINDS[kind];
    let run = move |context: &OpenContext<'_>| run(context, size, seed);
    let mut scenario = Scenario::new(operation.to_owned(), Arc::clone(&VOLUMES[kind]), vec![watched], run);
    scenario.foreign = Foreign::Anything;
    scenario
}

/// Writes of every kind.
pub fn write(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "luks-write", raw(TOP), |context, size, seed| {
        let image = volume().open(context, WRITE)?;
        put(&image, seed % 5000, seed + 100, 100)?;
        put(&image, size / 3 + seed % 999, seed + 101, 30_000)?;
        zero(&image, size / 4, 4096, Zeroing::Keep)?;
        put(&image, size - 600, seed + 102, 600)?;
        writer(&image)?.commit(Durability::Durable)
    }))
}

pub fn convert_existing(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "luks-convert-n", raw(TOP), |context, _, seed| {
        let image = volume().open(context, WRITE)?;
        put(&image, seed % 90_000, seed, 800)?;
        writer(&image)?.commit(Durability::Durable)?;
        drop(image);
        let content = convert::Content::Unknown;
        let target = convert::Target::Existing { name: volume(), flags: WRITE, content };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}

/// Smaller, and larger with something written first.
pub fn resize(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "luks-resize", raw(TOP), |context, _, seed| {
        let image = volume().open(context, WRITE)?;
        let by = (1 + seed % 50) * 1024;
        let change = if seed.is_multiple_of(2) {
            put(&image, seed % 90_000, seed + 100, 3000)?;
            Change::By(by)
        } else {
            Change::Less(by)
        };
        change.plan(&image, Preallocation::Off)?.run(&image)
    }))
}

/// Passphrases that are let in, and shut out.
pub fn slots(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "luks-slots", other(TOP, "luks"), |context, _, seed| {
        change_slots(context, &volume(), &slot_change("", seed))
    }))
}
