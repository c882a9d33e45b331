//! Images of formats that are changed in place.
//!
//! A program that knows nothing of recovery may find anything in them, as after any interrupted command.

use std::ffi::OsString;
use std::sync::Arc;

use formats::create::Preallocation;
use formats::{Durability, Format, Image, OpenContext, OpenFlags, Repair, Result};
use journal::sim::Frozen;
use journal::{SimFs, Zeroing};
use store::NoProgress;
use store::ops::commit::{Afterwards, Commit};
use store::ops::convert::{self, Transfer};
use store::ops::rebase::{Content, Rebase};
use store::ops::resize::Change;

use super::copying::conversion;
use super::inside::repair as repair_image;
use super::{Subject, WRITE, name};
use crate::damage;
use crate::scenario::{EXTENT, Foreign, Scenario, Watched, other, raw};
use crate::subject::{BASE, SOURCE, TOP, new_image, new_overlay, pattern, put, writer, zero};

/// An image, in place of the subject's.
#[derive(Debug, Clone, Copy)]
struct Other {
    format: &'static str,
    options: &'static str,
    size: u64,
    seed: u64,
    behind: Behind,
    damage: Option<Damage>,
}

/// What an image stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    Raw,
    /// An image of the same format.
    Alike,
}

/// What is done to an image's bytes.
type Damage = fn(&mut Vec<u8>);

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
    ("vmdk", "subformat=twoGbMaxExtentSparse", 2 << 20),
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

/// Those that stand on images of their own format.
const ALIKE: &[(&str, &str, u64)] = &[
    ("vmdk", "", 2 << 20),
    ("vhdx", "block_size=1M", 2 << 20),
    ("vpc", "force_size=on", 3 << 20),
    ("qcow", "", 300 << 10),
    ("qed", "cluster_size=4k,table_size=2", 300 << 10),
];

/// Those that are given another parent of their own format.
const ADOPTED: &[(&str, &str, u64)] = &[
    ("vhdx", "block_size=1M", 2 << 20),
    ("vpc", "force_size=on", 3 << 20),
    ("qed", "cluster_size=4k", 300 << 10),
];

/// As many bytes are in those that stand behind, at most.
const OF_BASE: u64 = 160 << 10;

/// Damaged images.
const DAMAGED: &[(&str, &str, u64, Damage)] = &[
    ("qed", "cluster_size=4k,table_size=2", 300 << 10, |image| damage::qed_entry(image)),
    ("qed", "cluster_size=16k", 500 << 10, damage::qed_table),
    ("qed", "cluster_size=64k", 1 << 20, |image| damage::qed_entry(image)),
    ("parallels", "cluster_size=4k", 300 << 10, |image| damage::parallels_entries(image)),
    ("parallels", "cluster_size=64k", 1 << 20, |image| damage::parallels_entries(image)),
    ("parallels", "cluster_size=16k", 500 << 10, damage::parallels_end),
];

impl Other {
    fn of(subject: &Subject, formats: &[(&'static str, &'static str, u64)]) -> Self {
        let seed = subject.shape.seed;
        let (format, options, size) = formats[(seed / 7919) as usize % formats.len()];
        let (behind, damage) = (Behind::Nothing, None);
        Self { format, options, size: size + seed % 5 * 1024, seed, behind, damage }
    }

    fn on(self, behind: Behind) -> Self {
        Self { behind, ..self }
    }

    /// What it takes to make the image, but for what it stands on if that is alike.
    fn options(&self) -> String {
        let comma = if self.options.is_empty() { "" } else { "," };
        let behind = if self.behind == Behind::Raw { ",backing_file=base,backing_fmt=raw" } else { "" };
        format!("size={}{comma}{}{behind}", self.size, self.options)
    }

    /// The files that it is in.
    fn watched(&self) -> Vec<Watched> {
        let extent = match () {
            () if self.options.ends_with("Flat") => Some(raw("/top-flat")),
            () if self.options.ends_with("ExtentSparse") => Some(other("/top-s001", EXTENT)),
            () => None,
        };
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

    /// The image, and what it stands on.
    fn with_base(&self) -> Vec<Watched> {
        let base = if self.behind == Behind::Alike { other(BASE, self.format) } else { raw(BASE) };
        vec![other(TOP, self.format), base]
    }

    /// A tree with the image, and what it stands on.
    fn tree(&self) -> Result<Frozen> {
        let (fs, size) = (SimFs::new(), self.size);
        let fill = |image: &Image| {
            put(image, self.seed % 11 * 700, self.seed, 70_000)?;
            put(image, size / 2, self.seed + 1, 5000)
        };
        let (format, options) = (self.format(), self.options());
        if self.behind == Behind::Alike {
            for (path, seed) in [(BASE, self.seed + 1), (SOURCE, self.seed + 5)] {
                new_image(&fs, path, format, &options, |image| {
                    put(image, size / 4, seed, OF_BASE.min(size / 2))
                })?;
            }
            new_overlay(&fs, TOP, format, &options, fill)?;
        } else {
            fs.add_file(SOURCE, &pattern(self.seed + 5, size / 2 / 512 * 512));
            fs.add_file(BASE, &pattern(self.seed + 1, size / 512 * 512));
            new_image(&fs, TOP, format, &options, fill)?;
        }
        if let (Some(damage), Some(mut bytes)) = (self.damage, fs.bytes(TOP)) {
            damage(&mut bytes);
            fs.add_file(TOP, &bytes);
        }
        fs.add_directory("/far");
        fs.settle();
        Ok(fs.freeze())
    }

    /// An operation on that tree.
    fn scenario(
        self,
        operation: &str,
        images: Vec<Watched>,
        run: impl Fn(&OpenContext<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        let tree = self.tree().unwrap_or_else(|error| panic!("{}: {}", self.format, error.report()));
        let mut scenario = Scenario::new(operation.to_owned(), Arc::new(tree), images, run);
        scenario.foreign = Foreign::Anything;
        scenario
    }
}

/// Writes of every kind.
pub fn write(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, FORMATS);
    let Other { format, size, seed, .. } = image;
    Some(image.scenario("other-write", image.watched(), move |context| {
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
    Some(image.scenario("other-convert-n", image.watched(), move |context| {
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
    Some(image.scenario("other-resize", vec![other(TOP, format)], move |context| {
        let image = name(TOP, format).open(context, WRITE)?;
        Change::By(more).plan(&image, Preallocation::Off)?.run(&image)
    }))
}

pub fn rebase(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, REBASED).on(Behind::Raw);
    let onto = image.seed.is_multiple_of(2).then_some("raw");
    Some(rebase_scenario("other-rebase", image, onto))
}

/// Another parent of the same format.
pub fn adopt(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, ADOPTED).on(Behind::Alike);
    Some(rebase_scenario("other-adopt", image, Some(image.format)))
}

fn rebase_scenario(operation: &str, image: Other, onto: Option<&str>) -> Scenario {
    let rebase = Rebase {
        image: name(TOP, image.format),
        flags: WRITE,
        format: onto.map(str::to_owned),
        onto: onto.map(|_| OsString::from("source")),
        content: Content::Kept(OpenFlags::READ),
        transfer: store::ops::rebase::Transfer::Plain,
        parallel: 1,
    };
    let images = vec![other(TOP, image.format)];
    image.scenario(operation, images, move |context| rebase.run(context, &NoProgress))
}

pub fn commit(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, OVERLAYS).on(Behind::Raw);
    Some(commit_scenario("other-commit", image))
}

/// Into an image of the same format.
pub fn commit_alike(subject: &Subject) -> Option<Scenario> {
    let image = Other::of(subject, ALIKE).on(Behind::Alike);
    Some(commit_scenario("other-commit-alike", image))
}

fn commit_scenario(operation: &str, image: Other) -> Scenario {
    let format = image.format;
    image.scenario(operation, image.with_base(), move |context| {
        let commit = Commit {
            image: name(TOP, format),
            flags: WRITE,
            base: None,
            afterwards: Afterwards::Emptied,
            parallel: 1,
            rate: None,
        };
        commit.open(context)?.find_base(context)?.run(context, &NoProgress)
    })
}

pub fn repair(subject: &Subject) -> Option<Scenario> {
    let (format, options, size, damage) = DAMAGED[(subject.shape.seed / 7919) as usize % DAMAGED.len()];
    let image = Other { damage: Some(damage), ..Other::of(subject, &[(format, options, size)]) };
    Some(image.scenario("other-check-r", vec![other(TOP, format)], move |context| {
        repair_image(context, name(TOP, format), Repair::All)
    }))
}
