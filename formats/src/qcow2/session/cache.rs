//! Tables in memory: refcount blocks and L2 tables, a bounded number of them.

use std::collections::HashMap;
use std::sync::Arc;

/// Tables by their index in the table above them, the least recently used ones leaving first.
#[derive(Debug)]
pub(super) struct Cache {
    slots: HashMap<usize, Slot>,
    capacity: usize,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    bytes: Arc<Vec<u8>>,
    dirty: bool,
    used: u64,
}

/// A table that must be written.
#[derive(Debug)]
pub(super) struct Dirty {
    pub(super) index: usize,
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Cache {
    /// A cache for about `budget` bytes of tables of `table_size` bytes, and for a few in any case.
    pub(super) fn new(budget: u64, table_size: u64) -> Self {
        let capacity = usize::try_from(budget / table_size).unwrap_or(usize::MAX).max(4);
        Self { slots: HashMap::new(), capacity, clock: 0 }
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&Arc<Vec<u8>>> {
        self.clock += 1;
        let slot = self.slots.get_mut(&index)?;
        slot.used = self.clock;
        Some(&slot.bytes)
    }

    /// The table for changing, which makes it dirty.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Vec<u8>> {
        self.clock += 1;
        let slot = self.slots.get_mut(&index)?;
        slot.used = self.clock;
        slot.dirty = true;
        Some(Arc::make_mut(&mut slot.bytes))
    }

    /// Keeps a table that equals what is in the file.
    pub(super) fn insert(&mut self, index: usize, bytes: Vec<u8>) {
        self.clock += 1;
        self.slots.insert(index, Slot { bytes: Arc::new(bytes), dirty: false, used: self.clock });
    }

    /// Marks a table as differing from the file.
    pub(super) fn touch(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(&index) {
            slot.dirty = true;
        }
    }

    /// If the cache is full, takes its older half out and returns what of that must be written.
    pub(super) fn shed(&mut self) -> Vec<Dirty> {
        if self.slots.len() < self.capacity {
            return Vec::new();
        }
        let mut ages: Vec<_> = self.slots.iter().map(|(&index, slot)| (slot.used, index)).collect();
        ages.sort_unstable();
        ages.truncate(ages.len() / 2);
        let mut dirty = Vec::new();
        for (_, index) in ages {
            if let Some(slot) = self.slots.remove(&index)
                && slot.dirty
            {
                dirty.push(Dirty { index, bytes: slot.bytes });
            }
        }
        dirty
    }

    /// Everything that must be written. It stays in the cache, clean.
    pub(super) fn clean(&mut self) -> Vec<Dirty> {
        let mut dirty = Vec::new();
        for (&index, slot) in &mut self.slots {
            if std::mem::take(&mut slot.dirty) {
                dirty.push(Dirty { index, bytes: Arc::clone(&slot.bytes) });
            }
        }
        dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_and_the_dirty_are_handed_over() {
        let mut cache = Cache::new(4096, 1024);
        for index in 0..4 {
            assert!(cache.shed().is_empty());
            cache.insert(index, vec![index as u8; 1024]);
        }
        cache.get_mut(1).unwrap()[0] = 9;
        assert!(cache.get(0).is_some());
        cache.get_mut(2).unwrap()[0] = 7;
        let shed = cache.shed();
        assert_eq!(shed.len(), 1, "of the two oldest, 3 and 1, only 1 is dirty");
        assert_eq!((shed[0].index, shed[0].bytes[0]), (1, 9));
        assert!(cache.get(3).is_none() && cache.get(0).is_some());
        let dirty = cache.clean();
        assert_eq!((dirty.len(), dirty[0].index), (1, 2));
        assert!(cache.clean().is_empty());
    }
}
