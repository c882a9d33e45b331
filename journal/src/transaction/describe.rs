//! What the journal says of the bytes that are replaced in a file: the new ones, or where they stand,
//! and checksums of the old.

use std::ops::Range;

use super::file::Member;
use super::overlay::{Bytes, Piece, SourceFile};
use crate::Result;
use crate::log::{Before, MAX_PATCH, Patch, PatchBytes, SECTOR, WHOLE_AT_MOST, sector_checksums};

/// Threads that read what long pieces replace, and with what.
const THREADS: usize = 2;
/// Records that are made before the first of them is written.
const WINDOW: usize = 8 * THREADS;
/// Bytes read at a time: they are still in the processor's cache when they are summed up.
const STEP: u64 = 256 << 10;

/// A file whose records are written.
pub(super) struct Described<'a> {
    pub(super) member: &'a Member,
    /// Its number in the journal.
    pub(super) number: u32,
}

impl Described<'_> {
    /// Tells the records of everything that is replaced, ascending.
    pub(super) fn each(&self, mut tell: impl FnMut(&Patch) -> Result<()>) -> Result<()> {
        let state = self.member.state();
        for (offset, piece) in state.overlay.pieces() {
            let ranges: Vec<_> = steps(offset..offset + piece.len, MAX_PATCH).collect();
            for some in ranges.chunks(WINDOW) {
                for patch in self.describe_all(offset, piece, some)? {
                    tell(&patch)?;
                }
            }
        }
        Ok(())
    }

    /// The records of ranges of a piece that starts at `offset`.
    fn describe_all(&self, offset: u64, piece: &Piece, ranges: &[Range<u64>]) -> Result<Vec<Patch>> {
        let describe = |ranges: &[Range<u64>]| -> Result<Vec<Patch>> {
            ranges.iter().map(|range| self.describe(offset, piece, range.clone())).collect()
        };
        if ranges.len() == 1 {
            return describe(ranges);
        }
        std::thread::scope(|scope| {
            let shares = ranges.chunks(ranges.len().div_ceil(THREADS));
            let running: Vec<_> = shares.map(|share| scope.spawn(|| describe(share))).collect();
            let mut patches = Vec::with_capacity(ranges.len());
            for thread in running {
                patches.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(patches)
        })
    }

    fn describe(&self, offset: u64, piece: &Piece, range: Range<u64>) -> Result<Patch> {
        let skipped = range.start - offset;
        let len = range.end - range.start;
        let before = self.before(range.clone())?;
        let bytes = match &piece.bytes {
            Bytes::Held { .. } => {
                let mut bytes = vec![0; len as usize];
                piece.bytes.read(skipped, &mut bytes)?;
                PatchBytes::Here(bytes)
            }
            Bytes::InFile { file: SourceFile::Journal(_), offset } => PatchBytes::Payload(offset + skipped),
            Bytes::InFile { file: SourceFile::Named { number, .. }, offset } => {
                let checksum = checksum(&piece.bytes, skipped..skipped + len)?;
                PatchBytes::Source { file: *number, offset: offset + skipped, checksum }
            }
            Bytes::Zero => PatchBytes::Zero,
        };
        Ok(Patch { file: self.number, offset: range.start, len, bytes, before })
    }

    /// What is kept of the bytes of a range as they are now.
    fn before(&self, range: Range<u64>) -> Result<Before> {
        if range.end - range.start <= WHOLE_AT_MOST {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            self.member.inner.read_padded(range.start, &mut bytes)?;
            return Ok(Before::Whole(bytes));
        }
        let mut sums = Vec::new();
        let mut buf = vec![0; STEP as usize];
        for step in steps(range, STEP) {
            let bytes = &mut buf[..(step.end - step.start) as usize];
            self.member.inner.read_padded(step.start, bytes)?;
            sums.extend(sector_checksums(step.start, bytes));
        }
        Ok(Before::Checksums(sums))
    }
}

/// The checksum of some of a piece's bytes.
fn checksum(bytes: &Bytes, range: Range<u64>) -> Result<u32> {
    let mut buf = vec![0; STEP as usize];
    steps(range, STEP).try_fold(0, |sum, step| {
        let part = &mut buf[..(step.end - step.start) as usize];
        bytes.read(step.start, part)?;
        Ok(crc32c::crc32c_append(sum, part))
    })
}

/// A range in parts of at most `len` bytes, which end where sectors do, so that no sector is in two of
/// them.
fn steps(range: Range<u64>, len: u64) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let start = at;
        at = ((start + len) / SECTOR * SECTOR).min(range.end);
        (start < range.end).then_some(start..at)
    })
}
