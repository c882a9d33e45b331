//! Snapshots, bitmaps, repairs: what changes an image's own metadata.

use std::sync::Arc;

use formats::{Error, OpenContext, OpenFlags, Repair, Result};
use store::ImageName;
use store::ops::bitmap::{Action, ChangeBitmap};
use store::ops::{check, snapshot};

use super::{Subject, WRITE, name};
use crate::damage::Damage;
use crate::scenario::{Foreign, Scenario};
use crate::subject::{Content, DataFile, TOP, open_for_writing};

pub fn snapshot_create(subject: &Subject) -> Option<Scenario> {
    let plain = subject.shape.data == DataFile::None && subject.shape.refcount_bits > 1;
    let few = subject.shape.refcount_bits > 4;
    (plain && few).then(|| {
        subject.scenario("snapshot-c", subject.images(), |context| {
            snapshot::create(&open_for_writing(context, TOP)?, "another one")
        })
    })
}

pub fn snapshot_apply(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let name = format!("s{}", shape.seed as usize % shape.snapshots.max(1));
    // One more reference to each cluster, while the old table stands.
    let room = shape.refcount_bits > 2;
    (shape.snapshots > 0 && shape.bitmaps == 0 && room).then(|| {
        subject.scenario("snapshot-a", subject.images(), move |context| {
            snapshot::apply(&open_for_writing(context, TOP)?, &name)
        })
    })
}

pub fn snapshot_delete(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let name = format!("s{}", shape.seed as usize % shape.snapshots.max(1));
    (shape.snapshots > 0).then(|| {
        subject.scenario("snapshot-d", subject.images(), move |context| {
            snapshot::delete(&open_for_writing(context, TOP)?, &name)
        })
    })
}

pub fn bitmap_add(subject: &Subject) -> Option<Scenario> {
    (subject.shape.version == 3).then(|| bitmap_scenario(subject, "bitmap-add", "new", vec![Action::Add]))
}

pub fn bitmap_remove(subject: &Subject) -> Option<Scenario> {
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-remove", "b0", vec![Action::Remove]))
}

pub fn bitmap_clear(subject: &Subject) -> Option<Scenario> {
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-clear", "b0", vec![Action::Clear]))
}

pub fn bitmap_switch(subject: &Subject) -> Option<Scenario> {
    match subject.shape.bitmaps {
        0 => None,
        1 => Some(bitmap_scenario(subject, "bitmap-switch", "b0", vec![Action::Disable])),
        _ => Some(bitmap_scenario(subject, "bitmap-switch", "b1", vec![Action::Enable])),
    }
}

pub fn bitmap_merge(subject: &Subject) -> Option<Scenario> {
    let merge = vec![Action::Merge("b1".into())];
    (subject.shape.bitmaps > 1).then(|| bitmap_scenario(subject, "bitmap-merge", "b0", merge))
}

pub fn bitmap_several(subject: &Subject) -> Option<Scenario> {
    let actions = vec![Action::Add, Action::Merge("b0".into()), Action::Disable];
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-several", "sum", actions))
}

fn bitmap_scenario(subject: &Subject, operation: &str, bitmap: &str, actions: Vec<Action>) -> Scenario {
    let change = ChangeBitmap {
        image: name(TOP, "qcow2"),
        name: bitmap.into(),
        actions,
        granularity: None,
        source: None,
    };
    let mut scenario = subject.scenario(operation, subject.images(), move |context| change.run(context));
    // No guest data is touched.
    scenario.foreign = Foreign::OldOrNew;
    scenario
}

pub fn check_repair(subject: &Subject) -> Option<Scenario> {
    let damage = Damage::ALL[subject.shape.seed as usize % Damage::ALL.len()];
    // Without an entry in its L1 table there is no flag to be wrong.
    let suits = match damage {
        Damage::Copied => subject.shape.content != Content::Empty,
        // Some images of version 2 that lost it cannot be repaired, by qemu-img neither.
        Damage::LostBlock => subject.shape.version == 3,
        _ => true,
    };
    suits.then(|| repair_scenario(subject, "check-r-all", damage, Repair::All))
}

pub fn check_leaks(subject: &Subject) -> Option<Scenario> {
    Some(repair_scenario(subject, "check-r-leaks", Damage::Leak, Repair::Leaks))
}

fn repair_scenario(subject: &Subject, operation: &str, damage: Damage, what: Repair) -> Scenario {
    let tree = Arc::new(damage.inflict(&subject.tree));
    Scenario::new(operation.to_owned(), tree, subject.images(), move |context| {
        repair(context, name(TOP, "qcow2"), what)
    })
}

/// Repairs an image; what is left to repair is no success.
pub(super) fn repair(context: &OpenContext<'_>, image: ImageName, what: Repair) -> Result<()> {
    let image = image.open(context, OpenFlags { check: true, ..WRITE })?;
    match check::repair(&image, what, &mut |_| {}) {
        check::Verdict::Checked(report) if report.corruptions + report.check_errors > 0 => {
            Err(Error::corrupt("not everything could be repaired"))
        }
        check::Verdict::Checked(_) => Ok(()),
        check::Verdict::Impossible => Err(Error::unsupported("nothing to repair")),
        check::Verdict::Failed { reason, .. } => Err(reason),
    }
}
