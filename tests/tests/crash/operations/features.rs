//! An image's size and features: `resize` and `amend`.

use formats::amend::Force;
use formats::create::Preallocation;
use store::NoProgress;
use store::ops::amend;
use store::ops::resize::Change;

use super::{Subject, list};
use crate::scenario::Scenario;
use crate::subject::{Chain, DataFile, TOP, open_for_writing};

pub fn resize_grow(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    // Far enough for another L1 table, now and then.
    let more = shape.cluster * [3, 70, 700][shape.seed as usize % 3] + 512;
    let preallocation = match shape.seed % 4 {
        1 if shape.chain == Chain::None => Preallocation::Metadata,
        _ => Preallocation::Off,
    };
    // Version 2 can neither grow under snapshots nor hide what a longer backing image has.
    (shape.version == 3 || shape.snapshots == 0 && shape.chain != Chain::Longer)
        .then(|| resize(subject, "resize", Change::By(more), preallocation))
}

pub fn resize_shrink(subject: &Subject) -> Option<Scenario> {
    let less = subject.shape.size / 3 / 512 * 512;
    (subject.shape.snapshots == 0)
        .then(|| resize(subject, "resize-shrink", Change::Less(less), Preallocation::Off))
}

fn resize(subject: &Subject, operation: &str, change: Change, preallocation: Preallocation) -> Scenario {
    subject.scenario(operation, subject.images(), move |context| {
        let image = open_for_writing(context, TOP)?;
        change.plan(&image, preallocation)?.run(&image)
    })
}

pub fn amend(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let options = match shape.seed % 3 {
        _ if shape.version == 2 => "compat=1.1".to_owned(),
        0 => "lazy_refcounts=on".to_owned(),
        1 => format!("refcount_bits={}", if shape.refcount_bits == 16 { 32 } else { 16 }),
        _ => format!("lazy_refcounts=on,size={}", shape.size + shape.cluster * 5),
    };
    let no_change = shape.data != DataFile::None && shape.version == 2;
    (!no_change).then(|| {
        subject.scenario("amend", subject.images(), move |context| {
            let image = open_for_writing(context, TOP)?;
            amend::plan(&image, &list(&options))?.run(context, Force::Off, &NoProgress)
        })
    })
}

pub fn amend_down(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let plain = shape.version == 3 && !shape.extended;
    let old_enough = shape.data == DataFile::None && shape.bitmaps == 0;
    let options = if shape.refcount_bits == 16 { "compat=0.10" } else { "compat=0.10,refcount_bits=16" };
    (plain && old_enough).then(|| {
        subject.scenario("amend-compat", subject.images(), move |context| {
            let image = open_for_writing(context, TOP)?;
            amend::plan(&image, &list(options))?.run(context, Force::Off, &NoProgress)
        })
    })
}
