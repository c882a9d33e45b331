//! Whether a QED image's tables are consistent, and making them so.

use std::collections::BTreeMap;

use zerocopy::little_endian::U64;

use super::header::Header;
use super::{Qed, ZERO};
use crate::{CheckReport, Repair, Result};

/// A look at all tables. A repair takes out what cannot be right, whatever it may repair.
pub(super) struct Examination<'a> {
    image: &'a Qed,
    header: Header,
    repair: Option<Repair>,
    used: ClusterSet,
    report: CheckReport,
}

impl<'a> Examination<'a> {
    pub(super) fn new(image: &'a Qed, repair: Option<Repair>) -> Self {
        let header = image.session().header;
        Self { image, header, repair, used: ClusterSet::default(), report: CheckReport::default() }
    }

    /// Looks, and repairs.
    pub(super) fn run(mut self) -> Result<CheckReport> {
        let size = self.header.cluster_size();
        self.report.total_clusters = self.header.size().div_ceil(size);
        self.mark(self.header.l1_offset(), self.header.table_len());
        let entries = self.header.entries();
        let mut index = 0;
        while index < entries {
            let run = self.image.tables.l1_run(index, entries - index)?;
            for (number, entry) in (index..).zip(&run) {
                self.table(number, entry.get())?;
            }
            index += run.len() as u64;
        }
        let clusters = self.header.file_size / size;
        let headers = self.header.header_len() / size;
        self.report.leaks = clusters.saturating_sub(headers).saturating_sub(self.used.count);
        Ok(self.report)
    }

    /// Looks at a second-level table.
    fn table(&mut self, l1_index: u64, at: u64) -> Result<()> {
        if at == 0 {
            return Ok(());
        }
        if !self.header.is_table_offset(at) {
            if self.found() {
                self.image.tables.set_l1(l1_index, U64::new(0))?;
            }
            return Ok(());
        }
        if !self.mark(at, self.header.table_len()) {
            return Ok(());
        }
        let entries = self.header.entries();
        let (mut index, mut last) = (0, 0);
        while index < entries {
            let run = self.image.tables.run(at, index, entries - index)?;
            for (number, entry) in (index..).zip(&run) {
                self.cluster(at, number, entry.get(), &mut last)?;
            }
            index += run.len() as u64;
        }
        Ok(())
    }

    fn cluster(&mut self, table: u64, index: u64, host: u64, last: &mut u64) -> Result<()> {
        if matches!(host, 0 | ZERO) {
            return Ok(());
        }
        let size = self.header.cluster_size();
        self.report.allocated_clusters += 1;
        if *last != 0 && last.checked_add(size) != Some(host) {
            self.report.fragmented_clusters += 1;
        }
        *last = host;
        if self.header.is_cluster_offset(host) {
            self.mark(host, size);
        } else if self.found() {
            self.image.tables.set(table, index..index + 1, |_| U64::new(0))?;
        }
        Ok(())
    }

    /// Counts an entry that cannot be right; whether it is taken out.
    fn found(&mut self) -> bool {
        match self.repair {
            Some(_) => self.report.corruptions_fixed += 1,
            None => self.report.corruptions += 1,
        }
        self.repair.is_some()
    }

    /// Takes note that clusters are in use; whether none was before.
    fn mark(&mut self, at: u64, len: u64) -> bool {
        let size = self.header.cluster_size();
        let clusters = at / size..(at + len) / size;
        let twice = clusters.filter(|&cluster| !self.used.insert(cluster)).count() as u64;
        self.report.corruptions += twice;
        twice == 0
    }
}

/// Clusters of a file that may be sparse and huge.
#[derive(Debug, Default)]
struct ClusterSet {
    words: BTreeMap<u64, [u64; 64]>,
    count: u64,
}

impl ClusterSet {
    /// Puts a cluster in; whether it was not there.
    fn insert(&mut self, cluster: u64) -> bool {
        let words = self.words.entry(cluster / 4096).or_insert([0; 64]);
        let (word, bit) = ((cluster % 4096 / 64) as usize, 1 << (cluster % 64));
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }
}
