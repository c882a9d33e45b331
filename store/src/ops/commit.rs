//! `commit`: merges an image into one that stands behind it.
//!
//! Whatever the layers above the base hold goes into the base, whose content becomes theirs. Then
//! the image on top gives up what it holds: the base shows it.

use std::ffi::OsString;
use std::path::PathBuf;

use formats::resize::{Fit, NewSize};
use formats::shown::shown;
use formats::{Compressing, Durability, Error, ErrorKind, Image, OpenContext, OpenFlags, Result, Writer};

use crate::chain;
use crate::copy::{Beneath, Copy, Method, Unreadable, workers};
use crate::ops::resize;
use crate::{ImageName, Progress};

/// The shortest run of zeroes that is not written as data, in bytes.
const MIN_SPARSE: u64 = 4096;

/// What to merge into what.
#[derive(Debug)]
pub struct Commit {
    /// The image on top.
    pub image: ImageName,
    /// How it is opened.
    pub flags: OpenFlags,
    /// The image to merge into; the backing image if there is no name.
    pub base: Option<OsString>,
    /// What becomes of the image on top.
    pub afterwards: Afterwards,
    /// Pieces of work at a time.
    pub parallel: usize,
    /// Bytes per second at most.
    pub rate: Option<u64>,
}

/// What becomes of an image that was merged into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It is emptied.
    Emptied,
    /// It stays as it is.
    Kept,
}

/// An image that is about to be merged: it can be opened, with all that is behind it.
#[derive(Debug)]
pub struct Opened {
    request: Commit,
    top: Image,
}

impl Commit {
    /// Opens the image and its chain.
    pub fn open(self, context: &OpenContext<'_>) -> Result<Opened> {
        let top = self.image.open(context, self.flags)?;
        Ok(Opened { request: self, top })
    }
}

impl Opened {
    /// Finds the base in the chain.
    pub fn find_base(self, context: &OpenContext<'_>) -> Result<Merge> {
        let Self { request, top } = self;
        let depth = match &request.base {
            None => top.backing().map(|_| 1).ok_or_else(no_backing)?,
            Some(name) => match chain::find(context, &top, name) {
                Some(behind) => behind.depth,
                None => {
                    let (base, image) = (shown(name), shown(request.image.text()));
                    let text = format!("Did not find '{base}' in the backing chain of '{image}'");
                    return Err(Error::invalid(text));
                }
            },
        };
        Ok(Merge { request, top, depth })
    }
}

/// A merge whose images are known.
#[derive(Debug)]
pub struct Merge {
    request: Commit,
    top: Image,
    /// How far behind the image on top the base stands.
    depth: usize,
}

impl Merge {
    /// The files of the chain from the image on top to the base, as far as they have names.
    pub fn files(&self) -> Vec<PathBuf> {
        let layers = layers(&self.top).take(self.depth + 1);
        layers.filter_map(|image| image.name().exact().map(PathBuf::from)).collect()
    }

    /// Merges.
    pub fn run(self, context: &OpenContext<'_>, progress: &dyn Progress) -> Result<()> {
        let Self { request, top, depth } = self;
        // Only now it is known which of the chain's images is written too.
        drop(top);
        let top = request.reopen(context, depth)?;
        let Some(base) = layers(&top).nth(depth) else { return Err(no_backing()) };
        merge(&top, base, &request, progress).map_err(job_failed)?;
        if depth == 1 {
            follow(&top, base)?;
        }
        match request.afterwards {
            Afterwards::Emptied => empty(&top),
            Afterwards::Kept => Ok(()),
        }
    }
}

impl Commit {
    /// Opens the chain with the base writable. What keeps it from being written is told without the
    /// images on it: they can be opened.
    fn reopen(&self, context: &OpenContext<'_>, depth: usize) -> Result<Image> {
        let flags = OpenFlags { writable_backing: Some(depth), ..self.flags };
        let opened = self.image.open(context, flags);
        // One sentence is the image's on top, and one each layer's from there to the base.
        opened.map_err(|error| (0..=depth).fold(error, |error, _| error.into_reason()))
    }
}

/// An image and those behind it.
fn layers(top: &Image) -> impl Iterator<Item = &Image> {
    std::iter::successors(Some(top), |image| image.backing().map(|image| &**image))
}

fn merge(top: &Image, base: &Image, request: &Commit, progress: &dyn Progress) -> Result<()> {
    let target = writer(base)?;
    let old_size = base.virtual_size();
    if old_size < top.virtual_size() {
        resize::apply(base, target, NewSize::plain(top.virtual_size(), Fit::AtLeast))?;
    }
    let copy = Copy {
        sources: std::slice::from_ref(top),
        skip: 0,
        len: top.virtual_size(),
        target: base,
        beneath: Beneath::Layer(base, old_size),
        method: match target.compressing() {
            Compressing::Always | Compressing::Whole => Method::Compressed,
            _ if target.overwrites() => Method::Offload,
            _ => Method::Plain,
        },
        min_sparse: MIN_SPARSE,
        unreadable: Unreadable::Fails,
        workers: workers(request.parallel),
        rate: request.rate,
    };
    copy.run(progress)?;
    target.commit(Durability::Durable)
}

/// The image on top goes on standing on the base, whatever that holds now.
fn follow(top: &Image, base: &Image) -> Result<()> {
    let writer = writer(top)?;
    writer.follow(base.driver());
    writer.commit(Durability::Durable)
}

/// Gives up what the image holds; where its format has no such thing, it stays.
fn empty(top: &Image) -> Result<()> {
    let writer = writer(top)?;
    match writer.overlay() {
        Some(overlay) => match overlay.make_empty() {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            emptied => emptied.and_then(|()| writer.commit(Durability::Durable)),
        },
        None => Ok(()),
    }
}

fn writer(image: &Image) -> Result<&dyn Writer> {
    image.driver().writer().ok_or_else(|| Error::unsupported("Block node is read-only"))
}

fn no_backing() -> Error {
    Error::invalid("Image does not have a backing file")
}

/// The class of the failure alone, as if a job had failed.
fn job_failed(error: Error) -> Error {
    tracing::debug!(error = %error.report(), "The merge failed.");
    Error::new(error.kind(), format!("Block job failed: {}", error.class()))
}
