//! What stands behind an image: `rebase` and `commit`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use formats::OpenFlags;
use store::NoProgress;
use store::catalog::{Dependent, Role};
use store::ops::commit::{Afterwards, Commit};
use store::ops::mv::Move;
use store::ops::rebase::{Content, Rebase, Transfer};

use super::{Subject, WRITE, name};
use crate::scenario::{Foreign, Scenario, qcow2, raw};
use crate::subject::{BASE, Chain, DataFile, ROOT, TOP};

const SIDE: Option<(&str, &str)> = Some(("far/side", "qcow2"));

pub fn rebase_safe(subject: &Subject) -> Option<Scenario> {
    rebase(subject, "rebase", SIDE, How::Safely)
}

pub fn rebase_flat(subject: &Subject) -> Option<Scenario> {
    rebase(subject, "rebase-flat", None, How::Safely)
}

pub fn rebase_raw(subject: &Subject) -> Option<Scenario> {
    rebase(subject, "rebase-raw", Some(("source", "raw")), How::Safely)
}

pub fn rebase_in_chain(subject: &Subject) -> Option<Scenario> {
    let deep = subject.shape.chain == Chain::Two;
    deep.then(|| rebase(subject, "rebase-chain", Some(("root", "qcow2")), How::Safely))?
}

pub fn rebase_compressed(subject: &Subject) -> Option<Scenario> {
    // Compressed clusters share one, which is counted for each.
    let counted = subject.shape.refcount_bits >= 8;
    counted.then(|| rebase(subject, "rebase-c", SIDE, How::Compressed))?
}

pub fn rebase_unsafe(subject: &Subject) -> Option<Scenario> {
    rebase(subject, "rebase-u", SIDE, How::Unsafely)
}

/// How an image is put onto another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Safely,
    Compressed,
    Unsafely,
}

fn rebase(
    subject: &Subject,
    operation: &str,
    onto: Option<(&'static str, &'static str)>,
    how: How,
) -> Option<Scenario> {
    let shape = &subject.shape;
    let suits = shape.chain != Chain::None && shape.data == DataFile::None;
    let rebase = Rebase {
        image: name(TOP, "qcow2"),
        flags: WRITE,
        onto: onto.map(|(path, _)| OsString::from(path)),
        format: onto.map(|(_, format)| format.to_owned()),
        content: if how == How::Unsafely { Content::Trusted } else { Content::Kept(OpenFlags::READ) },
        transfer: if how == How::Compressed { Transfer::Compressed } else { Transfer::Plain },
        parallel: 1,
    };
    suits.then(|| {
        subject.scenario(operation, subject.images(), move |context| rebase.run(context, &NoProgress))
    })
}

pub fn commit(subject: &Subject) -> Option<Scenario> {
    commit_scenario(subject, "commit", Afterwards::Emptied)
}

pub fn commit_keep(subject: &Subject) -> Option<Scenario> {
    commit_scenario(subject, "commit-d", Afterwards::Kept)
}

fn commit_scenario(subject: &Subject, operation: &str, afterwards: Afterwards) -> Option<Scenario> {
    let shape = &subject.shape;
    let has_content = shape.content != crate::subject::Content::Empty;
    if shape.chain == Chain::None || shape.data != DataFile::None || !has_content {
        return None;
    }
    // An image that was merged past its backing image stays as it is.
    let deep = shape.chain == Chain::Two && afterwards == Afterwards::Kept;
    let mut images = vec![qcow2(TOP)];
    images.push(if shape.chain == Chain::Raw { raw(BASE) } else { qcow2(BASE) });
    images.extend(deep.then(|| qcow2(ROOT)));
    let mut scenario = subject.scenario(operation, images, move |context| {
        let commit = Commit {
            image: name(TOP, "qcow2"),
            flags: WRITE,
            base: deep.then(|| OsString::from("root")),
            afterwards,
            parallel: 1,
            rate: None,
        };
        commit.open(context)?.find_base(context)?.run(context, &NoProgress)
    });
    if shape.chain == Chain::Raw {
        scenario.foreign = Foreign::Anything;
    }
    Some(scenario)
}

/// A backing image goes to another directory, and the image that names it follows.
pub fn move_base(subject: &Subject) -> Option<Scenario> {
    const MOVED: &str = "/far/moved";
    let watch = if subject.shape.chain == Chain::Raw { raw } else { qcow2 };
    let images = subject.images().into_iter().chain([watch(BASE), watch(MOVED)]).collect();
    let suited = subject.shape.chain != Chain::None && subject.shape.data == DataFile::None;
    suited.then(|| {
        let mut scenario = subject.scenario("mv", images, |context| {
            let top = name(TOP, "qcow2").open(context, OpenFlags { backing: false, ..OpenFlags::READ })?;
            let reference = top.driver().backing().map(|backing| backing.name.clone()).unwrap_or_default();
            drop(top);
            let dependent = Dependent {
                path: TOP.into(),
                role: Role::Backing,
                base: BASE.into(),
                name: OsString::from_vec(reference),
                via: BASE.into(),
                format: "qcow2".to_owned(),
            };
            let (from, to) = (Path::new(BASE), Path::new(MOVED));
            Move { from, to, dependents: &[dependent] }.run(context).map(drop)
        });
        // The name and what says it are in different places: for a moment one is without the other.
        scenario.foreign = Foreign::Anything;
        scenario
    })
}
