//! Takes an image through everything that reads images, in this process and in memory.
//!
//! Hostile and fuzzed images go through here: whatever the bytes are, each step must end soon in
//! an answer or an error.

use std::ffi::OsStr;
use std::ops::Range;

use formats::engine::{self, Reader};
use formats::inspect::{self, Policy, Question};
use formats::secrets::{Secret, Secrets};
use formats::{
    Bitmaps, CacheMode, Driver, Error, Finding, Format, GuestOffset, Image, OpenContext, OpenFlags,
    PermissiveGate, Repair, Result,
};
use journal::{Access, SimFs};

use crate::encrypted;

/// Name of the image under test in its simulated tree.
pub const IMAGE: &str = "/a.qcow2";

/// Runs of the map that are looked at, from either end of an image.
const RUNS: usize = 256;

/// Bytes that are read in one go, and in all.
const READ_AT_ONCE: u64 = 64 << 10;
const READ_IN_ALL: u64 = 2 << 20;

/// Snapshots and bitmaps that are looked at.
const PARTS: usize = 4;

/// For `info`: metadata only, of this image only.
pub const METADATA: OpenFlags = OpenFlags { data: false, backing: false, ..OpenFlags::READ };

/// For `check`.
pub const CHECK: OpenFlags = OpenFlags { check: true, backing: false, ..OpenFlags::READ };

/// What came of the steps; each may be an error.
#[derive(Debug)]
pub struct Answers {
    /// Opening for data, with everything that is read then.
    pub reading: Result<()>,
    /// Opening for metadata only.
    pub describing: Result<()>,
    /// Looking at it as a stranger's.
    pub inspecting: Result<()>,
    /// Opening for a check, with the check.
    pub checking: Result<()>,
    /// Opening for a repair, with the repair.
    pub repairing: Result<()>,
}

/// A tree that holds an image, and files that it may name.
pub fn tree(image: &[u8], others: &[(&str, &[u8])]) -> SimFs {
    let fs = SimFs::new();
    fs.add_file(IMAGE, image);
    for (name, bytes) in others {
        fs.add_file(format!("/{name}"), bytes);
    }
    fs
}

/// How an image is opened: as one of a format, perhaps with the passphrase that all encrypted images here have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening<'a> {
    /// It is not encrypted.
    AsItIs(&'a str),
    /// It is encrypted.
    WithSecret(&'a str),
}

impl Opening<'_> {
    /// The format.
    pub fn format(&self) -> &str {
        let (Self::AsItIs(format) | Self::WithSecret(format)) = self;
        format
    }

    /// Opens the image of a tree.
    pub fn open(&self, fs: &SimFs, flags: OpenFlags) -> Result<Image> {
        match self {
            Self::AsItIs(format) => open_as(fs, format, flags),
            Self::WithSecret(format) => {
                let secrets = Secrets::default();
                secrets.keep(b"s", Secret::new(b"pass".to_vec()));
                let context = OpenContext { fs, gate: &PermissiveGate, secrets: Some(&secrets) };
                let options = encrypted::options(format, IMAGE, "s");
                formats::open_image_opts(&context, OsStr::new(&options), flags)
            }
        }
    }
}

/// Takes the image of a tree through all steps.
pub fn everything(fs: &SimFs, opening: Opening<'_>) -> Answers {
    let open = |flags| opening.open(fs, flags);
    Answers {
        reading: open(OpenFlags::READ).and_then(|image| read(&image)),
        describing: open(METADATA).and_then(|image| describe(&image)),
        inspecting: inspect_as(fs, opening.format()),
        checking: open(CHECK).and_then(|image| check(&image)),
        repairing: open(OpenFlags { access: Access::Write, ..CHECK }).and_then(|image| repair(&image)),
    }
}

/// Opens the image of a tree as qcow2.
pub fn open(fs: &SimFs, flags: OpenFlags) -> Result<Image> {
    open_as(fs, "qcow2", flags)
}

/// Opens the image of a tree as one of a format.
pub fn open_as(fs: &SimFs, format: &str, flags: OpenFlags) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    formats::open_filename(&context, OsStr::new(IMAGE), Some(format), flags)
}

/// What `inspect --untrusted` asks for.
pub fn inspect_as(fs: &SimFs, format: &str) -> Result<()> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    let format = Format::from_name(format);
    let question = Question { format, policy: Policy::Stranger, max_size: None, flags: OpenFlags::READ };
    inspect::inspect(&context, OsStr::new(IMAGE), &question).map(|_| ())
}

/// The map, the data, the snapshots and the bitmaps.
pub fn read(image: &Image) -> Result<()> {
    describe(image)?;
    let runs = walk(image);
    let data = read_runs(image, runs?);
    let parts = [snapshots(image), bitmaps(image)];
    data.and(parts.into_iter().collect())
}

/// What `info` asks for.
pub fn describe(image: &Image) -> Result<()> {
    image.driver().details()?;
    image.driver().files();
    image.driver().backing();
    Ok(())
}

/// What `check` asks for.
pub fn check(image: &Image) -> Result<()> {
    let mut told = 0_u64;
    image.driver().check(&mut |finding: Finding| {
        let (Finding::Line(text) | Finding::Complaint(text)) = finding;
        told += text.len() as u64;
    })?;
    Ok(())
}

/// What `check -r` asks for.
///
/// What a repair calls repaired, it has repaired: leaks do not come back. (It may leave leaks that it
/// tells, as those of QED, which nothing repairs.)
pub fn repair(image: &Image) -> Result<()> {
    let Some(repairer) = image.driver().repairer() else { return Ok(()) };
    let repaired = repairer.repair(Repair::All, &mut |_| ());
    let again = repaired.image?.check(&mut |_| ())?;
    let (report, left) = (repaired.report, again);
    assert!(
        report.corruptions > 0 || left.corruptions == 0 && left.leaks <= report.leaks,
        "said to be sound, but has {} errors and {} leaks",
        left.corruptions,
        left.leaks
    );
    Ok(())
}

/// The map from the start and, for large images, from near the end.
fn walk(image: &Image) -> Result<Vec<Range<u64>>> {
    let size = image.virtual_size();
    let mut runs = Vec::new();
    for start in [0, size / 2, size.saturating_sub(1 << 20)] {
        let mut at = start;
        for _ in 0..RUNS {
            if at >= size {
                break;
            }
            let status = engine::status(image, at, size - at)?;
            assert!(status.len > 0 && status.len <= size - at, "a run of {} at {at} of {size}", status.len);
            if !status.zero {
                runs.push(at..at + status.len);
            }
            at += status.len;
        }
    }
    Ok(runs)
}

fn read_runs(image: &Image, runs: Vec<Range<u64>>) -> Result<()> {
    let mut reader = Reader::new(image);
    let mut buffer = vec![0; READ_AT_ONCE as usize];
    let mut left = READ_IN_ALL;
    let mut outcome = Ok(());
    for run in runs {
        let len = (run.end - run.start).min(READ_AT_ONCE).min(left);
        left -= len;
        // One bad cluster must not keep the others from being read.
        outcome = outcome.and(reader.read(run.start, &mut buffer[..len as usize]));
    }
    outcome
}

/// What `snapshot -l` and `convert -l` ask for.
pub fn snapshots(image: &Image) -> Result<()> {
    let Some(snapshots) = image.driver().snapshots() else { return Ok(()) };
    let mut outcome = Ok(());
    for index in 0..snapshots.list().len().min(PARTS) {
        outcome = outcome.and(snapshots.view(index).and_then(|view| view_map(&*view)));
    }
    outcome
}

fn view_map(view: &dyn Driver) -> Result<()> {
    let size = view.virtual_size();
    let mut at = 0;
    for _ in 0..RUNS {
        if at >= size {
            break;
        }
        let mapping = view.map(GuestOffset(at), size - at)?;
        assert!(mapping.len > 0 && mapping.len <= size - at, "a run of {} at {at} of {size}", mapping.len);
        at += mapping.len;
    }
    Ok(())
}

/// What `convert --bitmaps` asks for.
pub fn bitmaps(image: &Image) -> Result<()> {
    let Some(bitmaps) = image.driver().bitmaps() else { return Ok(()) };
    let mut outcome = Ok(());
    for index in 0..bitmaps.list().len().min(PARTS) {
        outcome = outcome.and(bitmap(image, bitmaps, index));
    }
    outcome
}

/// The dirty runs of a bitmap: ascending, apart from one another, inside the image.
fn bitmap(image: &Image, bitmaps: &dyn Bitmaps, index: usize) -> Result<()> {
    let mut end = None;
    let mut left = RUNS;
    bitmaps.visit(index, &mut |run| {
        assert!(end.is_none_or(|end| run.start > end), "runs touch at {run:?}");
        assert!(run.start < run.end && run.end <= image.virtual_size(), "{run:?} is no run of this image");
        end = Some(run.end);
        left -= 1;
        // Enough is enough: an error is how a visitor stops.
        if left == 0 { Err(Error::invalid("enough")) } else { Ok(()) }
    })
}

/// Opens whatever a text of options describes, in a tree with one image.
pub fn options(fs: &SimFs, text: &OsStr, how: Described) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    let flags = OpenFlags { access: Access::Read, cache: CacheMode::WRITEBACK, ..METADATA };
    match how {
        Described::ByName => formats::open_filename(&context, text, None, flags),
        Described::ByOptions => formats::open_image_opts(&context, text, flags),
    }
}

/// How a text describes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// As a file name, perhaps `json:{…}`.
    ByName,
    /// As `--image-opts`.
    ByOptions,
}
