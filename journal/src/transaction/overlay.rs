//! What a file is going to be, over what it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::{Disk, Result};

/// Replaced ranges of a file, none overlapping another, each with its new bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    /// By the first offset.
    pieces: BTreeMap<u64, Piece>,
}

/// New bytes for a range.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// How many.
    pub(crate) len: u64,
    /// Which.
    pub(crate) bytes: Bytes,
}

/// Where new bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum Bytes {
    /// They are held in memory, from that place on.
    Held { all: Arc<[u8]>, start: usize },
    /// They stand in a file: the journal, or one that keeps them until the transaction is over.
    InFile { file: SourceFile, offset: u64 },
    /// They are zeroes.
    Zero,
}

/// A file that new bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum SourceFile {
    /// The journal.
    Journal(Arc<dyn Disk>),
    /// A file that the journal names by its number.
    Named { number: u32, disk: Arc<dyn Disk> },
}

impl SourceFile {
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        match self {
            Self::Journal(disk) | Self::Named { disk, .. } => disk,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.disk(), other.disk())
    }
}

impl Bytes {
    /// Bytes of a buffer of their own.
    pub(crate) fn held(bytes: &[u8]) -> Self {
        Self::Held { all: bytes.into(), start: 0 }
    }

    /// The same without the first `skipped` bytes.
    fn skip(&self, skipped: u64) -> Self {
        match self {
            Self::Held { all, start } => {
                // A piece in memory is no longer than memory.
                Self::Held { all: Arc::clone(all), start: start + skipped as usize }
            }
            Self::InFile { file, offset } => Self::InFile { file: file.clone(), offset: offset + skipped },
            Self::Zero => Self::Zero,
        }
    }

    /// Fills `buf` with the bytes from `skipped` on.
    pub(crate) fn read(&self, skipped: u64, buf: &mut [u8]) -> Result<()> {
        match self {
            Self::Held { all, start } => {
                let from = start + skipped as usize;
                buf.copy_from_slice(&all[from..from + buf.len()]);
                Ok(())
            }
            Self::InFile { file, offset } => file.disk().read_padded(offset + skipped, buf),
            Self::Zero => {
                buf.fill(0);
                Ok(())
            }
        }
    }

    /// Whether `next`, which follows after `len` bytes, only goes on.
    fn goes_on(&self, len: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::InFile { file, offset }, Self::InFile { file: other, offset: next }) => {
                file.is_same(other) && offset + len == *next
            }
            (Self::Zero, Self::Zero) => true,
            _ => false,
        }
    }
}

/// A part of a file, as [`Overlay::runs`] finds it.
#[derive(Debug)]
pub(crate) struct Run {
    /// The range.
    pub(crate) range: Range<u64>,
    /// Its new bytes, from the range's start on; `None` where the file's own show through.
    pub(crate) bytes: Option<Bytes>,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Every piece, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, &Piece)> {
        self.pieces.iter().map(|(&offset, piece)| (offset, piece))
    }

    /// Replaces a range.
    pub(crate) fn put(&mut self, offset: u64, len: u64, bytes: Bytes) {
        if len == 0 {
            return;
        }
        self.cut_out(offset..offset + len);
        if let Some((&before, piece)) = self.pieces.range_mut(..offset).next_back()
            && before + piece.len == offset
            && piece.bytes.goes_on(piece.len, &bytes)
        {
            piece.len += len;
            return;
        }
        self.pieces.insert(offset, Piece { len, bytes });
    }

    /// Lets the file's own bytes show through a range again.
    pub(crate) fn cut_out(&mut self, range: Range<u64>) {
        let first = self.pieces.range(..range.start).next_back();
        let first = first.filter(|(at, piece)| **at + piece.len > range.start).map(|(&at, _)| at);
        let inside: Vec<u64> = self.pieces.range(range.clone()).map(|(&at, _)| at).collect();
        for at in first.into_iter().chain(inside) {
            let Some(piece) = self.pieces.remove(&at) else { continue };
            let end = at + piece.len;
            if end > range.end {
                let rest = Piece { len: end - range.end, bytes: piece.bytes.skip(range.end - at) };
                self.pieces.insert(range.end, rest);
            }
            if at < range.start {
                self.pieces.insert(at, Piece { len: range.start - at, ..piece });
            }
        }
    }

    /// A range in runs that are replaced or not.
    pub(crate) fn runs(&self, range: Range<u64>) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = range.start;
        let first = self.pieces.range(..=range.start).next_back().map_or(range.start, |(&at, _)| at);
        for (&start, piece) in self.pieces.range(first..range.end) {
            let end = (start + piece.len).min(range.end);
            if end <= at {
                continue;
            }
            if start > at {
                runs.push(Run { range: at..start, bytes: None });
                at = start;
            }
            runs.push(Run { range: at..end, bytes: Some(piece.bytes.skip(at - start)) });
            at = end;
        }
        if at < range.end {
            runs.push(Run { range: at..range.end, bytes: None });
        }
        runs
    }

    /// The ranges whose new bytes come from a range of that file.
    pub(crate) fn copied_from(&self, source: &Arc<dyn Disk>, range: Range<u64>) -> impl Iterator<Item = Run> {
        self.pieces().filter_map(move |(at, piece)| {
            let Bytes::InFile { file, offset } = &piece.bytes else { return None };
            let (start, end) = (range.start.max(*offset), range.end.min(offset + piece.len));
            if !Arc::ptr_eq(file.disk(), source) || start >= end {
                return None;
            }
            let skipped = start - offset;
            let range = at + skipped..at + (end - offset);
            Some(Run { range, bytes: Some(piece.bytes.skip(skipped)) })
        })
    }

    /// Whether anything in the range is replaced.
    pub(crate) fn touches(&self, range: Range<u64>) -> bool {
        self.pieces.range(..range.end).next_back().is_some_and(|(&at, piece)| at + piece.len > range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The overlay over forty dots, as text.
    fn shown(overlay: &Overlay) -> String {
        let mut text = vec![b'.'; 40];
        for run in overlay.runs(0..40) {
            if let Some(bytes) = run.bytes {
                bytes.read(0, &mut text[run.range.start as usize..run.range.end as usize]).unwrap();
            }
        }
        String::from_utf8_lossy(&text).replace('\0', "0")
    }

    #[test]
    fn the_last_write_is_what_is_read() {
        let mut overlay = Overlay::default();
        overlay.put(10, 10, Bytes::held(b"aaaaaaaaaa"));
        assert_eq!(shown(&overlay), "..........aaaaaaaaaa....................");
        overlay.put(13, 3, Bytes::held(b"xyz"));
        assert_eq!(shown(&overlay), "..........aaaxyzaaaa....................");
        overlay.put(5, 7, Bytes::Zero);
        assert_eq!(shown(&overlay), ".....0000000axyzaaaa....................");
        overlay.cut_out(14..18);
        assert_eq!(shown(&overlay), ".....0000000ax....aa....................");
        overlay.put(0, 40, Bytes::Zero);
        assert_eq!(overlay.pieces().count(), 1);
    }

    #[test]
    fn random_writes_agree_with_an_array() {
        let (mut overlay, mut model) = (Overlay::default(), [b'.'; 40]);
        let mut random = 1_u64;
        for round in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = (random >> 33) % 40;
            let len = ((random >> 20) % 12).min(40 - start);
            let range = start as usize..(start + len) as usize;
            match round % 5 {
                0 => {
                    overlay.cut_out(start..start + len);
                    model[range].fill(b'.');
                }
                1 => {
                    overlay.put(start, len, Bytes::Zero);
                    model[range].fill(b'0');
                }
                _ => {
                    let letter = b'a' + (round % 26) as u8;
                    overlay.put(start, len, Bytes::held(&vec![letter; len as usize]));
                    model[range].fill(letter);
                }
            }
            assert_eq!(shown(&overlay).as_bytes(), model, "round {round}");
            for at in 0..40 {
                assert_eq!(overlay.touches(at..at + 1), model[at as usize] != b'.');
            }
        }
    }
}
