//! A second opinion on images: a qcow2 reader and checker that shares no code with the drivers.
//!
//! It is written from the format's specification, for simulated trees, and to be asked tens of
//! thousands of times a second about trees that hardly differ.
//!
//! ```text
//!   Judge ── has the same been judged before? ──► the same verdict
//!     │            footprint: every name and sector that a verdict rests on
//!     └─ image    opens a file and the files behind it
//!          ├─ header · snapshots · bitmaps   what the metadata says
//!          ├─ guest                          what a guest would read, as a digest
//!          └─ check                          reference counts, flags, overlaps
//!     └─ driven   formats for which their own driver is asked
//! ```

mod bitmaps;
mod bytes;
mod check;
mod driven;
mod footprint;
mod guest;
mod header;
mod image;
mod snapshots;

use std::path::{Path, PathBuf};

use journal::sim::Frozen;

pub use bitmaps::BitmapFacts;
use footprint::{Footprint, Reader};
pub use guest::Digest;
use guest::Hasher;
use image::{Format, Layer};
pub use snapshots::SnapshotFacts;

/// What is said of one file: nothing stands there, it cannot be understood and why, or what it is.
pub type Opinion = Option<Result<Verdict, String>>;

/// What an image is, as far as anybody can tell. Equal verdicts: equal for every user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Size of the virtual disk in bytes.
    pub size: u64,
    /// What the guest reads, through the whole chain.
    pub content: Digest,
    /// What else a qcow2 image has.
    pub qcow2: Option<Box<Qcow2Verdict>>,
}

/// What a qcow2 image has beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2Verdict {
    /// The header's fields that do not say where something is.
    pub header: header::HeaderFacts,
    /// The internal snapshots, with their content.
    pub snapshots: Vec<SnapshotFacts>,
    /// The persistent bitmaps, with their bits.
    pub bitmaps: Vec<BitmapFacts>,
    /// What is wrong with it: never anything, unless the scenario began so.
    pub faults: Vec<String>,
    /// Clusters that are counted more often than they are used.
    pub leaks: u64,
}

impl Verdict {
    /// In what another verdict differs, in words.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = |verdict: &'_ Self| match &verdict.qcow2 {
            Some(qcow2) => (Some(qcow2.header.clone()), qcow2.snapshots.clone(), qcow2.bitmaps.clone()),
            None => (None, Vec::new(), Vec::new()),
        };
        let (mine, others) = (parts(self), parts(other));
        let differences = [
            (self.size != other.size, "size"),
            (self.content != other.content, "content"),
            (mine.0 != others.0, "header"),
            (mine.1 != others.1, "list of snapshots"),
            (mine.2 != others.2, "list of bitmaps"),
        ];
        differences.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what).collect()
    }

    /// Why the image is not sound, if it is not.
    pub fn objection(&self) -> Option<String> {
        let qcow2 = self.qcow2.as_ref()?;
        match (qcow2.faults.first(), qcow2.leaks) {
            (Some(fault), _) => Some(fault.clone()),
            (None, 0) => None,
            (None, leaks) => Some(format!("{leaks} leaked clusters")),
        }
    }
}

/// Looks at one file of many trees.
#[derive(Debug)]
pub struct Judge {
    path: PathBuf,
    format: Asked,
    /// Verdicts, the one that was right last first.
    known: Vec<Known>,
    /// How often a file was read at all.
    pub readings: u64,
}

#[derive(Debug)]
struct Known {
    tree: Frozen,
    footprint: Footprint,
    opinion: Opinion,
}

/// Who says what an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The reader here.
    Reader(Format),
    /// The driver of a format.
    Driver(&'static str),
    /// The drivers that block options name.
    Options(&'static str),
    /// Nobody: it is there.
    Part,
    /// The driver of a format, with passphrases.
    Unlocked(&'static str, &'static [&'static str]),
}

/// As many verdicts are kept: the old one, the new one, and some that trees pass through.
const MEMORY: usize = 6;

impl Judge {
    /// A judge of the qcow2 image at `path`.
    pub fn of_qcow2(path: impl Into<PathBuf>) -> Self {
        Self::new(path.into(), Asked::Reader(Format::Qcow2))
    }

    /// A judge of the raw image at `path`.
    pub fn of_raw(path: impl Into<PathBuf>) -> Self {
        Self::new(path.into(), Asked::Reader(Format::Raw))
    }

    /// A judge of the image at `path` that asks the driver of its format.
    pub fn of_format(path: impl Into<PathBuf>, format: &'static str) -> Self {
        Self::new(path.into(), Asked::Driver(format))
    }

    /// A judge of the encrypted image at `path`, who tells which of these passphrases open it, and what is in it.
    pub fn of_encrypted(
        path: impl Into<PathBuf>,
        format: &'static str,
        passphrases: &'static [&'static str],
    ) -> Self {
        Self::new(path.into(), Asked::Unlocked(format, passphrases))
    }

    /// A judge of what block options name, which begins with the file at `path`.
    pub fn of_options(path: impl Into<PathBuf>, options: &'static str) -> Self {
        Self::new(path.into(), Asked::Options(options))
    }

    /// A judge of a part of an image, which is nothing by itself: it only is there or not.
    pub fn of_part(path: impl Into<PathBuf>) -> Self {
        Self::new(path.into(), Asked::Part)
    }

    fn new(path: PathBuf, format: Asked) -> Self {
        Self { path, format, known: Vec::new(), readings: 0 }
    }

    /// The file that is judged.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the image has a format that foreign programs find whole before any recovery.
    pub fn is_qcow2(&self) -> bool {
        self.format == Asked::Reader(Format::Qcow2)
    }

    /// What stands at the judge's path in this tree.
    pub fn judge(&mut self, tree: &Frozen) -> &Opinion {
        let known = self.known.iter().position(|known| known.footprint.holds(&known.tree, tree));
        match known {
            Some(place) => self.known[..=place].rotate_right(1),
            None => {
                let known = self.read(tree);
                self.known.truncate(MEMORY - 1);
                self.known.insert(0, known);
            }
        }
        &self.known[0].opinion
    }

    fn read(&mut self, tree: &Frozen) -> Known {
        self.readings += 1;
        let reader = Reader::new(tree);
        let opinion = reader.find(&self.path).map(|_| match self.format {
            Asked::Reader(format) => look(&reader, &self.path, format),
            Asked::Options(options) => driven::look_through(&reader, tree, options),
            Asked::Part => Ok(Verdict { size: 0, content: Hasher::default().finish(), qcow2: None }),
            Asked::Driver(format) => driven::look(&reader, tree, &self.path, format),
            Asked::Unlocked(format, passphrases) => {
                driven::unlock(&reader, tree, &self.path, format, passphrases)
            }
        });
        Known { tree: tree.clone(), footprint: reader.into_footprint(), opinion }
    }
}

fn look(reader: &Reader<'_>, path: &Path, format: Format) -> Result<Verdict, String> {
    let layer = Layer::open(reader, path, Some(format))?;
    let size = layer.size();
    let content = layer.digest()?;
    let qcow2 = match &layer {
        Layer::Raw(_) => None,
        Layer::Qcow2(image) => {
            let snapshots = snapshots::read(image)?;
            let bitmaps = bitmaps::read(image)?;
            let findings = check::check(image, &snapshots, &bitmaps)?;
            Some(Box::new(Qcow2Verdict {
                header: image.header.facts.clone(),
                snapshots: snapshots.into_iter().map(|snapshot| snapshot.facts).collect(),
                bitmaps: bitmaps.list.into_iter().map(|bitmap| bitmap.facts).collect(),
                faults: findings.faults,
                leaks: findings.leaks,
            }))
        }
    };
    Ok(Verdict { size, content, qcow2 })
}
