//! L2 tables that were read lately, a bounded number of bytes of them.
//!
//! Tables are kept in two generations: what is used moves to the young one, and when that is full
//! it becomes the old one and the old one goes. All of it is constant time, whatever the image's
//! tables look like.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use journal::Disk;

use super::entry::L1Entry;
use super::geometry::Geometry;
use super::table::L2Table;
use crate::{HostOffset, Result};

/// Memory for tables, both generations together.
const BUDGET: u64 = 16 << 20;
/// Tables that follow one another in the file are read together, up to this many bytes.
const READ_AHEAD: u64 = 256 << 10;

/// A cache of unchanged L2 tables by their place in the file, for any number of threads.
#[derive(Debug)]
pub struct L2Cache {
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    young: HashMap<HostOffset, L2Table>,
    old: HashMap<HostOffset, L2Table>,
    /// Most tables in one generation.
    limit: usize,
}

impl L2Cache {
    /// An empty cache.
    pub fn new(geometry: &Geometry) -> Self {
        let limit = (BUDGET / 2 / geometry.cluster_size()).max(2) as usize;
        let generations = Generations { young: HashMap::new(), old: HashMap::new(), limit };
        Self { generations: Mutex::new(generations) }
    }

    /// The table behind `l1[index]`, from the cache or from the file.
    ///
    /// Reads the tables of the entries behind it along if they stand behind it in the file.
    pub fn get(
        &self,
        disk: &dyn Disk,
        geometry: &Geometry,
        l1: &[L1Entry],
        index: usize,
    ) -> Result<Option<L2Table>> {
        let Some(offset) = l1.get(index).copied().unwrap_or_default().table() else { return Ok(None) };
        if let Some(table) = self.lock().get(offset) {
            return Ok(Some(table));
        }
        let size = geometry.cluster_size();
        let wanted = (READ_AHEAD / size).max(1) as usize;
        let follows =
            |at: usize| l1[index + at].table().map(|next| next.0) == offset.0.checked_add(at as u64 * size);
        let count = (1..wanted.min(l1.len() - index)).take_while(|&at| follows(at)).count() + 1;
        let mut bytes = vec![0; count * size as usize];
        disk.read_padded(offset.0, &mut bytes)?;

        let mut first = None;
        let mut generations = self.lock();
        for (number, table) in bytes.chunks_exact(size as usize).enumerate().rev() {
            let table = L2Table::new(table.to_vec());
            generations.put(offset + number as u64 * size, table.clone());
            first = Some(table);
        }
        Ok(first)
    }

    /// Forgets everything: the tables in the file have changed.
    pub fn clear(&self) {
        let mut generations = self.lock();
        generations.young.clear();
        generations.old.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        // A panic while the lock was held cannot leave the maps half-changed.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&mut self, offset: HostOffset) -> Option<L2Table> {
        if let Some(table) = self.young.get(&offset) {
            return Some(table.clone());
        }
        let table = self.old.remove(&offset)?;
        self.put(offset, table.clone());
        Some(table)
    }

    fn put(&mut self, offset: HostOffset, table: L2Table) {
        if self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(offset, table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_used() {
        let mut generations = Generations { young: HashMap::new(), old: HashMap::new(), limit: 4 };
        let kept = HostOffset(7 << 16);
        generations.put(kept, L2Table::new(vec![7]));
        for number in 100..200 {
            generations.put(HostOffset(number << 16), L2Table::new(vec![1]));
            assert!(generations.get(kept).is_some());
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert!(generations.get(HostOffset(100 << 16)).is_none());
    }
}
