//! Copying guest bytes from one or more images into another.
//!
//! ```text
//!   plan     which bytes of the sources are data, zeroes, or the backing image's
//!   worker   one chunk: read, look for zeroes, compress; in its turn find space; write
//!   offload  the same, by the kernel
//!   replace  the same, where what is beneath the target is going to be another image
//! ```
//!
//! The chunks are worked on by several threads at once, but host space is given out in guest
//! order, so that the result is the same however many threads there were.

mod failure;
mod offload;
mod plan;
mod replace;
#[cfg(test)]
mod tests;
mod throttle;
mod worker;

use formats::engine::run_ordered;
use formats::{Error, Image, OpenFlags, Result};

use crate::Progress;
use plan::Plan;
use throttle::Throttle;
use worker::Worker;

/// What to copy where.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    /// The images to read, one after another.
    pub(crate) sources: &'a [Image],
    /// The first byte of them that is copied; it goes to the target's first byte.
    pub(crate) skip: u64,
    /// How many bytes are copied.
    pub(crate) len: u64,
    /// Where they go.
    pub(crate) target: &'a Image,
    /// What the target reads as where nothing is written.
    pub(crate) beneath: Beneath<'a>,
    /// How bytes get there.
    pub(crate) method: Method,
    /// The shortest run of zeroes that is left out, in bytes; 0 writes every zero.
    pub(crate) min_sparse: u64,
    /// What an unreadable sector does.
    pub(crate) unreadable: Unreadable<'a>,
    /// Threads.
    pub(crate) workers: usize,
    /// Bytes per second at most.
    pub(crate) rate: Option<u64>,
}

/// What the target reads as where nothing is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beneath<'a> {
    /// Zeroes.
    Zeroes,
    /// A backing image of that many bytes, which equals what is behind the sources, and zeroes
    /// after it.
    Backing(u64),
    /// The target is a part of the (only) source's own chain: what no layer above it holds it shows
    /// already. From that many bytes on it is all zeroes.
    Layer(&'a Image, u64),
    /// The target is the (only) source, behind which another image is being put: what it does not
    /// hold itself is written where the other image shows something else.
    Replaced(Replacement<'a>),
    /// Anything.
    Unknown,
}

/// What is going to stand behind an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replacement<'a> {
    /// The image, if there is to be one. What it is too short for are zeroes.
    pub(crate) image: Option<&'a Image>,
    /// Whether it is one of those that are behind it now.
    pub(crate) is_in_chain: bool,
}

/// How bytes get from the sources into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Read and written.
    Plain,
    /// Read, compressed and written.
    Compressed,
    /// Copied by the kernel where it can.
    Offload,
    /// Read and looked at; data that stands in another file is then taken from there, so that what
    /// replaces committed bytes is named rather than kept until the commit.
    ByReference,
}

impl Method {
    /// For an image that exists: what is written where its committed bytes are comes by reference,
    /// unless others may write the sources meanwhile.
    pub(crate) fn into_existing(target: &Image, sources: OpenFlags) -> Self {
        let overwrites = target.driver().writer().is_some_and(|writer| writer.overwrites());
        if overwrites && !sources.force_share { Self::ByReference } else { Self::Plain }
    }

    /// Whether it must be known where data stands in files.
    fn needs_hosts(self) -> bool {
        matches!(self, Self::Offload | Self::ByReference)
    }
}

/// What an unreadable sector does.
#[derive(Clone, Copy)]
pub(crate) enum Unreadable<'a> {
    /// It ends the copy.
    Fails,
    /// It ends the copy when it is read, and is told as `dd` does it.
    FailsAsRead,
    /// It is copied as zeroes, and this is told about it.
    BecomesZeroes(&'a (dyn Fn(u64, &Error) + Sync)),
}

impl std::fmt::Debug for Unreadable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fails => "Fails",
            Self::FailsAsRead => "FailsAsRead",
            Self::BecomesZeroes(_) => "BecomesZeroes",
        })
    }
}

/// Guest bytes that one worker takes at a time.
const CHUNK: u64 = 2 << 20;

/// The same where they are compressed, which takes longer than writing them.
const COMPRESSED_CHUNK: u64 = 512 << 10;

impl Copy<'_> {
    /// Copies. The target's writer is not committed.
    pub(crate) fn run(&self, progress: &dyn Progress) -> Result<()> {
        let unit = self.unit()?;
        let chunk = match self.method {
            Method::Compressed => COMPRESSED_CHUNK,
            Method::Plain | Method::Offload | Method::ByReference => CHUNK,
        };
        let mut plan = Plan::new(self, unit, chunk.next_multiple_of(unit));
        let throttle = self.rate.map(Throttle::new);
        run_ordered(
            self.workers,
            || {
                progress.set(plan.done(), self.len);
                plan.next_job()
            },
            || Worker::new(self, unit, throttle.as_ref()),
            |worker, job, turn| worker.work(&job, turn),
        )?;
        progress.set(self.len, self.len);
        Ok(())
    }

    /// Whether every zero is written.
    fn stores_zeroes(&self) -> bool {
        let are_data = self.target.driver().writer().is_some_and(|writer| writer.zeroes_are_data());
        self.min_sparse == 0 || are_data
    }

    /// Bytes that are decided about together: what the target allocates or compresses at a time.
    fn unit(&self) -> Result<u64> {
        let writer =
            self.target.driver().writer().ok_or_else(|| Error::unsupported("Image is not writable"))?;
        match (self.method, writer.compression()) {
            (Method::Compressed, Some(compression)) => Ok(compression.cluster_size),
            (Method::Compressed, None) => {
                Err(Error::unsupported("Compression not supported for this file format"))
            }
            (Method::Plain | Method::Offload | Method::ByReference, _) => Ok(writer.granularity()),
        }
    }
}

/// Threads for so many pieces of work at a time: some of them wait for the disk.
pub(crate) fn workers(parallel: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    parallel.clamp(1, 2 * cores)
}
