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
/// Pages with changes that [`PageCache::set_spilling`] keeps.
const MAX_DIRTY: usize = 1024;

/// A table of `count` entries.
#[derive(Debug)]
pub(crate) struct PagedTable<E> {
    pages: PageCache<E>,
    at: u64,
    count: u64,
}

impl<E: FromBytes + IntoBytes + Immutable + Copy> PagedTable<E> {
    /// The table at an offset of a file, which is long enough to hold it. Changes are written to that disk.
    pub(crate) fn new(disk: Arc<dyn Disk>, at: u64, count: u64) -> Self {
        Self { pages: PageCache::new(disk), at, count }
    }

    /// How many entries it has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The page with an entry, and the entry's place in it.
    fn locate(&self, index: u64) -> (Page, usize) {
        let (page, within) = (index / PAGE_ENTRIES, (index % PAGE_ENTRIES) as usize);
        let len = self.count.saturating_sub(page * PAGE_ENTRIES).min(PAGE_ENTRIES) as usize;
        // Both factors are bounded by the length of the file.
        let start = page.saturating_mul(PAGE_ENTRIES).saturating_mul(size_of::<E>() as u64);
        (Page { at: self.at.saturating_add(start), len }, within)
    }

    /// An entry.
    pub(crate) fn get(&self, index: u64) -> Result<E> {
        let (page, within) = self.locate(index);
        self.pages.get(page, within)
    }

    /// Entries from one on, at most `max` of them and at least one: none after the page's last.
    pub(crate) fn run(&self, index: u64, max: u64) -> Result<Vec<E>> {
        let (page, within) = self.locate(index);
        let len = max.clamp(1, PAGE_ENTRIES) as usize;
        let found = self.pages.look(page, |entries| {
            let rest = entries.get(within..).filter(|rest| !rest.is_empty())?;
            Some(rest[..len.min(rest.len())].to_vec())
        })?;
        found.ok_or_else(out_of_range)
    }

    /// Changes an entry.
    pub(crate) fn set(&self, index: u64, entry: E) -> Result<()> {
        let (page, within) = self.locate(index);
        self.pages.set(page, within, entry)
    }

    /// Changes an entry, and writes what was changed if that is much: a table of small blocks may be larger than
    /// memory.
    pub(crate) fn set_spilling(&self, index: u64, entry: E) -> Result<()> {
        let (page, within) = self.locate(index);
        self.pages.set_spilling(page, within, entry)
    }

    /// Writes what was changed.
    pub(crate) fn flush(&self) -> Result<()> {
        self.pages.flush()
    }
}

/// A run of entries in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// Where it starts.
    pub(crate) at: u64,
    /// How many entries it has. Pages that start at one place are of one length.
    pub(crate) len: usize,
}

/// Runs of entries, read when they are asked for. Changes stay in memory until [`PageCache::flush`].
#[derive(Debug)]
pub(crate) struct PageCache<E> {
    disk: Arc<dyn Disk>,
    pages: Mutex<Pages<E>>,
}

/// Pages by where they start.
#[derive(Debug)]
struct Pages<E> {
    clean: HashMap<u64, Vec<E>>,
    dirty: BTreeMap<u64, Vec<E>>,
}

impl<E: FromBytes + IntoBytes + Immutable + Copy> PageCache<E> {
    /// Pages of a file. Changes are written to that disk.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        let pages = Pages { clean: HashMap::new(), dirty: BTreeMap::new() };
        Self { disk, pages: Mutex::new(pages) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages<E>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, page: Page) -> Result<Vec<E>> {
        let mut entries = vec![E::new_zeroed(); page.len];
        self.disk
            .read_padded(page.at, entries.as_mut_slice().as_mut_bytes())
            .context(|| "Could not read the block table".to_owned())?;
        Ok(entries)
    }

    /// Looks at a page.
    pub(crate) fn look<R>(&self, page: Page, look: impl FnOnce(&[E]) -> R) -> Result<R> {
        let mut pages = self.pages();
        if let Some(entries) = pages.dirty.get(&page.at).or_else(|| pages.clean.get(&page.at)) {
            return Ok(look(entries));
        }
        let entries = self.load(page)?;
        let seen = look(&entries);
        if pages.clean.len() >= MAX_CLEAN {
            pages.clean.clear();
        }
        pages.clean.insert(page.at, entries);
        Ok(seen)
    }

    /// An entry.
    pub(crate) fn get(&self, page: Page, within: usize) -> Result<E> {
        self.look(page, |entries| entries.get(within).copied())?.ok_or_else(out_of_range)
    }

    /// Changes an entry.
    pub(crate) fn set(&self, page: Page, within: usize, entry: E) -> Result<()> {
        let mut pages = self.pages();
        let mut entries = match pages.dirty.remove(&page.at).or_else(|| pages.clean.remove(&page.at)) {
            Some(entries) => entries,
            None => self.load(page)?,
        };
        let place = entries.get_mut(within).map(|place| *place = entry);
        pages.dirty.insert(page.at, entries);
        place.ok_or_else(out_of_range)
    }

    /// Changes an entry, and writes what was changed if that is much.
    pub(crate) fn set_spilling(&self, page: Page, within: usize, entry: E) -> Result<()> {
        self.set(page, within, entry)?;
        if self.pages().dirty.len() > MAX_DIRTY { self.flush() } else { Ok(()) }
    }

    /// Writes what was changed.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut pages = self.pages();
        while let Some((at, entries)) = pages.dirty.pop_first() {
            if let Err(error) = self.disk.write_at(at, entries.as_slice().as_bytes()) {
                pages.dirty.insert(at, entries);
                return Err(error.into());
            }
        }
        Ok(())
    }
}

fn out_of_range() -> Error {
    Error::corrupt("The block table has no entry for this block")
}

/// Words that are allocated together.
const CHUNK: usize = 512;

/// A set of small numbers. It takes memory where there are some, not where there could be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    /// Words without a chunk have no number.
    chunks: Vec<Option<Box<[u64; CHUNK]>>>,
    /// How many words there are.
    words: u64,
}

impl Bits {
    /// Whether no number can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// Numbers below `count` can be in it.
    pub(crate) fn new(count: u64) -> Self {
        let words = count.div_ceil(64);
        Self { chunks: vec![None; words.div_ceil(CHUNK as u64) as usize], words }
    }

    /// The word that a number is in.
    fn word(&self, number: u64) -> Option<u64> {
        let place = Some(number / 64).filter(|&place| place < self.words)? as usize;
        let chunk = self.chunks.get(place / CHUNK)?;
        Some(chunk.as_ref().map_or(0, |chunk| chunk[place % CHUNK]))
    }

    /// Whether a number is in it.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.word(number).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Puts a number in; whether it could be there and was not.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let Some(place) = Some(number / 64).filter(|&place| place < self.words) else { return false };
        let place = place as usize;
        let Some(chunk) = self.chunks.get_mut(place / CHUNK) else { return false };
        let word = &mut chunk.get_or_insert_with(|| Box::new([0; CHUNK]))[place % CHUNK];
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The first number from `start` on that is not in it; it may be one that cannot be.
    pub(crate) fn first_absent(&self, start: u64) -> u64 {
        let mut number = start;
        while let Some(word) = self.word(number) {
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

    #[test]
    fn numbers_far_apart_take_little_memory() {
        let mut bits = Bits::new(1 << 31);
        assert!(bits.insert(0) && bits.insert((1 << 31) - 1) && !bits.insert(1 << 31));
        assert!(bits.contains((1 << 31) - 1) && !bits.contains((1 << 31) - 2));
        assert_eq!((bits.first_absent((1 << 31) - 1), bits.first_absent(1 << 20)), (1 << 31, 1 << 20));
        assert_eq!(bits.chunks.iter().flatten().count(), 2);
    }
}
