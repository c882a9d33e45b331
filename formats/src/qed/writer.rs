//! Writing into a QED image.
//!
//! A cluster that is there is written where it is; one that is not goes to the end of the file. What shares a cluster
//! with what is written is written with it.

use std::ops::Range;
use std::sync::Arc;

use journal::{Access, Disk, Zeroing};
use zerocopy::little_endian::U64;

use super::header::{HEADER_LEN, Header};
use super::{Clusters, Qed, ZERO};
use crate::create::Preallocation;
use crate::resize::{Behind, Remainder};
use crate::{
    Allocation, BackingReference, CheckReport, Durability, Error, GuestOffset, HostOffset, NewSize, Overlay,
    Resize, Result, Writer,
};

/// What changes as an image is written.
#[derive(Debug)]
pub(super) struct Session {
    /// The header as it is going to be. Its file has all clusters that were handed out.
    pub(super) header: Header,
    /// The name of the backing image, if it was changed.
    name: Option<Vec<u8>>,
    /// From there on, the committed image does not use the file.
    fresh: u64,
    /// The header as the committed image has it.
    committed: Header,
}

impl Session {
    pub(super) fn new(header: Header) -> Self {
        Self { header, name: None, fresh: header.file_size, committed: header }
    }

    /// The tables are known to be sound.
    pub(super) fn set_checked(&mut self) {
        self.header = self.header.checked();
    }

    /// Hands out clusters at the end of the file.
    fn take(&mut self, image: &Qed, len: u64) -> Result<u64> {
        let at = self.header.file_size;
        let end = at.checked_add(len).filter(|&end| end <= i64::MAX as u64);
        let end = end.ok_or_else(|| Error::invalid("The image file would become too large"))?;
        image.file.set_len(end)?;
        self.header.file_size = end;
        Ok(at)
    }

    /// The second-level table of guest clusters, made if there is none.
    fn l2_for(&mut self, image: &Qed, l1_index: u64) -> Result<u64> {
        if let Some(at) = image.l2(l1_index, &self.header)? {
            return Ok(at);
        }
        let at = self.take(image, self.header.table_len())?;
        image.tables.add(at);
        image.tables.set_l1(l1_index, U64::new(at))?;
        Ok(at)
    }

    /// Enters clusters into the tables.
    fn enter(&mut self, image: &Qed, clusters: Range<u64>, entry: impl Fn(u64) -> u64) -> Result<()> {
        let entries = self.header.entries();
        let mut first = clusters.start;
        while first < clusters.end {
            let past = clusters.end.min((first / entries + 1) * entries);
            let at = self.l2_for(image, first / entries)?;
            let start = first % entries;
            let number = |index: u64| first - clusters.start + (index - start);
            image.tables.set(at, start..start + (past - first), |index| U64::new(entry(number(index))))?;
            first = past;
        }
        Ok(())
    }
}

impl Qed {
    fn disk_for(&self, host: u64, session: &Session) -> &Arc<dyn Disk> {
        if host >= session.fresh { &self.file } else { &self.in_place }
    }

    /// How many of the clusters at `host` are alike in being the committed image's or not.
    fn alike(host: u64, count: u64, session: &Session) -> u64 {
        if host >= session.fresh {
            return count;
        }
        count.min((session.fresh - host) / session.header.cluster_size())
    }

    /// Writes what a repair has changed; the image needs no check any more if it is sound.
    pub(super) fn finish_repair(&self, report: &CheckReport) -> Result<()> {
        let mut session = self.session();
        if report.corruptions == 0 {
            session.set_checked();
        }
        drop(session);
        self.commit(Durability::Durable)
    }
}

impl Writer for Qed {
    fn granularity(&self) -> u64 {
        self.header.cluster_size()
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let mut session = self.session();
        let header = session.header;
        let size = header.cluster_size();
        let (first, past) = (at.0 / size, (at.0 + len).div_ceil(size));
        let (kind, count) = self.find(first, past, &header)?;
        let (host, count) = match kind {
            Clusters::Data(host) => (host, Self::alike(host, count, &session)),
            Clusters::Absent | Clusters::Zero => (session.take(self, count * size)?, count),
        };
        let disk = Arc::clone(self.disk_for(host, &session));
        Ok(Allocation { at, len: len.min(count * size), disk, offset: HostOffset(host) })
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        let mut session = self.session();
        let size = session.header.cluster_size();
        let (first, host) = (allocation.at.0 / size, allocation.offset.0);
        let past = (allocation.at.0 + allocation.len).div_ceil(size);
        let (kind, count) = self.find(first, past, &session.header)?;
        if kind == Clusters::Data(host) && count == past - first {
            return Ok(());
        }
        session.enter(self, first..past, |number| host + number * size)
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let mut session = self.session();
        let size = session.header.cluster_size();
        let (mut first, past) = (at.0 / size, (at.0 + len).div_ceil(size));
        while first < past {
            let (kind, count) = self.find(first, past, &session.header)?;
            let count = match kind {
                Clusters::Zero => count,
                Clusters::Absent => {
                    session.enter(self, first..first + count, |_| ZERO)?;
                    count
                }
                Clusters::Data(host) => {
                    let count = Self::alike(host, count, &session);
                    self.disk_for(host, &session).zero(host..host + count * size, how)?;
                    count
                }
            };
            first += count;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        Some(self)
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut session = self.session();
        self.tables.flush()?;
        if self.flags.access == Access::Write && !self.flags.check {
            session.header = session.header.cleared();
        }
        if let Some(name) = session.name.take() {
            self.in_place.write_at(HEADER_LEN, &name)?;
        }
        if session.header.bytes() != session.committed.bytes() {
            self.in_place.write_at(0, session.header.bytes())?;
        }
        session.committed = session.header;
        session.fresh = session.header.file_size;
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}

impl Overlay for Qed {
    fn set_backing(&self, reference: Option<&BackingReference>) -> Result<()> {
        let mut session = self.session();
        session.header = session.header.over(reference)?;
        session.name = reference.map(|reference| reference.name.clone());
        Ok(())
    }
}

impl Resize for Qed {
    fn resize(&self, request: &NewSize) -> Result<Remainder> {
        let mut session = self.session();
        if request.preallocation != Preallocation::Off {
            let mode = request.preallocation.name();
            return Err(Error::unsupported(format!("Unsupported preallocation mode '{mode}'")));
        }
        if request.behind == Behind::Bytes {
            return Err(Error::unsupported("Block driver does not support requested flags"));
        }
        if request.size < session.header.size() {
            return Err(Error::unsupported("Shrinking images is currently not supported"));
        }
        session.header = session.header.with_size(request.size)?;
        Ok(Remainder::None)
    }
}
