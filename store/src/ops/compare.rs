//! `compare`: whether two images show a guest the same bytes.
//!
//! One walk over both images' metadata finds the runs that must be read, in order; a few threads
//! read and compare them. What is known to be zeroes on both sides is never read. Of all
//! differences found the lowest counts, so the answer does not depend on who was faster.

mod tail;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use formats::Image;
use formats::engine::{Status, is_zero, told_status};

use self::tail::Tail;
use crate::Progress;
use crate::side::{Piece, Side};
use crate::workers::{self, lock};

/// Guest bytes compared in one piece.
const PIECE: u64 = 1 << 20;

/// Differences are told as the first of this many bytes, a sector.
const SECTOR: usize = 512;

/// More threads than this only wait for memory.
const MAX_THREADS: usize = 4;

/// What counts as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Other bytes.
    Content,
    /// Other bytes, or bytes kept in another way: allocated here and not there.
    Allocation,
}

/// The first difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The sector at this offset has other bytes.
    Content(u64),
    /// From this offset on, the bytes are kept in another way.
    Allocation(u64),
}

/// Why two images could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The metadata does not say what is at an offset.
    #[error("Sector allocation test failed for {image}")]
    Status {
        /// The image as the caller named it.
        image: String,
        /// What went wrong.
        source: formats::Error,
    },
    /// The data cannot be read.
    #[error("Error while reading offset {offset} of {image}")]
    Read {
        /// Where the read started.
        offset: u64,
        /// The image as the caller named it.
        image: String,
        /// What went wrong.
        source: formats::Error,
    },
}

/// Looks for a difference in what both images have, up to the end of the shorter one.
///
/// Progress counts bytes of the longer image.
pub fn common_part(
    first: &Image,
    second: &Image,
    strictness: Strictness,
    progress: &dyn Progress,
) -> Result<Option<Difference>, CompareError> {
    let (one, two) = (first.virtual_size(), second.virtual_size());
    Search::new(&[first, second], strictness, 0..one.min(two), one.max(two), progress).run()
}

/// Looks for anything but zeroes from `start` to the end of the longer image.
pub fn rest(longer: &Image, start: u64, progress: &dyn Progress) -> Result<Option<Difference>, CompareError> {
    let end = longer.virtual_size();
    Search::new(&[longer], Strictness::Content, start..end, end, progress).run()
}

/// What the metadata says of a run: equal for strict comparison if all of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    allocated: bool,
    zero: bool,
    data: bool,
    compressed: bool,
    placed: bool,
    /// Whether the run ends where the image ends.
    last: bool,
}

impl Kind {
    /// Whether the bytes are known without reading them.
    fn is_known_zero(self) -> bool {
        self.zero || !self.allocated
    }
}

/// A run of one image, up to an end.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: u64,
    kind: Kind,
}

impl Run {
    fn from_status(status: &Status, at: u64) -> Self {
        let kind = Kind {
            allocated: status.allocated,
            zero: status.zero,
            data: status.data,
            compressed: status.compressed,
            placed: status.host.is_some(),
            last: false,
        };
        Self { end: at + status.len, kind }
    }
}

/// How the search ended before the end of the range.
#[derive(Debug)]
enum Finding {
    Difference(Difference),
    Failure(CompareError),
}

/// One search through one or two images; with one, the other side is all zeroes.
struct Search<'a> {
    images: &'a [&'a Image],
    /// For strict comparison, where the last runs of each image may begin.
    tails: Vec<Tail>,
    strictness: Strictness,
    walk: Mutex<Walk>,
    /// The finding with the lowest offset.
    found: Mutex<Option<(u64, Finding)>>,
    /// No finding at or past this offset counts any more.
    bound: AtomicU64,
    done: AtomicU64,
    total: u64,
    progress: &'a dyn Progress,
}

/// How far the metadata has been looked at.
struct Walk {
    at: u64,
    end: u64,
    runs: [Option<Run>; 2],
}

impl<'a> Search<'a> {
    fn new(
        images: &'a [&'a Image],
        strictness: Strictness,
        range: std::ops::Range<u64>,
        total: u64,
        progress: &'a dyn Progress,
    ) -> Self {
        let tails = match strictness {
            Strictness::Content => Vec::new(),
            Strictness::Allocation => images.iter().map(|image| Tail::of(image)).collect(),
        };
        Self {
            images,
            tails,
            strictness,
            done: AtomicU64::new(range.start),
            walk: Mutex::new(Walk { at: range.start, end: range.end, runs: [None; 2] }),
            found: Mutex::new(None),
            bound: AtomicU64::new(u64::MAX),
            total,
            progress,
        }
    }

    fn run(self) -> Result<Option<Difference>, CompareError> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        workers::run(threads, || self.work());
        match self.found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(None),
            Some((_, Finding::Difference(difference))) => Ok(Some(difference)),
            Some((_, Finding::Failure(error))) => Err(error),
        }
    }

    fn work(&self) {
        let mut sides: Vec<Side<'_>> = self.images.iter().map(|image| Side::new(image, PIECE)).collect();
        while let Some((piece, runs)) = self.next_piece() {
            match compare_piece(&mut sides, piece, runs) {
                Ok(None) => self.advance(piece.len as u64),
                Ok(Some(difference)) => {
                    self.report(difference, Finding::Difference(Difference::Content(difference)))
                }
                Err(error) => self.report(piece.at, Finding::Failure(error)),
            }
        }
    }

    /// The next piece that must be read.
    fn next_piece(&self) -> Option<(Piece, [Option<Run>; 2])> {
        let mut walk = lock(&self.walk);
        while walk.at < walk.end.min(self.bound.load(Ordering::Relaxed)) {
            if let Err(error) = self.look(&mut walk) {
                self.report(walk.at, Finding::Failure(error));
                return None;
            }
            let runs = walk.runs;
            let kinds = || runs.iter().flatten().map(|run| run.kind);
            if let (Some(one), Some(two), Strictness::Allocation) = (runs[0], runs[1], self.strictness)
                && one.kind != two.kind
            {
                self.report(walk.at, Finding::Difference(Difference::Allocation(walk.at)));
                return None;
            }
            let end = runs.iter().flatten().fold(walk.end, |end, run| end.min(run.end));
            let at = walk.at;
            if kinds().all(Kind::is_known_zero) {
                walk.at = end;
                self.advance(end - at);
            } else {
                walk.at = end.min(at + PIECE);
                return Some((Piece { at, len: (walk.at - at) as usize }, runs));
            }
        }
        None
    }

    /// Makes the walk know what is at its place in each image.
    fn look(&self, walk: &mut Walk) -> Result<(), CompareError> {
        let at = walk.at;
        for (number, image) in self.images.iter().enumerate() {
            if walk.runs[number].is_none_or(|run| run.end <= at) {
                let here = told_status(image, at, walk.end - at)
                    .map_err(|source| CompareError::Status { image: image.filename().to_owned(), source })?;
                let mut run = Run::from_status(&here, at);
                if let Some(tail) = self.tails.get(number) {
                    tail.apply(&mut run, at, here.depth, image.virtual_size());
                }
                walk.runs[number] = Some(run);
            }
        }
        Ok(())
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.set(done, self.total);
    }

    fn report(&self, at: u64, finding: Finding) {
        let mut found = lock(&self.found);
        if found.as_ref().is_none_or(|(lowest, _)| at < *lowest) {
            *found = Some((at, finding));
            self.bound.store(at, Ordering::Relaxed);
        }
    }
}

/// Where the piece differs, in whole sectors from its start.
fn compare_piece(
    sides: &mut [Side<'_>],
    piece: Piece,
    runs: [Option<Run>; 2],
) -> Result<Option<u64>, CompareError> {
    let mut read = Vec::with_capacity(2);
    for (side, run) in sides.iter_mut().zip(runs) {
        if run.is_some_and(|run| !run.kind.is_known_zero()) {
            let name = side.name();
            let bytes = side.read(piece);
            read.push(bytes.map_err(|source| CompareError::Read {
                offset: piece.at,
                image: name.to_owned(),
                source,
            })?);
        }
    }
    let sector = match read[..] {
        [one, two] if one == two => None,
        [one, two] => one.chunks(SECTOR).zip(two.chunks(SECTOR)).position(|(one, two)| one != two),
        [one] if is_zero(one) => None,
        [one] => one.chunks(SECTOR).position(|sector| !is_zero(sector)),
        _ => None,
    };
    Ok(sector.map(|sector| piece.at + (sector * SECTOR) as u64))
}
