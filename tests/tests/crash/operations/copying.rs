//! Images that are made, and images that are written into.

use std::ops::Range;

use formats::{OpenContext, OpenFlags, Result};
use journal::Zeroing;
use store::ops::convert::{self, BitmapPolicy, Convert, Transfer, UnreadablePolicy};
use store::ops::create::{BackingTrust, Create};
use store::ops::dd::{self, Dd, Streams};
use store::{NewTarget, NoProgress};

use super::{Subject, WRITE, list, name};
use crate::scenario::{Foreign, Scenario, qcow2, raw};
use crate::subject::{
    BASE, Chain, Content, DataFile, SIDE, SOURCE, TOP, open_for_writing, put, writer, zero,
};

pub fn create_new(subject: &Subject) -> Option<Scenario> {
    let create = creation(subject, "/new");
    let plain = subject.shape.data == DataFile::None;
    plain.then(|| {
        subject.scenario("create", vec![qcow2("/new")], move |context| create.plan(context)?.run(context))
    })
}

pub fn create_over(subject: &Subject) -> Option<Scenario> {
    let mut create = creation(subject, TOP);
    create.size = Some(subject.shape.size + 4096);
    let plain = subject.shape.data == DataFile::None;
    plain.then(|| {
        subject.scenario("create-over", vec![qcow2(TOP)], move |context| create.plan(context)?.run(context))
    })
}

/// The making of an image of the subject's shape.
fn creation(subject: &Subject, path: &str) -> Create {
    let options = subject.shape.options();
    let (_, options) = options.split_once(',').unwrap_or_default();
    Create {
        filename: path.into(),
        format: "qcow2".to_owned(),
        options: list(options),
        size: Some(subject.shape.size),
        backing: None,
        backing_format: None,
        trust: BackingTrust::Verify,
    }
}

pub fn convert_new(subject: &Subject) -> Option<Scenario> {
    let options = format!("cluster_size={},refcount_bits={}", subject.shape.cluster, 16);
    let transfer = if subject.shape.seed.is_multiple_of(3) { Transfer::Compressed } else { Transfer::Plain };
    let target = new_target("/new", "qcow2", &options);
    Some(subject.scenario("convert", vec![qcow2("/new")], move |context| {
        conversion(TOP, "qcow2", convert::Target::New(target.clone()), transfer).run(context, &NoProgress)
    }))
}

pub fn convert_over(subject: &Subject) -> Option<Scenario> {
    let plain = subject.shape.data == DataFile::None && subject.shape.content != Content::Empty;
    let target = new_target(TOP, "qcow2", &format!("cluster_size={}", subject.shape.cluster));
    plain.then(|| {
        subject.scenario("convert-over", vec![qcow2(TOP)], move |context| {
            let target = convert::Target::New(target.clone());
            conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
        })
    })
}

pub fn convert_raw(subject: &Subject) -> Option<Scenario> {
    let target = new_target(SOURCE, "raw", "");
    Some(subject.scenario("convert-raw", vec![raw(SOURCE)], move |context| {
        conversion(TOP, "qcow2", convert::Target::New(target.clone()), Transfer::Plain)
            .run(context, &NoProgress)
    }))
}

pub fn convert_existing(subject: &Subject) -> Option<Scenario> {
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("convert-n", subject.images(), |context| {
        let target = convert::Target::Existing {
            name: name(TOP, "qcow2"),
            flags: WRITE,
            content: convert::Content::Unknown,
        };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}

pub fn dd_existing(subject: &Subject) -> Option<Scenario> {
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("dd", subject.images(), |context| {
        copy_blocks(context, (SOURCE, "raw"), (TOP, "qcow2"), 3..24)
    }))
}

/// A raw image gets the bytes of another one, which are named rather than kept.
pub fn convert_into_raw(subject: &Subject) -> Option<Scenario> {
    (subject.shape.chain == Chain::Raw).then(|| {
        let mut scenario = subject.scenario("convert-n-raw", vec![raw(BASE)], |context| {
            let target = convert::Target::Existing {
                name: name(BASE, "raw"),
                flags: WRITE,
                content: convert::Content::Unknown,
            };
            conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
        });
        scenario.foreign = Foreign::Anything;
        scenario
    })
}

/// The same with those of a qcow2 image, its zeroes and compressed clusters included.
pub fn dd_into_raw(subject: &Subject) -> Option<Scenario> {
    if subject.shape.content == Content::Empty {
        return None;
    }
    let blocks = subject.shape.size / 2 / 512;
    let mut scenario = subject.scenario("dd-raw", vec![raw(SOURCE)], move |context| {
        copy_blocks(context, (TOP, "qcow2"), (SOURCE, "raw"), 0..blocks)
    });
    scenario.foreign = Foreign::Anything;
    Some(scenario)
}

/// Copies blocks of 512 bytes from one image to the start of another.
fn copy_blocks(
    context: &OpenContext<'_>,
    (source, source_format): (&str, &str),
    (target, target_format): (&str, &str),
    blocks: Range<u64>,
) -> Result<()> {
    let dd = Dd {
        source: Some(name(source, source_format)),
        source_flags: OpenFlags::READ,
        snapshot: None,
        target: dd::Target::Existing { name: name(target, target_format), flags: WRITE },
        block_size: 512,
        count: Some(blocks.end),
        skip: blocks.start,
        input_size: None,
        output_size: None,
    };
    dd.run(context, Streams { input: &mut std::io::empty(), output: &mut std::io::sink() })
}

/// Writes of every kind, as operations are made of them.
pub fn write_guest(subject: &Subject) -> Option<Scenario> {
    let (cluster, size, seed) = (subject.shape.cluster, subject.shape.size, subject.shape.seed + 100);
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("write", subject.images(), move |context| {
        let image = name(TOP, "qcow2").open(context, WRITE)?;
        put(&image, 10, seed, 100)?;
        put(&image, cluster * 2, seed + 1, cluster * 3 + 100)?;
        zero(&image, size / 2, cluster * 2 + 512, Zeroing::Unmap)?;
        zero(&image, size / 3, cluster, Zeroing::Keep)?;
        put(&image, size - 600, seed + 2, 600)?;
        writer(&image)?.commit(formats::Durability::Durable)
    }))
}

/// Two sessions with one image, one after the other, as one transaction: what the first one gives up the
/// committed state still has when the second one looks for space.
pub fn write_again(subject: &Subject) -> Option<Scenario> {
    let (size, seed) = (subject.shape.size, subject.shape.seed + 300);
    (subject.shape.data == DataFile::None).then(|| {
        subject.scenario("again", subject.images(), move |context| {
            for round in 0..3 {
                let image = open_for_writing(context, TOP)?;
                put(&image, round * 700, seed + round, size / 2)?;
                writer(&image)?.commit(formats::Durability::Durable)?;
            }
            Ok(())
        })
    })
}

/// Changes of two images and the making of a third, in two directories, as one transaction.
pub fn several(subject: &Subject) -> Option<Scenario> {
    let (cluster, seed) = (subject.shape.cluster, subject.shape.seed + 200);
    let create = Create { filename: "/far/new".into(), ..creation(subject, "/far/new") };
    let images = subject.images().into_iter().chain([qcow2(SIDE), qcow2("/far/new")]).collect();
    let plain = subject.shape.data == DataFile::None && subject.shape.chain == Chain::None;
    plain.then(|| {
        subject.scenario("several", images, move |context| {
            for path in [TOP, SIDE] {
                let image = open_for_writing(context, path)?;
                put(&image, cluster + 10, seed, cluster * 2)?;
                writer(&image)?.commit(formats::Durability::Durable)?;
            }
            create.plan(context)?.run(context)
        })
    })
}

fn new_target(path: &str, format: &str, options: &str) -> NewTarget {
    NewTarget {
        filename: path.into(),
        format: format.to_owned(),
        options: list(options),
        backing: None,
        backing_format: None,
    }
}

pub(super) fn conversion(source: &str, format: &str, target: convert::Target, transfer: Transfer) -> Convert {
    Convert {
        sources: vec![name(source, format)],
        source_flags: OpenFlags::READ,
        snapshot: None,
        target,
        transfer,
        min_sparse: 4096,
        bitmaps: BitmapPolicy::None,
        unreadable: UnreadablePolicy::Fail,
        parallel: 1,
        rate: None,
    }
}
