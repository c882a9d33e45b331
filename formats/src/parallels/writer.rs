//! Writing into a Parallels image.
//!
//! A cluster that is there is written where it is; one that is not takes a free place in the file. Over another
//! image clusters are written as a whole: the table cannot tell of a part. Writing drops the format extension,
//! whose dirty bitmaps would not tell of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use journal::{Disk, Zeroing};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::space::Space;
use super::{Behind, Parallels};
use crate::options::parallels::Unwritten;
use crate::{Allocation, Durability, Error, GuestOffset, HostOffset, Result, Writer};

/// Larger clusters are not held in memory.
const MAX_WHOLE_CLUSTER: u64 = 32 << 20;

/// What changes as an image is written.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Where free places are, once one is needed.
    space: Option<Space>,
    /// Clusters that show another image until they are linked: where they go.
    pending: BTreeMap<u64, u64>,
    /// Whether anything was written since the last commit.
    pub(super) is_changed: bool,
    /// Whether clusters were given back since the last commit.
    has_freed: bool,
}

impl Session {
    /// Where free places are.
    pub(super) fn space(&mut self, image: &Parallels) -> Result<&mut Space> {
        match &mut self.space {
            Some(space) => Ok(space),
            space => Ok(space.insert(Space::of(image)?)),
        }
    }
}

/// Clusters of the guest that stand one after another in the file.
struct Run {
    /// Where the first one is.
    host: u64,
    /// How many they are.
    count: u64,
    /// Whether the committed image does not use them.
    is_fresh: bool,
}

impl Parallels {
    /// Whether clusters are small enough to be written as a whole where that must be.
    pub(super) fn can_write(&self) -> bool {
        self.behind == Behind::Nothing || self.header.cluster_size <= MAX_WHOLE_CLUSTER
    }

    fn disk_for(&self, is_fresh: bool) -> &Arc<dyn Disk> {
        if is_fresh { &self.file } else { &self.in_place }
    }

    /// The clusters from `first` on, before `past`, as far as they stand together.
    fn find(&self, first: u64, past: u64, session: &mut Session) -> Result<Option<Run>> {
        let start = self.entry(first)?;
        let Some(host) = self.header.host(start) else { return Ok(None) };
        if host < self.header.table_end() {
            return Err(Error::corrupt("A cluster lies over the block table"));
        }
        let space = session.space(self)?;
        let is_fresh = space.is_fresh(host);
        let (mut count, mut expected) = (1, start.checked_add(self.header.stride()));
        while first + count < past && Some(self.entry(first + count)?) == expected {
            if space.is_fresh(host + count * self.header.cluster_size) != is_fresh {
                break;
            }
            count += 1;
            expected = expected.and_then(|entry| entry.checked_add(self.header.stride()));
        }
        Ok(Some(Run { host, count, is_fresh }))
    }

    /// Gives clusters from `first` on, before `past`, places in the file.
    fn place(&self, first: u64, past: u64, session: &mut Session) -> Result<Run> {
        let mut wanted = 1;
        while first + wanted < past && self.entry(first + wanted)? == 0 {
            wanted += 1;
        }
        let (host, count) = session.space(self)?.take(wanted)?;
        for number in 0..count {
            let (cluster, host) = (first + number, host + number * self.header.cluster_size);
            match self.behind {
                Behind::Nothing => self.enter(cluster, host)?,
                Behind::Image => {
                    session.pending.insert(cluster, host);
                }
            }
        }
        Ok(Run { host, count, is_fresh: true })
    }

    /// Puts a cluster's place into the table.
    pub(super) fn enter(&self, cluster: u64, host: u64) -> Result<()> {
        let entry = self.header.entry(host);
        let entry =
            entry.ok_or_else(|| Error::corrupt("The image file would exceed the limits of its format"))?;
        self.table.set_spilling(cluster, U32::new(entry))
    }

    /// Makes new clusters part of the file, with zeroes where nothing will be written.
    fn make_room(&self, clusters: Range<u64>, written: Range<u64>) -> Result<()> {
        let len = self.file.len()?;
        if clusters.end > len {
            // A file that grows all the time is written slowly.
            let ahead = clusters.end.saturating_add(self.options.ahead).min(i64::MAX as u64);
            self.file.set_len(ahead).or_else(|_| self.file.set_len(clusters.end))?;
        }
        for rest in [clusters.start..written.start, written.end..clusters.end] {
            match self.options.unwritten {
                _ if rest.is_empty() => {}
                Unwritten::Reserved => self.file.zero(rest, Zeroing::Keep)?,
                Unwritten::Hole if rest.start >= len => {}
                Unwritten::Hole => self.file.zero(rest, Zeroing::Unmap)?,
            }
        }
        Ok(())
    }

    /// Gives a cluster back, so that it reads as zeroes.
    fn free(&self, cluster: u64, host: u64, session: &mut Session) -> Result<()> {
        self.table.set_spilling(cluster, U32::new(0))?;
        session.has_freed = true;
        Ok(self.file.release(host..host + self.header.cluster_size)?)
    }

    /// Makes a range within a cluster read as zeroes.
    fn zero_in(&self, cluster: u64, within: Range<u64>, how: Zeroing, session: &mut Session) -> Result<()> {
        let run = self.find(cluster, cluster + 1, session)?;
        let size = self.header.cluster_size;
        let is_whole = within.start == 0 && cluster * size + within.end >= (cluster + 1) * size;
        let reaches_end = within.start == 0 && cluster * size + within.end >= self.header.size;
        match (run, self.behind) {
            (None, Behind::Nothing) => Ok(()),
            (None, Behind::Image) => {
                let run = self.place(cluster, cluster + 1, session)?;
                self.make_room(run.host..run.host + size, run.host..run.host)?;
                self.enter_pending(cluster..cluster + 1, session)
            }
            (Some(run), Behind::Nothing)
                if (is_whole || reaches_end) && session.space(self)?.is_regular() =>
            {
                self.free(cluster, run.host, session)
            }
            (Some(run), _) => {
                let host = run.host + within.start..run.host + within.end;
                Ok(self.disk_for(run.is_fresh).zero(host, how)?)
            }
        }
    }

    fn enter_pending(&self, clusters: Range<u64>, session: &mut Session) -> Result<()> {
        for cluster in clusters {
            if let Some(host) = session.pending.remove(&cluster) {
                self.enter(cluster, host)?;
            }
        }
        Ok(())
    }

    /// Drops the format extension: what it tells is no longer so.
    fn drop_extension(&self) -> Result<()> {
        if self.header.extension.is_none() {
            return Ok(());
        }
        self.in_place.write_at(0, self.raw.without_extension().as_bytes())?;
        let Some(extension) = &self.extension else { return Ok(()) };
        extension.visit_clusters(&*self.in_place, &mut |range| drop(self.file.release(range)))
    }

    /// Where the last cluster ends that the table knows.
    fn end(&self, session: &mut Session) -> Result<u64> {
        if !std::mem::take(&mut session.has_freed) {
            return Ok(session.space(self)?.end());
        }
        let mut end = self.data_start.at();
        self.visit(&mut |_, host| {
            end = end.max(host + self.header.cluster_size);
            Ok(())
        })?;
        Ok(end)
    }
}

impl Writer for Parallels {
    fn granularity(&self) -> u64 {
        match self.behind {
            Behind::Nothing => 1,
            Behind::Image => self.header.cluster_size,
        }
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let size = self.header.cluster_size;
        let (first, within) = (at.0 / size, at.0 % size);
        let past = (at.0 + len).div_ceil(size).min(self.header.entries.into());
        if first >= past {
            return Err(Error::corrupt("The block table has no entry for this cluster"));
        }
        let mut session = self.session();
        session.is_changed = true;
        let found = self.find(first, past, &mut session)?;
        let is_new = found.is_none();
        let run = match found {
            Some(run) => run,
            None => self.place(first, past, &mut session)?,
        };
        let offset = run.host + within;
        let len = len.min(run.count * size - within);
        if is_new {
            self.make_room(run.host..run.host + run.count * size, offset..offset + len)?;
        }
        Ok(Allocation { at, len, disk: Arc::clone(self.disk_for(run.is_fresh)), offset: HostOffset(offset) })
    }

    /// Unless another image is behind, the clusters have been entered already: until they are written they
    /// read as before, as zeroes.
    fn link(&self, allocation: &Allocation) -> Result<()> {
        let size = self.header.cluster_size;
        let clusters = allocation.at.0 / size..(allocation.at.0 + allocation.len).div_ceil(size);
        match self.behind {
            Behind::Nothing => Ok(()),
            Behind::Image => self.enter_pending(clusters, &mut self.session()),
        }
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let size = self.header.cluster_size;
        // What the table has no entry for is zeroes.
        let past = u64::from(self.header.entries) * size;
        let end = at.0.saturating_add(len).min(past);
        let mut session = self.session();
        session.is_changed = true;
        let mut start = at.0;
        while start < end {
            let (cluster, within) = (start / size, start % size);
            let len = (end - start).min(size - within);
            self.zero_in(cluster, within..within + len, how, &mut session)?;
            start += len;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut session = self.session();
        self.table.flush()?;
        if std::mem::take(&mut session.is_changed) {
            self.drop_extension()?;
            let end = self.end(&mut session)?;
            if self.in_place.len()? > end {
                self.in_place.set_len(end)?;
            }
            if let Some(space) = &mut session.space {
                space.settle();
            }
        }
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}
