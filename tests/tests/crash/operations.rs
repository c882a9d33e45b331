//! The scenarios of each operation.

mod chains;
mod copying;
mod encrypted;
mod features;
mod inside;
mod luks;
mod nodes;
mod others;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use formats::create::OptionList;
use formats::{OpenContext, OpenFlags, Result};
use journal::Access;
use journal::sim::Frozen;
use store::ImageName;

use crate::scenario::{Foreign, Scenario, Watched, qcow2, raw};
use crate::subject::{DATA, DataFile, Shape, TOP};

/// How many scenarios each operation has, at least.
const EACH: usize = 104;
/// How many shapes there are to choose from.
const POOL: usize = 1200;

/// A shape and the tree in which it stands.
#[derive(Debug)]
struct Subject {
    shape: Shape,
    tree: Arc<Frozen>,
}

/// Every scenario of every operation; each deck has others of the same kinds.
pub fn deck(deck: usize) -> Vec<Scenario> {
    let built = Shape::range(deck * POOL..(deck + 1) * POOL).map(|shape| {
        let tree = shape.build().unwrap_or_else(|error| panic!("{}: {}", shape.name(), error.report()));
        Subject { shape, tree: Arc::new(tree) }
    });
    let subjects: Vec<Subject> = built.collect();
    let mut scenarios = Vec::new();
    for family in FAMILIES {
        let suited = subjects.iter().filter_map(|subject| family(subject).map(|made| (subject, made)));
        for (number, (subject, mut made)) in suited.take(EACH).enumerate() {
            let number = deck * EACH + number;
            made.name = format!("{}/{number:03}-{}", made.name, subject.shape.name());
            scenarios.push(made);
        }
    }
    scenarios
}

/// The deck that a scenario of that name is in.
pub fn deck_of(name: &str) -> usize {
    let number = name.split(['/', '-']).find_map(|part| part.parse::<usize>().ok());
    number.unwrap_or(0) / EACH
}

/// Makes an operation's scenario of a subject, if it is one for it.
type Family = fn(&Subject) -> Option<Scenario>;

const FAMILIES: &[Family] = &[
    copying::create_new,
    copying::create_over,
    copying::convert_new,
    copying::convert_over,
    copying::convert_raw,
    copying::convert_existing,
    copying::dd_existing,
    copying::convert_into_raw,
    copying::dd_into_raw,
    copying::write_guest,
    copying::several,
    copying::write_again,
    chains::move_base,
    chains::rebase_safe,
    chains::rebase_flat,
    chains::rebase_unsafe,
    chains::rebase_raw,
    chains::rebase_in_chain,
    chains::rebase_compressed,
    chains::commit,
    chains::commit_keep,
    features::resize_grow,
    features::resize_shrink,
    features::amend,
    features::amend_down,
    inside::snapshot_create,
    inside::snapshot_apply,
    inside::snapshot_delete,
    inside::bitmap_add,
    inside::bitmap_remove,
    inside::bitmap_clear,
    inside::bitmap_switch,
    inside::bitmap_merge,
    inside::bitmap_several,
    inside::check_repair,
    inside::check_leaks,
    others::write,
    others::convert_existing,
    others::resize,
    others::rebase,
    others::adopt,
    others::commit,
    others::commit_alike,
    others::repair,
    nodes::write,
    nodes::convert_existing,
    luks::write,
    luks::convert_existing,
    luks::resize,
    luks::slots,
    encrypted::write,
    encrypted::convert_existing,
    encrypted::resize,
    encrypted::snapshot,
    encrypted::rebase,
    encrypted::commit,
    encrypted::slots,
];

impl Subject {
    /// An operation on the image under test.
    fn scenario(
        &self,
        name: &str,
        images: Vec<Watched>,
        run: impl Fn(&OpenContext<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        let mut scenario = Scenario::new(name.to_owned(), self.tree.clone(), images, run);
        if self.shape.data != DataFile::None {
            scenario.foreign = Foreign::Anything;
        }
        scenario
    }

    /// The image under test, and its data file.
    fn images(&self) -> Vec<Watched> {
        let data = (self.shape.data != DataFile::None).then(|| raw(DATA));
        [qcow2(TOP)].into_iter().chain(data).collect()
    }
}

/// For writing.
const WRITE: OpenFlags = OpenFlags { access: Access::Write, ..OpenFlags::READ };

fn name(path: &str, format: &str) -> ImageName {
    ImageName::File { name: OsString::from(path), format: Some(format.to_owned()) }
}

fn list(options: &str) -> OptionList {
    let mut list = OptionList::default();
    if !options.is_empty() {
        list.add(OsStr::new(options)).unwrap();
    }
    list
}
