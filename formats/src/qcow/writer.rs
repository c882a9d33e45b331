//! Writing into a qcow image.
//!
//! A cluster that is there is written where it is; one that is not, or is compressed, goes to the end of the file.
//! What shares a cluster with what is written is written with it.

use std::sync::{Arc, MutexGuard, PoisonError};

use journal::{Disk, Zeroing};
use zerocopy::big_endian::U64;

use super::Qcow;
use super::header::Place;
use crate::raw::SECTOR;
use crate::{
    Allocation, BackingReference, Codec, Compression, Durability, Error, ErrorKind, GuestOffset, HostOffset,
    Overlay, Result, Writer,
};

/// Zeroes that are written at a time.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// What changes as an image is written.
#[derive(Debug)]
pub(super) struct Session {
    /// Where the next cluster goes, or the one after it.
    end: u64,
    /// From there on, the committed image does not use the file.
    fresh: u64,
}

impl Session {
    /// What is used ends at `end`. The file may be longer, where that is not decided yet.
    pub(super) fn new(end: u64, file_len: u64) -> Self {
        Self { end, fresh: end.max(file_len) }
    }

    /// Hands out space at the end of the file.
    fn take(&mut self, len: u64, alignment: u64) -> Result<u64> {
        let at = self.end.checked_next_multiple_of(alignment);
        let end = at.and_then(|at| at.checked_add(len)).filter(|&end| end <= i64::MAX as u64);
        let (Some(at), Some(end)) = (at, end) else {
            return Err(Error::new(ErrorKind::TooLarge, "The image file would become too large"));
        };
        self.end = end;
        Ok(at)
    }

    /// The second-level table of a cluster, made if there is none.
    fn l2_for(&mut self, image: &Qcow, cluster: u64) -> Result<u64> {
        let entries = image.header.tables.l2_entries;
        let bytes = entries * size_of::<U64>() as u64;
        if let Some(at) = image.l2(cluster)? {
            if at.saturating_add(bytes) > self.end {
                return Err(Error::corrupt("A table lies beyond the end of the file"));
            }
            return Ok(at);
        }
        let at = self.take(bytes, image.header.cluster_size())?;
        image.disk_for(at, self).zero(at..at + bytes, Zeroing::Keep)?;
        if at >= self.fresh {
            image.tables.add(at);
        }
        image.tables.set_l1(cluster / entries, U64::new(at))?;
        Ok(at)
    }

    /// How much of what is at `host` is alike in being the committed image's or not.
    fn alike(&self, host: u64, len: u64) -> u64 {
        if host < self.fresh { len.min(self.fresh - host) } else { len }
    }
}

impl Qcow {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk_for(&self, host: u64, session: &Session) -> &Arc<dyn Disk> {
        if host >= session.fresh { &self.file } else { &self.in_place }
    }

    /// Where clusters are to be written, and how many of them stand there together.
    fn place(&self, first: u64, past: u64, session: &mut Session) -> Result<(u64, u64)> {
        let size = self.header.cluster_size();
        let (place, count) = self.find(first, past)?;
        if let Place::At(host) = place {
            return Ok((host, count));
        }
        // QEMU makes the table first.
        session.l2_for(self, first)?;
        let host = session.take(count * size, size)?;
        if host + count * size > self.file.len()? {
            self.file.set_len(host + count * size)?;
        }
        Ok((host, count))
    }
}

impl Writer for Qcow {
    fn granularity(&self) -> u64 {
        self.header.cluster_size()
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let size = self.header.cluster_size();
        let mut session = self.session();
        let (host, count) = self.place(at.0 / size, (at.0 + len).div_ceil(size), &mut session)?;
        let len = session.alike(host, len.min(count * size));
        let disk = Arc::clone(self.disk_for(host, &session));
        let allocation = Allocation { at, len, disk, offset: HostOffset(host) };
        Ok(match &self.encryption {
            Some(encryption) => encryption.encrypting(allocation),
            None => allocation,
        })
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        let size = self.header.cluster_size();
        let entries = self.header.tables.l2_entries;
        let (first, host) = (allocation.at.0 / size, allocation.offset.0);
        let past = (allocation.at.0 + allocation.len).div_ceil(size);
        let mut session = self.session();
        let (place, count) = self.find(first, past)?;
        if place == Place::At(host) && count == past - first {
            return Ok(());
        }
        let at = session.l2_for(self, first)?;
        let start = first % entries;
        self.tables.set(at, start..start + (past - first), |index| U64::new(host + (index - start) * size))
    }

    /// Zeroes are bytes as any others: no entry says that a cluster is zeroes.
    fn zero(&self, at: GuestOffset, len: u64, _how: Zeroing) -> Result<()> {
        let end = at.0.saturating_add(len);
        let mut start = at.0;
        while start < end {
            let run = self.prepare(GuestOffset(start), (end - start).min(ZEROES.len() as u64))?;
            run.disk.write_at(run.offset.0, ZEROES.get(..run.len as usize).unwrap_or_default())?;
            self.link(&run)?;
            start += run.len;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Keep)
    }

    fn compression(&self) -> Option<Compression> {
        let cluster_size = self.header.cluster_size();
        let compression =
            Compression { stream: Codec::Deflate.into(), cluster_size, max_len: cluster_size - 1 };
        (!self.header.is_encrypted).then_some(compression)
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        let entries = self.header.tables.l2_entries;
        let cluster = at.0 / self.header.cluster_size();
        let len = payload.len() as u64;
        let mut session = self.session();
        let table = session.l2_for(self, cluster)?;
        let host = session.take(len, SECTOR)?;
        let entry = self.header.compressed(host, len);
        let entry =
            entry.ok_or_else(|| Error::invalid("A compressed cluster does not fit into its entry"))?;
        self.disk_for(host, &session).write_at(host, payload)?;
        let index = cluster % entries;
        self.tables.set(table, index..index + 1, |_| U64::new(entry))
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        Some(self)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut session = self.session();
        self.tables.flush()?;
        session.fresh = session.end;
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}

impl Overlay for Qcow {
    fn set_backing(&self, _reference: Option<&BackingReference>) -> Result<()> {
        Err(Error::unsupported("Operation not supported"))
    }

    fn make_empty(&self) -> Result<()> {
        let mut session = self.session();
        let shape = self.header.tables;
        let mut index = 0;
        while index < shape.l1_entries {
            let run = self.tables.l1_run(index, shape.l1_entries - index)?;
            for (index, _) in (index..).zip(&run).filter(|(_, entry)| entry.get() != 0) {
                self.tables.set_l1(index, U64::new(0))?;
            }
            index += run.len() as u64;
        }
        self.tables.flush()?;
        session.end = shape.l1_offset.saturating_add(shape.l1_entries * size_of::<U64>() as u64);
        Ok(self.in_place.set_len(session.end)?)
    }
}
