//! Encrypted qcow2 images: their bytes, their size, their snapshots, what is behind them, and their key slots.

use std::ffi::OsString;
use std::sync::{Arc, LazyLock};

use formats::amend::Force;
use formats::create::Preallocation;
use formats::{Durability, Format, OpenContext, OpenFlags, Result};
use journal::sim::Frozen;
use journal::{SimFs, Zeroing};
use store::ops::commit::{Afterwards, Commit};
use store::ops::convert::{self, Transfer};
use store::ops::rebase::{self, Content, Rebase};
use store::ops::resize::Change;
use store::ops::{amend, snapshot};
use store::{ImageName, NoProgress};

use super::copying::conversion;
use super::{Subject, WRITE, list};
use crate::scenario::{ENCRYPTED, Scenario, Watched, other, qcow2, raw};
use crate::subject::{BASE, KEYS, SOURCE, TOP, context, new_image, pattern, put, writer, zero};

/// What an image is like.
#[derive(Debug)]
struct Kind {
    options: &'static str,
    behind: Behind,
    size: u64,
}

/// What stands behind an image. All that stand on nothing have a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    Raw,
    Qcow2,
}

/// Short keys make short key slots.
const KINDS: [Kind; 6] = [
    Kind {
        options: "cluster_size=4k,encrypt.format=luks,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc",
        behind: Behind::Nothing,
        size: 160 << 10,
    },
    Kind {
        options: "cluster_size=1k,encrypt.format=luks,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=ctr",
        behind: Behind::Raw,
        size: (96 << 10) + 512,
    },
    Kind { options: "cluster_size=512,encrypt.format=aes", behind: Behind::Nothing, size: (64 << 10) + 1536 },
    Kind {
        options: "cluster_size=64k,encrypt.format=luks,encrypt.cipher-alg=aes-128",
        behind: Behind::Qcow2,
        size: 1 << 20,
    },
    Kind { options: "cluster_size=2k,encrypt.format=aes", behind: Behind::Qcow2, size: 200 << 10 },
    Kind {
        options: "cluster_size=16k,extended_l2=on,encrypt.format=luks,encrypt.cipher-alg=aes-128",
        behind: Behind::Raw,
        size: 400 << 10,
    },
];

/// A tree with an image of each kind: it takes long to make one, since that is timed.
static TREES: LazyLock<Vec<Arc<Frozen>>> = LazyLock::new(|| KINDS.iter().map(Kind::build).collect());

impl Kind {
    fn has_slots(&self) -> bool {
        self.options.contains("luks")
    }

    fn build(&self) -> Arc<Frozen> {
        let tree = self.try_build();
        Arc::new(tree.unwrap_or_else(|error| panic!("{}: {}", self.options, error.report())))
    }

    fn try_build(&self) -> Result<Frozen> {
        let (fs, size) = (SimFs::new(), self.size);
        fs.add_file(SOURCE, &pattern(5, size / 2 / 512 * 512));
        let backing = match self.behind {
            Behind::Nothing => "",
            Behind::Raw => {
                fs.add_file(BASE, &pattern(6, size));
                ",backing_file=base,backing_fmt=raw"
            }
            Behind::Qcow2 => {
                let options = format!("size={size},cluster_size=1k");
                new_image(&fs, BASE, Format::Qcow2, &options, |image| put(image, size / 3, 6, size / 2))?;
                ",backing_file=base,backing_fmt=qcow2"
            }
        };
        let timed = if self.has_slots() { ",encrypt.iter-time=1" } else { "" };
        let options = format!("size={size},{}{timed},encrypt.key-secret=key{backing}", self.options);
        new_image(&fs, TOP, Format::Qcow2, &options, |image| {
            put(image, 700, 1, size / 4)?;
            put(image, size / 2, 2, 5000)
        })?;
        if self.has_slots() {
            add_second_key(&context(&fs), &image_name(), "encrypt.")?;
        }
        if self.behind == Behind::Nothing {
            let image = image_name().open(&context(&fs), WRITE)?;
            snapshot::create(&image, "s")?;
            put(&image, size / 5, 3, size / 5)?;
            writer(&image)?.commit(Durability::Durable)?;
        }
        fs.settle();
        Ok(fs.freeze())
    }
}

/// The image under test, with its key.
fn image_name() -> ImageName {
    ImageName::Options(OsString::from("driver=qcow2,file.filename=/top,encrypt.key-secret=key"))
}

/// Lets another passphrase open an image, too.
pub(super) fn add_second_key(context: &OpenContext<'_>, image: &ImageName, prefix: &str) -> Result<()> {
    let [_, second, _] = KEYS;
    change_slots(context, image, &add_key(prefix, second))
}

fn add_key(prefix: &str, key: &str) -> String {
    format!("{prefix}state=active,{prefix}new-secret={key},{prefix}iter-time=1")
}

/// Changes key slots as `amend` does.
pub(super) fn change_slots(context: &OpenContext<'_>, image: &ImageName, options: &str) -> Result<()> {
    let image = image.open(context, WRITE)?;
    amend::plan(&image, &list(options))?.run(context, Force::Off, &NoProgress)
}

/// A change of key slots: one less, or, now and then, one more, which is timed and takes long.
pub(super) fn slot_change(prefix: &str, seed: u64) -> String {
    let [_, second, new] = KEYS;
    let slot = 2 + seed / 5 % 6;
    match seed / 7919 % 40 {
        0 | 1 => add_key(prefix, new),
        2 | 3 => format!("{},{prefix}keyslot={slot}", add_key(prefix, new)),
        number if number % 2 == 0 => format!("{prefix}state=inactive,{prefix}old-secret={second}"),
        _ => format!("{prefix}state=inactive,{prefix}keyslot=1"),
    }
}

/// An operation on an image; it gets its kind, and what makes it differ from others.
fn scenario(
    subject: &Subject,
    operation: &str,
    images: impl Fn(&Kind) -> Vec<Watched>,
    run: impl Fn(&OpenContext<'_>, &Kind, u64) -> Result<()> + Send + Sync + 'static,
) -> Scenario {
    let (number, kind) = kind_of(subject);
    let seed = subject.shape.seed;
    let run = move |context: &OpenContext<'_>| run(context, kind, seed);
    Scenario::new(operation.to_owned(), Arc::clone(&TREES[number]), images(kind), run)
}

fn kind_of(subject: &Subject) -> (usize, &'static Kind) {
    let number = (subject.shape.seed / 7919) as usize % KINDS.len();
    (number, &KINDS[number])
}

/// The image alone.
fn image(_: &Kind) -> Vec<Watched> {
    vec![qcow2(TOP)]
}

/// Writes of every kind.
pub fn write(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "encrypted-write", image, |context, kind, seed| {
        let image = image_name().open(context, WRITE)?;
        put(&image, seed % 5000, seed + 100, 100)?;
        put(&image, kind.size / 3 + seed % 999, seed + 101, kind.size / 6)?;
        zero(&image, kind.size / 4, 4096, Zeroing::Keep)?;
        zero(&image, kind.size / 2 + 512, 9000, Zeroing::Unmap)?;
        put(&image, kind.size - 600, seed + 102, 600)?;
        writer(&image)?.commit(Durability::Durable)
    }))
}

pub fn convert_existing(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "encrypted-convert-n", image, |context, kind, seed| {
        let image = image_name().open(context, WRITE)?;
        put(&image, seed % (kind.size / 2), seed, 800)?;
        writer(&image)?.commit(Durability::Durable)?;
        drop(image);
        let content = convert::Content::Unknown;
        let target = convert::Target::Existing { name: image_name(), flags: WRITE, content };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}

/// Smaller, and larger with something written first.
pub fn resize(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "encrypted-resize", image, |context, kind, seed| {
        let image = image_name().open(context, WRITE)?;
        let by = (1 + seed % 50) * 512;
        // Under a snapshot no image gets smaller.
        let change = if seed.is_multiple_of(2) || kind.behind == Behind::Nothing {
            put(&image, seed % (kind.size / 2), seed + 100, 3000)?;
            Change::By(by * 9)
        } else {
            Change::Less(by)
        };
        change.plan(&image, Preallocation::Off)?.run(&image)
    }))
}

/// Snapshots that are taken, gone back to, and given up.
pub fn snapshot(subject: &Subject) -> Option<Scenario> {
    (kind_of(subject).1.behind == Behind::Nothing).then(|| {
        scenario(subject, "encrypted-snapshot", image, |context, kind, seed| {
            let image = image_name().open(context, WRITE)?;
            put(&image, seed % (kind.size / 2), seed + 100, 3000)?;
            writer(&image)?.commit(Durability::Durable)?;
            match seed / 7919 % 3 {
                0 => snapshot::create(&image, "another one"),
                1 => snapshot::apply(&image, "s"),
                _ => snapshot::delete(&image, "s"),
            }
        })
    })
}

pub fn rebase(subject: &Subject) -> Option<Scenario> {
    let onto = subject.shape.seed.is_multiple_of(2).then(|| OsString::from("/source"));
    let rebase = Rebase {
        image: image_name(),
        flags: WRITE,
        format: onto.as_ref().map(|_| "raw".to_owned()),
        onto,
        content: Content::Kept(OpenFlags::READ),
        transfer: rebase::Transfer::Plain,
        parallel: 1,
    };
    (kind_of(subject).1.behind != Behind::Nothing).then(|| {
        scenario(subject, "encrypted-rebase", image, move |context, _, seed| {
            let image = image_name().open(context, WRITE)?;
            put(&image, seed % 50_000, seed, 900)?;
            writer(&image)?.commit(Durability::Durable)?;
            drop(image);
            rebase.run(context, &NoProgress)
        })
    })
}

pub fn commit(subject: &Subject) -> Option<Scenario> {
    let both = |kind: &Kind| {
        let base = if kind.behind == Behind::Raw { raw(BASE) } else { qcow2(BASE) };
        image(kind).into_iter().chain([base]).collect()
    };
    let kind = kind_of(subject).1;
    (kind.behind != Behind::Nothing).then(|| {
        let mut scenario = scenario(subject, "encrypted-commit", both, |context, _, seed| {
            let image = image_name().open(context, WRITE)?;
            put(&image, seed % 50_000, seed, 900)?;
            writer(&image)?.commit(Durability::Durable)?;
            drop(image);
            let commit = Commit {
                image: image_name(),
                flags: WRITE,
                base: None,
                afterwards: if seed.is_multiple_of(2) { Afterwards::Emptied } else { Afterwards::Kept },
                parallel: 1,
                rate: None,
            };
            commit.open(context)?.find_base(context)?.run(context, &NoProgress)
        });
        if kind.behind == Behind::Raw {
            scenario.foreign = crate::scenario::Foreign::Anything;
        }
        scenario
    })
}

/// Passphrases that are let in, and shut out.
pub fn slots(subject: &Subject) -> Option<Scenario> {
    kind_of(subject).1.has_slots().then(|| {
        let slots = |_: &Kind| vec![qcow2(TOP), other(TOP, ENCRYPTED)];
        scenario(subject, "encrypted-slots", slots, |context, _, seed| {
            change_slots(context, &image_name(), &slot_change("encrypt.", seed))
        })
    })
}
