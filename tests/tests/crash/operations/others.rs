//! Images of formats that are changed in place.
//!
//! A program that knows nothing of recovery may find anything in them, as after any interrupted command.

use std::ffi::OsString;
use std::sync::Arc;

use formats::create::Preallocation;
use formats::{Durability, Format, OpenContext, OpenFlags, Result};
use journal::{SimFs, Zeroing};
use store::NoProgress;
use store::ops::commit::{Afterwards, Commit};
use store::ops::convert::{self, Transfer};
use store::ops::rebase::{Content, Rebase};
use store::ops::resize::Change;

use super::copying::conversion;
use super::{Subject, WRITE, name};
use crate::scenario::{Foreign, Scenario, Watched, other, raw};
use crate::subject::{BASE, SOURCE, TOP, new_image, pattern, put, writer, zero};

/// An image, in place of the subject's.
#[derive(Debug, Clone, Copy)]
struct Other {
    format: &'static str,
    options: &'static str,
    size: u64,
    seed: u64,
}

/// Formats whose images are changed in place, and some of their options.
const FORMATS: &[(&str, &str, u64)] = &[
    ("vdi", "", 4 << 20),
    ("vpc", "", 5 << 20),
    ("parallels", "cluster_size=4k", 300 << 10),
    ("parallels", "cluster_size=64k", 1 << 20),
    ("qed", "cluster_size=4k,table_size=2", 300 << 10),
    ("qed", "cluster_size=64k", 1 << 20),
    ("vdi", "static=on", 2 << 20),
    ("qcow", "", 600 << 10),
    ("vmdk", "", 2 << 20),
    ("vhdx", "block_size=1M", 2 << 20),
    ("vmdk", "subformat=monolithicFlat", 1 << 20),
];

/// Those that are resized in place.
const RESIZABLE: &[(&str, &str, u64)] = &[
    ("qed", "cluster_size=4k,table_size=2", 300 << 10),
    ("qed", "cluster_size=16k", 500 << 10),
    ("vdi", "", 2 << 20),
    ("vdi", "static=on", 1 << 20),
    ("vpc", "force_size=on", 3 << 20),
    ("vpc", "force_size=on,subformat=fixed", 1 << 20),
    ("vhdx", "block_size=1M", 2 << 20),
    ("vhdx", "block_size=1M,subformat=fixed,block_state_zero=off", 1 << 20),
    ("parallels", "cluster_size=4k", 300 << 10),
    ("parallels", "cluster_size=64k", 1 << 20),
    ("vmdk", "", 2 << 20),
    ("vmdk", "subformat=monolithicFlat", 1 << 20),
];

/// How much larger they get: into the last block, and beyond it.
const LARGER: [u64; 3] = [1024, 100 << 10, 1 << 20];
/// Tables have no room for as much.
const MUCH_LARGER: u64 = 200 << 20;
/// The same of tables with small clusters.
const LARGER_BY_CLUSTERS: u64 = 20 << 20;

/// Those that change their backing file.
const REBASED: &[(&str, &str, u64)] =
    &[("qed", "cluster_size=4k,table_size=2", 300 << 10), ("qed", "cluster_size=16k", 500 << 10)];

/// Those that stand on others.
const OVERLAYS: &[(&str, &str, u64)] = &[
    ("qed", "cluster_size=4k,table_size=2", 300 << 10),
    ("qcow", "", 300 << 10),
    ("qed", "cluster_size=16k", 500 << 10),
];

impl Other {
    fn of(subject: &Subject, formats: &[(&'static str, &'static str, u64)]) -> Self {
        let seed = subject.shape.seed;
        let (format, options, size) = formats[(seed / 7919) as usize % formats.len()];
        Self { format, options, size: size + seed % 5 * 1024, seed }
    }

    /// What it takes to make the image over another one, or over none.
    fn options(&self, behind: &str) -> String {
        let comma = if self.options.is_empty() { "" } else { "," };
        format!("size={}{comma}{}{behind}", self.size, self.options)
    }

    /// The files that it is in.
    fn watched(&self) -> Vec<Watched> {
        let extent = self.options.ends_with("Flat").then(|| raw("/top-flat"));
        [other(TOP, self.format)].into_iter().chain(extent).collect()
    }

    /// By how much it grows.
    fn growth(&self) -> u64 {
        let has = |words: &[&str]| words.iter().any(|word| self.options.contains(word));
        let most = match () {
            () if has(&["static", "fixed", "Flat"]) => None,
            () if has(&["=4k"]) => Some(LARGER_BY_CLUSTERS),
            () => Some(MUCH_LARGER),
        };
        let by: Vec<u64> = LARGER.into_iter().chain(most).collect();
        by[(self.seed / 31) as usize % by.len()]
    }

    fn format(&self) -> Format {
        Format::from_name(self.format).unwrap()
    }

    /// A tree with the image, and what it stands on.
    fn scenario(
        self,
        operation: &str,
        behind: &str,
        images: Vec<Watched>,
        run: impl Fn(&OpenContext<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        let fs = SimFs::new();
        fs.add_file(SOURCE, &pattern(self.seed + 5, self.size / 2 / 512 * 512));
        fs.add_file(BASE, &pattern(self.seed + 1, self.size / 512 * 512));
        fs.add_directory("/far");
        let size = self.size;
        let made = new_image(&fs, TOP, self.format(), &self.options(behind), |image| {
            put(image, self.seed % 11 * 700, self.seed, 70_000)?;
            put(image, size / 2, self.seed + 1, 5000)
        });
        made.unwrap_or_else(|error| panic!("{}: {}", self.format, error.report()));
        fs.settle();
        let mut scenario = Scenario::new(operation.to_owned(), Arc::new(fs.freeze()), images, run);
        scenario.foreign = Foreign::Anything;
        scenario
    }
}

/// Writes of every kind.
pub fn write(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, FORMATS);
    let Other { format, size, seed, .. } = image;
    Some(image.scenario("other-write", "", image.watched(), move |context| {
        let image = name(TOP, format).open(context, WRITE)?;
        put(&image, 10, seed + 100, 100)?;
        put(&image, size / 3, seed + 101, 30_000)?;
        zero(&image, size / 2 - 700, 9000, Zeroing::Unmap)?;
        zero(&image, size / 4, 4096, Zeroing::Keep)?;
        put(&image, size - 600, seed + 102, 600)?;
        writer(&image)?.commit(Durability::Durable)
    }))
}

pub fn convert_existing(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, FORMATS);
    let format = image.format;
    Some(image.scenario("other-convert-n", "", image.watched(), move |context| {
        let target = convert::Target::Existing {
            name: name(TOP, format),
            flags: WRITE,
            content: convert::Content::Unknown,
        };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}

pub fn resize(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, RESIZABLE);
    let (format, more) = (image.format, image.growth());
    // An extent may be longer than the disk: nothing looks at the rest.
    Some(image.scenario("other-resize", "", vec![other(TOP, format)], move |context| {
        let image = name(TOP, format).open(context, WRITE)?;
        Change::By(more).plan(&image, Preallocation::Off)?.run(&image)
    }))
}

pub fn rebase(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, REBASED);
    let onto = image.seed.is_multiple_of(2).then(|| OsString::from("source"));
    let rebase = Rebase {
        image: name(TOP, image.format),
        flags: WRITE,
        format: onto.as_ref().map(|_| "raw".to_owned()),
        onto,
        content: Content::Kept(OpenFlags::READ),
        transfer: store::ops::rebase::Transfer::Plain,
        parallel: 1,
    };
    let behind = ",backing_file=base,backing_fmt=raw";
    Some(image.scenario("other-rebase", behind, vec![other(TOP, image.format)], move |context| {
        rebase.run(context, &NoProgress)
    }))
}

pub fn commit(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, OVERLAYS);
    let format = image.format;
    let behind = ",backing_file=base,backing_fmt=raw";
    Some(image.scenario("other-commit", behind, vec![other(TOP, format), raw(BASE)], move |context| {
        let commit = Commit {
            image: name(TOP, format),
            flags: WRITE,
            base: None,
            afterwards: Afterwards::Emptied,
            parallel: 1,
            rate: None,
        };
        commit.open(context)?.find_base(context)?.run(context, &NoProgress)
    }))
}
