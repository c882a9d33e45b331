//! Tables of two levels: one with the places of tables, which have the places of clusters.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Disk;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Result;
use crate::paged_table::{PAGE_ENTRIES, PagedTable};

/// Bytes of second-level tables that are kept.
const KEPT: u64 = 16 << 20;
/// What a table keeps at most.
const KEPT_OF_ONE: u64 = 8 << 20;

/// The tables of an image. Changes stay in memory until [`TwoLevel::flush`], or until they are many.
#[derive(Debug)]
pub(crate) struct TwoLevel<E> {
    /// For tables that the committed image does not have.
    file: Arc<dyn Disk>,
    /// For those that it has.
    in_place: Arc<dyn Disk>,
    l1: PagedTable<E>,
    /// Entries of a second-level table.
    l2_entries: u64,
    tables: Mutex<Tables<E>>,
}

#[derive(Debug)]
struct Tables<E> {
    open: HashMap<u64, PagedTable<E>>,
    /// Where those are that the committed image does not have.
    fresh: HashSet<u64>,
}

/// Where the first-level table is, and how large both are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Where the first-level table is in the file.
    pub(crate) l1_offset: u64,
    /// Its entries.
    pub(crate) l1_entries: u64,
    /// Entries of a second-level table.
    pub(crate) l2_entries: u64,
}

impl<E: FromBytes + IntoBytes + Immutable + Copy> TwoLevel<E> {
    /// The tables of an image in a file, and in what replaces a part of it.
    pub(crate) fn new(file: Arc<dyn Disk>, in_place: Arc<dyn Disk>, shape: Shape) -> Self {
        let l1 = PagedTable::new(Arc::clone(&in_place), shape.l1_offset, shape.l1_entries);
        let tables = Mutex::new(Tables { open: HashMap::new(), fresh: HashSet::new() });
        Self { file, in_place, l1, l2_entries: shape.l2_entries, tables }
    }

    /// An entry of the first level.
    pub(crate) fn l1(&self, index: u64) -> Result<E> {
        self.l1.get(index)
    }

    /// Entries of the first level from one on, at most `max` of them and at least one.
    pub(crate) fn l1_run(&self, index: u64, max: u64) -> Result<Vec<E>> {
        self.l1.run(index, max)
    }

    /// Changes an entry of the first level.
    pub(crate) fn set_l1(&self, index: u64, entry: E) -> Result<()> {
        self.l1.set(index, entry)
    }

    /// Takes note of a new second-level table, whose place in the file reads as zeroes.
    pub(crate) fn add(&self, at: u64) {
        self.tables().fresh.insert(at);
    }

    /// Entries of the table at `at` from one on, at most `max` of them and at least one.
    pub(crate) fn run(&self, at: u64, index: u64, max: u64) -> Result<Vec<E>> {
        self.with(at, |table| table.run(index, max))
    }

    /// Changes entries of the table at `at`.
    pub(crate) fn set(&self, at: u64, indices: Range<u64>, entry: impl Fn(u64) -> E) -> Result<()> {
        self.with(at, |table| indices.into_iter().try_for_each(|index| table.set(index, entry(index))))
    }

    /// Writes what was changed. From then on the committed image has every table.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut tables = self.tables();
        tables.open.values().try_for_each(PagedTable::flush)?;
        tables.open.clear();
        tables.fresh.clear();
        self.l1.flush()
    }

    fn tables(&self) -> MutexGuard<'_, Tables<E>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, at: u64, work: impl FnOnce(&PagedTable<E>) -> Result<T>) -> Result<T> {
        let mut tables = self.tables();
        let Tables { open, fresh } = &mut *tables;
        if !open.contains_key(&at) {
            if open.len() as u64 >= self.max_open() {
                open.values().try_for_each(PagedTable::flush)?;
                open.clear();
            }
            let disk = if fresh.contains(&at) { &self.file } else { &self.in_place };
            open.insert(at, PagedTable::new(Arc::clone(disk), at, self.l2_entries));
        }
        match open.get(&at) {
            Some(table) => work(table),
            // It has just been put there.
            None => work(&PagedTable::new(Arc::clone(&self.in_place), at, self.l2_entries)),
        }
    }

    /// How many second-level tables are kept.
    fn max_open(&self) -> u64 {
        let bytes = self.l2_entries.min(PAGE_ENTRIES * 256).saturating_mul(size_of::<E>() as u64);
        (KEPT / bytes.clamp(1, KEPT_OF_ONE)).max(2)
    }
}
