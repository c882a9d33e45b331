//! What a log changes: shown to readers, or written to the file.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use journal::{
    Allocate, Claim, Disk, DiskStatus, ErrorKind, Extent, ExtentKind, Result as DiskResult, Zeroing,
};

use super::log::LOG_SECTOR;

/// What becomes of a range.
#[derive(Debug)]
pub enum Change {
    /// These bytes.
    Data(Box<[u8; LOG_SECTOR as usize]>),
    /// Zeroes.
    Zero,
}

/// All changes of a log. Later ones have replaced earlier ones.
#[derive(Debug, Default)]
pub struct Replay {
    /// By their start: the end, and what is between. None overlaps another.
    changes: BTreeMap<u64, (u64, Change)>,
    /// Bytes that the file has at least.
    len: u64,
}

impl Replay {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.changes.len() as u64
    }

    /// The file has at least so many bytes.
    pub fn reach(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Adds a change of whole log sectors.
    pub fn put(&mut self, start: u64, len: u64, change: Change) {
        let end = start + len;
        if len == 0 {
            return;
        }
        if let Some((_, (before_end, before))) = self.changes.range_mut(..start).next_back()
            && *before_end > start
        {
            // Data is one sector, so what reaches over the start is zeroes.
            let rest = std::mem::replace(before_end, start);
            if rest > end && matches!(before, Change::Zero) {
                self.changes.insert(end, (rest, Change::Zero));
            }
        }
        while let Some((&inner, &(inner_end, _))) = self.changes.range(start..end).next() {
            self.changes.remove(&inner);
            if inner_end > end {
                self.changes.insert(end, (inner_end, Change::Zero));
            }
        }
        self.changes.insert(start, (end, change));
    }

    /// Writes everything where it belongs.
    pub fn apply(&self, disk: &dyn Disk) -> crate::Result<()> {
        if self.len > disk.len()? {
            disk.set_len(self.len)?;
        }
        for (&start, (end, change)) in &self.changes {
            match change {
                Change::Data(bytes) => disk.write_at(start, &**bytes)?,
                Change::Zero => disk.zero(start..*end, Zeroing::Keep)?,
            }
        }
        Ok(())
    }

    /// Puts what is changed over bytes that were read.
    fn patch(&self, offset: u64, buf: &mut [u8]) {
        let past = offset.saturating_add(buf.len() as u64);
        let first = self.changes.range(..=offset).next_back().map_or(offset, |(&start, _)| start);
        for (&start, (end, change)) in self.changes.range(first..past) {
            let (from, to) = (start.max(offset), (*end).min(past));
            if from >= to {
                continue;
            }
            let place = &mut buf[(from - offset) as usize..(to - offset) as usize];
            match change {
                Change::Data(bytes) => {
                    place.copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                }
                Change::Zero => place.fill(0),
            }
        }
    }
}

/// A file as it is when its log has been replayed, for reading.
#[derive(Debug)]
pub struct Replayed {
    disk: Arc<dyn Disk>,
    replay: Replay,
}

impl Replayed {
    /// The file with these changes.
    pub fn new(disk: Arc<dyn Disk>, replay: Replay) -> Self {
        Self { disk, replay }
    }
}

fn refuse<T>(op: &'static str) -> DiskResult<T> {
    Err(journal::Error::new(ErrorKind::Unsupported, op, Path::new("a file whose log is not replayed"), None))
}

impl Disk for Replayed {
    fn len(&self) -> DiskResult<u64> {
        let last = self.replay.changes.values().next_back().map_or(0, |&(end, _)| end);
        Ok(self.disk.len()?.max(self.replay.len).max(last))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> DiskResult<usize> {
        let left = self.len()?.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = &mut buf[..wanted];
        self.disk.read_padded(offset, buf)?;
        self.replay.patch(offset, buf);
        Ok(wanted)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> DiskResult<()> {
        if self.read_at(offset, buf)? == buf.len() {
            return Ok(());
        }
        let path = Path::new("a file whose log is not replayed");
        Err(journal::Error::new(ErrorKind::UnexpectedEnd, "read", path, Some(offset)))
    }

    fn write_vectored_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> DiskResult<()> {
        refuse("write")
    }

    fn set_len(&self, _len: u64) -> DiskResult<()> {
        refuse("resize")
    }

    fn sync(&self) -> DiskResult<()> {
        Ok(())
    }

    fn allocate(&self, _range: Range<u64>, _how: Allocate) -> DiskResult<()> {
        refuse("allocate space in")
    }

    fn zero(&self, _range: Range<u64>, _how: Zeroing) -> DiskResult<()> {
        refuse("write zeroes to")
    }

    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> DiskResult<u64> {
        refuse("copy to")
    }

    fn extent_at(&self, offset: u64) -> DiskResult<Extent> {
        let len = self.len()?;
        Ok(match offset < len {
            true => Extent { kind: ExtentKind::Data, end: len },
            false => Extent { kind: ExtentKind::Hole, end: u64::MAX },
        })
    }

    fn status(&self) -> DiskResult<DiskStatus> {
        self.disk.status()
    }

    fn lock(&self, claim: Claim) -> DiskResult<()> {
        self.disk.lock(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = LOG_SECTOR;

    fn data(byte: u8) -> Change {
        Change::Data(Box::new([byte; S as usize]))
    }

    /// The first byte of each of eight sectors over ones.
    fn shown(replay: &Replay) -> Vec<u8> {
        let mut bytes = vec![1; 8 * S as usize];
        replay.patch(0, &mut bytes);
        bytes.chunks(S as usize).map(|sector| sector[0]).collect()
    }

    #[test]
    fn later_changes_replace_earlier_ones() {
        let mut replay = Replay::default();
        replay.put(S, 5 * S, Change::Zero);
        assert_eq!(shown(&replay), [1, 0, 0, 0, 0, 0, 1, 1]);
        replay.put(3 * S, S, data(7));
        assert_eq!(shown(&replay), [1, 0, 0, 7, 0, 0, 1, 1]);
        replay.put(2 * S, 2 * S, Change::Zero);
        replay.put(0, S, data(8));
        assert_eq!(shown(&replay), [8, 0, 0, 0, 0, 0, 1, 1]);
        replay.put(0, 3 * S, Change::Zero);
        replay.put(5 * S, S, data(9));
        assert_eq!(shown(&replay), [0, 0, 0, 0, 0, 9, 1, 1]);
        let mut within = [1; 10];
        replay.patch(5 * S - 5, &mut within);
        assert_eq!(within, [0, 0, 0, 0, 0, 9, 9, 9, 9, 9]);
    }
}
