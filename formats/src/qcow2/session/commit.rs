//! From the session's state to the file's.

use super::{Mode, Session};
use journal::RangeSet;

use crate::error::ResultExt;
use crate::qcow2::flip::Flip;
use crate::qcow2::geometry::HostCluster;
use crate::{Durability, Result};

/// The part of a file that may be kept as a reserve of free clusters: one in so many.
const RESERVED_PART: u64 = 8;

impl Session {
    /// See [`crate::Writer::commit`].
    ///
    /// Everything new is written and synced before the header is, whose first sector is what
    /// replaces the old state by the new one. Only then is space given back.
    pub fn commit(&mut self, durability: Durability) -> Result<()> {
        self.release_unlinked()?;
        self.settle_bitmaps()?;
        if self.mode == Mode::Shadow {
            self.tail = None;
            if !self.tables.is_changed() && !self.space.is_changed() && self.header == self.committed {
                return self.sync_data(durability);
            }
        }
        self.tables.settle(self.mode, &mut self.space)?;
        let mut gone = self.space.settle()?;
        if self.header.size < self.committed.size {
            let end = self.geometry.clusters_for(self.files.main.len()?);
            gone.insert(self.space.counted_end()?..end);
        }
        self.header.l1 = self.tables.location();
        self.header.refcount_table = self.space.location();
        let header = self.header.serialize()?;
        self.tables.write()?;
        self.space.write()?;
        self.fit_length()?;
        match self.mode {
            Mode::InPlace => self.write_whole_header(header)?,
            Mode::Shadow => {
                let flip = Flip::prepare(&self.files.main, &self.header)?;
                self.sync(durability)?;
                flip.make()?;
                self.sync(durability)?;
            }
        }
        self.committed = self.header.clone();
        self.give_back(&gone)?;
        self.space.close_epoch(&gone);
        self.tables.guard(&mut self.space);
        self.guard_withheld();
        Ok(())
    }

    /// What was prepared and never linked is nobody's.
    pub(super) fn release_unlinked(&mut self) -> Result<()> {
        for run in std::mem::take(&mut self.prepared).iter() {
            let offset = self.geometry.host_offset(HostCluster(run.start));
            self.space.release(offset, (run.end - run.start) << self.geometry.cluster_bits)?;
        }
        Ok(())
    }

    /// Makes the file long enough that nothing that is referred to lies past its end, and no longer
    /// than it has to be.
    fn fit_length(&mut self) -> Result<()> {
        if std::mem::take(&mut self.grown_to) > 0 {
            self.files.main.set_len(self.space.end())?;
        }
        if self.files.main.len()? < self.content_end {
            self.files.main.set_len(self.content_end)?;
        }
        Ok(())
    }

    fn sync_data(&self, durability: Durability) -> Result<()> {
        match (&self.files.data, durability) {
            (Some(data), Durability::Durable) => Ok(data.sync()?),
            _ => Ok(()),
        }
    }

    fn sync(&self, durability: Durability) -> Result<()> {
        self.sync_data(durability)?;
        match durability {
            Durability::Durable => Ok(self.files.main.sync()?),
            Durability::Volatile => Ok(()),
        }
    }

    /// Writes the header and zeroes to the end of its cluster.
    fn write_whole_header(&self, mut header: Vec<u8>) -> Result<()> {
        header.resize(self.geometry.cluster_size() as usize, 0);
        self.files.main.write_at(0, &header).context(write_header_failed)
    }

    /// Gives clusters that nothing refers to back to the filesystem, from the end of the file, but for
    /// a reserve: as much as the session took itself, and no more than a part of the file. The next
    /// session finds its room there, where the filesystem need not be asked for it.
    fn give_back(&self, gone: &RangeSet) -> Result<()> {
        let offset = |cluster| self.geometry.host_offset(HostCluster(cluster)).0;
        let file_len = self.files.main.len()?;
        let reserve = self.space.taken().min(self.geometry.clusters_for(file_len) / RESERVED_PART);
        let mut excess = gone.total().saturating_sub(reserve);
        for run in gone.iter().rev() {
            let given = excess.min(run.end - run.start);
            excess -= given;
            let (start, end) = (offset(run.end - given), offset(run.end));
            self.files.main.retire(offset(run.start)..start);
            let start = if end >= file_len { start.max(self.content_end) } else { start };
            if start < end {
                self.files.main.release(start..end)?;
            }
        }
        Ok(())
    }
}

fn write_header_failed() -> String {
    "Could not write qcow2 header".into()
}
