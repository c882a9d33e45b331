//! Growing.
//!
//! Where the table meets the clusters, those that stand first go elsewhere in the file.

use zerocopy::IntoBytes;

use super::{Behind, Parallels};
use crate::resizable::{Grow, clear, copy};
use crate::{Durability, Result, Writer};

impl Grow for Parallels {
    fn can_grow(&self) -> bool {
        self.behind == Behind::Nothing
    }

    fn grow(&self, size: u64) -> Result<Self> {
        self.session().is_changed = true;
        self.commit(Durability::Volatile)?;
        let old = self.reload()?;
        let raw = old.raw.grown(size)?;
        let header = raw.parse(&self.name)?;
        old.clear_tail()?;
        let start = header.first_data();
        if start > old.data_start.at() {
            old.clear_way(start)?;
        }
        clear(&*self.in_place, old.header.table_end()..header.table_end())?;
        if self.in_place.len()? < start {
            self.in_place.set_len(start)?;
        }
        let raw = raw.with_data_at(start.max(old.data_start.at()));
        self.in_place.write_at(0, raw.as_bytes())?;
        self.reload()
    }
}

impl Parallels {
    /// What the last cluster has behind the disk's end must not show.
    fn clear_tail(&self) -> Result<()> {
        let size = self.header.cluster_size;
        let (last, within) = (self.header.size / size, self.header.size % size);
        if within == 0 || last >= self.header.entries.into() {
            return Ok(());
        }
        match self.header.host(self.entry(last)?) {
            Some(host) => clear(&*self.in_place, host + within..host + size),
            None => Ok(()),
        }
    }

    /// Moves the clusters that stand before a place of the file.
    fn clear_way(&self, start: u64) -> Result<()> {
        let mut found = Vec::new();
        self.visit(&mut |cluster, host| {
            if host < start {
                found.push((cluster, host));
            }
            Ok(())
        })?;
        let size = self.header.cluster_size;
        for (cluster, host) in found {
            let place = self.place_behind(start)?;
            if self.file.len()? < place + size {
                self.file.set_len(place + size)?;
            }
            copy(&*self.in_place, host, &*self.file, place, size)?;
            self.enter(cluster, place)?;
        }
        self.table.flush()
    }

    /// A free cluster of the file that is not before a place.
    fn place_behind(&self, start: u64) -> Result<u64> {
        loop {
            let (place, _) = self.session().space(self)?.take(1)?;
            if place >= start {
                return Ok(place);
            }
        }
    }
}
