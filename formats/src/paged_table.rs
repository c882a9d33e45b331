//! A flat table of entries in a file, as formats have it that keep one entry for each block.
//!
//! Pages are read when they are asked for. Changes stay in memory until [`PagedTable::flush`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Disk;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::ResultExt;
use crate::{Error, Result};

/// Entries in a page.
pub(crate) const PAGE_ENTRIES: u64 = 4096;
/// Pages without changes that are kept.
const MAX_CLEAN: usize = 256;
/// Pages with changes that [`PagedTable::set_spilling`] keeps.
const MAX_DIRTY: usize = 1024;

/// A table of `count` entries.
#[derive(Debug)]
pub(crate) struct PagedTable<E> {
    disk: Arc<dyn Disk>,
    at: u64,
    count: u64,
    pages: Mutex<Pages<E>>,
}

#[derive(Debug)]
struct Pages<E> {
    clean: HashMap<u64, Vec<E>>,
    dirty: BTreeMap<u64, Vec<E>>,
}

impl<E: FromBytes + IntoBytes + Immutable + Copy> PagedTable<E> {
    /// The table at an offset of a file, which is long enough to hold it. Changes are written to that disk.
    pub(crate) fn new(disk: Arc<dyn Disk>, at: u64, count: u64) -> Self {
        let pages = Pages { clean: HashMap::new(), dirty: BTreeMap::new() };
        Self { disk, at, count, pages: Mutex::new(pages) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages<E>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self, page: u64) -> u64 {
        // Both factors are bounded by the length of the file.
        self.at.saturating_add(page.saturating_mul(PAGE_ENTRIES).saturating_mul(size_of::<E>() as u64))
    }

    fn load(&self, page: u64) -> Result<Vec<E>> {
        let len = self.count.saturating_sub(page * PAGE_ENTRIES).min(PAGE_ENTRIES);
        let mut entries = vec![E::new_zeroed(); len as usize];
        self.disk
            .read_padded(self.offset(page), entries.as_mut_slice().as_mut_bytes())
            .context(|| "Could not read the block table".to_owned())?;
        Ok(entries)
    }

    /// An entry.
    pub(crate) fn get(&self, index: u64) -> Result<E> {
        let within = (index % PAGE_ENTRIES) as usize;
        self.with_page(index / PAGE_ENTRIES, |entries| entries.get(within).copied())
    }

    /// Entries from one on, at most `max` of them and at least one: none after the page's last.
    pub(crate) fn run(&self, index: u64, max: u64) -> Result<Vec<E>> {
        let within = (index % PAGE_ENTRIES) as usize;
        let len = max.clamp(1, PAGE_ENTRIES) as usize;
        self.with_page(index / PAGE_ENTRIES, |entries| {
            let rest = entries.get(within..).filter(|rest| !rest.is_empty())?;
            Some(rest[..len.min(rest.len())].to_vec())
        })
    }

    fn with_page<T>(&self, page: u64, work: impl FnOnce(&[E]) -> Option<T>) -> Result<T> {
        let mut pages = self.pages();
        if let Some(entries) = pages.dirty.get(&page).or_else(|| pages.clean.get(&page)) {
            return work(entries).ok_or_else(out_of_range);
        }
        let entries = self.load(page)?;
        let found = work(&entries).ok_or_else(out_of_range);
        if pages.clean.len() >= MAX_CLEAN {
            pages.clean.clear();
        }
        pages.clean.insert(page, entries);
        found
    }

    /// Changes an entry.
    pub(crate) fn set(&self, index: u64, entry: E) -> Result<()> {
        let (page, within) = (index / PAGE_ENTRIES, (index % PAGE_ENTRIES) as usize);
        let mut pages = self.pages();
        let mut entries = match pages.dirty.remove(&page).or_else(|| pages.clean.remove(&page)) {
            Some(entries) => entries,
            None => self.load(page)?,
        };
        let place = entries.get_mut(within).map(|place| *place = entry);
        pages.dirty.insert(page, entries);
        place.ok_or_else(out_of_range)
    }

    /// Changes an entry, and writes what was changed if that is much: a table of small blocks may be larger than
    /// memory.
    pub(crate) fn set_spilling(&self, index: u64, entry: E) -> Result<()> {
        self.set(index, entry)?;
        if self.pages().dirty.len() > MAX_DIRTY { self.flush() } else { Ok(()) }
    }

    /// Writes what was changed.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut pages = self.pages();
        while let Some((page, entries)) = pages.dirty.pop_first() {
            if let Err(error) = self.disk.write_at(self.offset(page), entries.as_slice().as_bytes()) {
                pages.dirty.insert(page, entries);
                return Err(error.into());
            }
        }
        Ok(())
    }
}

fn out_of_range() -> Error {
    Error::corrupt("The block table has no entry for this block")
}

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Whether no number can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Numbers below `count` can be in it.
    pub(crate) fn new(count: u64) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize] }
    }

    /// Whether a number is in it.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|place| self.words.get(place));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Puts a number in; whether it could be there and was not.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let place = usize::try_from(number / 64).ok().and_then(|place| self.words.get_mut(place));
        let Some(word) = place else { return false };
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The first number from `start` on that is not in it; it may be one that cannot be.
    pub(crate) fn first_absent(&self, start: u64) -> u64 {
        let mut number = start;
        while let Some(word) = self.words.get((number / 64) as usize) {
            let ones = u64::from((word >> (number % 64)).trailing_ones());
            if ones < 64 - number % 64 {
                return number + ones;
            }
            number = (number / 64 + 1) * 64;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_numbers_are_found() {
        let mut bits = Bits::new(200);
        assert_eq!(bits.first_absent(7), 7);
        for number in 0..130 {
            assert!(bits.insert(number));
        }
        assert!(!bits.insert(129) && !bits.insert(256));
        assert!(bits.contains(129) && !bits.contains(130) && !bits.contains(9999));
        assert_eq!((bits.first_absent(0), bits.first_absent(64), bits.first_absent(131)), (130, 130, 131));
    }
}
