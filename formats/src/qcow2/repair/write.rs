//! From the plan to the file.

use journal::RangeSet;

use super::Plan;
use super::tables::Users;
use crate::error::ResultExt;
use crate::qcow2::entry::L1Entry;
use crate::qcow2::flip::Flip;
use crate::qcow2::geometry::HostCluster;
use crate::qcow2::table::read_l1;
use crate::{HostOffset, Result};

impl Plan<'_> {
    /// Writes what is new, makes it durable, flips the header, and gives back what is free.
    pub(super) fn write(&self) -> Result<()> {
        let main = self.image.file();
        let old_len = main.len()?;
        let flip = self.write_new().inspect_err(|_| {
            // What was added is not referred to by anything; that it is cut off is only tidy.
            if main.len().is_ok_and(|len| len > old_len) {
                drop(main.set_len(old_len));
            }
        })?;
        flip.make()?;
        main.sync()?;
        self.release()
    }

    fn write_new(&self) -> Result<Flip> {
        let main = self.image.file();
        self.write_tables()?;
        self.write_refcounts()?;
        self.lengthen_file()?;
        let flip = Flip::prepare(main, &self.header)?;
        main.sync()?;
        Ok(flip)
    }

    /// Makes the file as long as the references need it that are not written anew.
    fn lengthen_file(&self) -> Result<()> {
        let main = self.image.file();
        let len = self.geometry.host_offset(HostCluster(self.places.end())).0;
        if self.places.end() > self.remedy.end && main.len()? < len {
            main.set_len(len)?;
        }
        Ok(())
    }

    fn write_tables(&self) -> Result<()> {
        for (&offset, moved) in &self.tables {
            self.put(moved.place, self.repaired_table(offset, moved)?)?;
        }
        if self.l1_moves {
            self.put_l1(self.header.l1.offset, &self.l1, Users::Active)?;
        }
        for (&index, &location) in &self.snapshot_l1 {
            let l1 = read_l1(&**self.image.file(), location)?;
            if let Some(snapshot) = self.remedy.snapshots.snapshots.get(index) {
                self.put_l1(snapshot.l1.offset, &l1, Users::Snapshots)?;
            }
        }
        if self.snapshots_move && self.header.snapshots.count > 0 {
            let place = self.geometry.host_cluster(self.header.snapshots.offset).0;
            self.put(place, self.remedy.snapshots.serialize())?;
        }
        Ok(())
    }

    fn put_l1(&self, place: HostOffset, l1: &[L1Entry], users: Users) -> Result<()> {
        let entries = l1.iter().map(|&entry| self.repaired_l1_entry(entry, users));
        let bytes = entries.flat_map(|entry| entry.0.to_be_bytes()).collect();
        self.put(self.geometry.host_cluster(place).0, bytes)
    }

    fn write_refcounts(&self) -> Result<()> {
        for (&index, &place) in &self.blocks {
            self.put(place, self.new_block(index)?)?;
        }
        if self.blocks.is_empty() {
            return Ok(());
        }
        let bytes = self.refcount_table.iter().flat_map(|entry| entry.0.to_be_bytes()).collect();
        self.put(self.geometry.host_cluster(self.header.refcount_table.offset).0, bytes)
    }

    /// Writes whole clusters, filled up with zeroes.
    fn put(&self, cluster: u64, mut bytes: Vec<u8>) -> Result<()> {
        bytes.resize((bytes.len() as u64).max(1).next_multiple_of(self.geometry.cluster_size()) as usize, 0);
        let offset = self.geometry.host_offset(HostCluster(cluster));
        let written = self.image.file().write_at(offset.0, &bytes);
        written.context(|| "Could not write the repaired metadata".into())
    }

    /// Gives back the space of clusters that nothing refers to any more.
    fn release(&self) -> Result<()> {
        let mut free = RangeSet::default();
        let left = self.remedy.structures.iter().copied();
        let candidates = self.vacated.iter().chain(self.remedy.leaked.iter()).flatten().chain(left);
        for cluster in candidates.filter(|&cluster| self.counts().get(cluster) == 0) {
            free.insert(cluster..cluster + 1);
        }
        for run in free.iter().rev() {
            let offset = |cluster| self.geometry.host_offset(HostCluster(cluster)).0;
            self.image.file().release(offset(run.start)..offset(run.end))?;
        }
        Ok(())
    }
}
