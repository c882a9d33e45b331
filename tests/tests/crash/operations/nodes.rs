//! Images that are written through other nodes: a part of a file, an image in an image, a quorum, a filter.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use formats::engine::{self, Write};
use formats::{Durability, Format, OpenContext, Result};
use journal::sim::Frozen;
use journal::{Fs, SimFs, Zeroing};
use store::ops::convert::{self, Transfer};
use store::{ImageName, NoProgress};

use super::copying::conversion;
use super::{Subject, WRITE};
use crate::scenario::{Foreign, Scenario, Watched, other, qcow2};
use crate::subject::{SIDE, SOURCE, TOP, new_image, pattern, put, writer, zero};

/// Bytes of a disk.
const SIZE: u64 = 48 << 10;

/// A way to an image.
#[derive(Debug)]
struct Way {
    /// The nodes.
    options: &'static str,
    /// Makes the files.
    build: fn(&SimFs, &str, u64) -> Result<()>,
    /// Files that are qcow2 images by themselves.
    images: &'static [&'static str],
    /// Whether only the way leads to something: the file itself is nothing.
    is_hidden: bool,
}

const WAYS: [Way; 4] = [
    Way {
        options: "driver=qcow2,file.driver=raw,file.offset=4096,file.size=196608,file.file.filename=/top",
        build: in_a_part,
        images: &[],
        is_hidden: true,
    },
    Way {
        options: "driver=qcow2,file.driver=qcow2,file.file.filename=/top",
        build: in_an_image,
        images: &[TOP],
        is_hidden: false,
    },
    Way {
        options: "driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=/top,\
                  children.1.driver=qcow2,children.1.file.filename=/far/side",
        build: twice,
        images: &[TOP, SIDE],
        is_hidden: false,
    },
    Way {
        options: "driver=compress,file.driver=qcow2,file.file.filename=/top",
        build: once,
        images: &[TOP],
        is_hidden: false,
    },
];

fn fill(fs: &SimFs, path: &str, options: &str, seed: u64) -> Result<()> {
    new_image(fs, path, Format::Qcow2, &format!("size={SIZE},{options}"), |image| {
        put(image, seed % 7 * 512, seed, 9000)?;
        put(image, SIZE / 2, seed + 1, 3000)
    })
}

fn once(fs: &SimFs, options: &str, seed: u64) -> Result<()> {
    fill(fs, TOP, options, seed)
}

fn twice(fs: &SimFs, options: &str, seed: u64) -> Result<()> {
    fill(fs, TOP, options, seed)?;
    fill(fs, SIDE, "cluster_size=1k", seed)
}

/// The image's file, put between other bytes.
fn in_a_part(fs: &SimFs, options: &str, seed: u64) -> Result<()> {
    fill(fs, TOP, options, seed)?;
    let mut inside = fs.bytes(TOP).unwrap_or_default();
    inside.resize(192 << 10, 0);
    fs.add_file(TOP, &[pattern(7, 4096), inside, pattern(8, 5000)].concat());
    Ok(())
}

/// The image's file as the disk of another image.
fn in_an_image(fs: &SimFs, options: &str, seed: u64) -> Result<()> {
    const INSIDE: &str = "/inside";
    fill(fs, INSIDE, options, seed)?;
    let inside = fs.bytes(INSIDE).unwrap_or_default();
    fs.remove(Path::new(INSIDE))?;
    let size = inside.len().next_multiple_of(512);
    new_image(fs, TOP, Format::Qcow2, &format!("size={size},cluster_size=1k"), |image| {
        engine::write(image, 0, Write::Data(&inside))
    })
}

impl Way {
    fn name(&self) -> ImageName {
        ImageName::Options(OsString::from(self.options))
    }

    fn tree(&self, cluster: u64, seed: u64) -> Frozen {
        let fs = SimFs::new();
        fs.add_directory("/far");
        fs.add_file(SOURCE, &pattern(5, SIZE));
        let made = (self.build)(&fs, &format!("cluster_size={cluster}"), seed);
        made.unwrap_or_else(|error| panic!("{}: {}", self.options, error.report()));
        fs.settle();
        fs.freeze()
    }

    /// The files, and what is at the end of the way.
    fn watched(&self) -> Vec<Watched> {
        self.images.iter().map(|path| qcow2(path)).chain([other(TOP, self.options)]).collect()
    }
}

fn scenario(
    subject: &Subject,
    operation: &str,
    run: impl Fn(&OpenContext<'_>, &Way, u64) -> Result<()> + Send + Sync + 'static,
) -> Scenario {
    let seed = subject.shape.seed;
    let way = &WAYS[(seed / 7919) as usize % WAYS.len()];
    let tree = Arc::new(way.tree(512 << (seed / 31_676 % 3), seed));
    let run = move |context: &OpenContext<'_>| run(context, way, seed);
    let mut scenario = Scenario::new(operation.to_owned(), tree, way.watched(), run);
    if way.is_hidden {
        scenario.foreign = Foreign::Anything;
    }
    scenario
}

/// Writes of every kind.
pub fn write(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "nodes-write", |context, way, seed| {
        let image = way.name().open(context, WRITE)?;
        put(&image, seed % 3000, seed + 100, 100)?;
        put(&image, SIZE / 3, seed + 101, 9000)?;
        zero(&image, SIZE / 4, 2048, Zeroing::Keep)?;
        put(&image, SIZE - 600, seed + 102, 600)?;
        writer(&image)?.commit(Durability::Durable)
    }))
}

pub fn convert_existing(subject: &Subject) -> Option<Scenario> {
    Some(scenario(subject, "nodes-convert-n", |context, way, seed| {
        let image = way.name().open(context, WRITE)?;
        put(&image, seed % 30_000, seed, 800)?;
        writer(&image)?.commit(Durability::Durable)?;
        drop(image);
        let content = convert::Content::Unknown;
        let target = convert::Target::Existing { name: way.name(), flags: WRITE, content };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}
