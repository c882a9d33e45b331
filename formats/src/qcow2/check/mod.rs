//! Consistency of an image's metadata.
//!
//! ```text
//!   snapshots   read the snapshot table, which opening left alone
//!   references  walk everything that refers to clusters; count ──► counts
//!   blocks      refcount blocks: sound themselves?
//!   compare     counted references against the file's refcounts
//!   copied      "copied" flags against the file's refcounts
//!
//!   diagnosis   the same for a repair: what is to be changed ──► Remedy
//! ```
//!
//! The order of phases, and of findings within them, is QEMU's: its users compare the text.
//! Nothing is changed here. Where a repair is asked for, the phases tell what QEMU's repair tells,
//! and go on as if each thing were repaired at once; the repair itself is [`super::repair`].

mod blocks;
mod compare;
mod copied;
mod counts;
mod diagnosis;
mod references;
mod snapshots;
mod spare;

use std::collections::HashSet;
use std::fmt;

use journal::RangeSet;

use self::compare::Pass;
pub(super) use self::counts::Counts;
pub(super) use self::diagnosis::{Diagnosis, Remedy, diagnose};
use self::references::SharedTables;
pub(super) use self::references::mended;
use self::spare::Outside;
use super::Qcow2;
use super::entry::RefcountTableEntry;
use super::geometry::{Geometry, HostCluster};
use super::refcount::RefcountWidth;
use crate::driver::Finding;
use crate::{CheckReport, Error, ErrorKind, HostOffset, Repair, Result};

/// Most clusters that a file may have.
const MAX_CLUSTERS: u64 = i32::MAX as u64;
/// Most table entries that are looked at: an image whose tables share each other many times over
/// is damage, not data, and must not take days.
const MAX_WORK: u64 = 1 << 32;
/// What a finding costs in table entries.
const LINE_WORK: u64 = 1024;
/// Bytes of a sector; a file's length counts in whole ones.
const SECTOR: u64 = 512;

/// Checks an image.
pub fn check(image: &Qcow2, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
    let mut check = Check::new(image, None, tell)?;
    let snapshots = check.read_snapshots()?;
    let snapshot_corruptions = std::mem::take(&mut check.report.corruptions);
    check.count_references(&snapshots)?;
    check.check_blocks()?;
    let highest = check.compare(Pass::Look)?;
    check.check_copied()?;
    let mut report = check.report;
    report.corruptions += snapshot_corruptions;
    report.image_end_offset = Some((highest.0 + 1) << image.geometry().cluster_bits);
    Ok(report)
}

/// Whether a region that ends there reaches so far behind the end of a file that it does not count.
///
/// The last cluster of an image may reach past the end of the file, but not start there. Offsets of
/// 63 bits and more wrap as they do in QEMU.
pub(super) fn is_outside(geometry: &Geometry, end: u64, file_len: u64) -> bool {
    end.wrapping_sub(file_len) as i64 >= geometry.cluster_size() as i64
}

/// A check on its way.
struct Check<'a> {
    image: &'a Qcow2,
    geometry: Geometry,
    /// What is repaired.
    repair: Option<Repair>,
    tell: &'a mut dyn FnMut(Finding),
    report: CheckReport,
    /// The file's length in whole sectors.
    file_len: u64,
    /// Clusters of the file, the one it ends in included.
    real_clusters: u64,
    /// References found; from [`Check::compare`] on, the file's own refcounts.
    counts: Counts,
    /// The refcount table.
    refcount_table: Vec<RefcountTableEntry>,
    width: RefcountWidth,
    /// Refcount blocks that cannot be read.
    unknown_blocks: HashSet<u64>,
    /// Whether the user was told already that the image is corrupt.
    corruption_told: bool,
    /// L2 tables that were found again.
    shared: SharedTables,
    /// Whether the refcount structures are beyond repair.
    rebuild: bool,
    /// Whether they count as made anew, so that all counts are right.
    rebuilt: bool,
    /// Clusters that hold the refcount table or a block, once for each time.
    structures: Vec<u64>,
    /// L2 tables with entries that count as [`mended`].
    mended: HashSet<HostOffset>,
    /// L2 tables whose "copied" flags count as repaired.
    flagged: HashSet<HostOffset>,
    /// Whether flags in the active L1 table are repaired.
    l1_flagged: bool,
    /// Whether wrong "copied" flags count as repaired.
    flags_repaired: bool,
    /// References that lead behind the end of the file.
    outside: Outside,
    /// Clusters with refcounts and without references, as many as it is worth to note.
    leaked: RangeSet,
    /// Findings told.
    told: u64,
    work: u64,
}

impl<'a> Check<'a> {
    fn new(image: &'a Qcow2, repair: Option<Repair>, tell: &'a mut dyn FnMut(Finding)) -> Result<Self> {
        let geometry = *image.geometry();
        let file_len = image.file().len()?.next_multiple_of(SECTOR);
        let clusters = geometry.clusters_for(file_len);
        if clusters > MAX_CLUSTERS {
            return Err(Error::new(ErrorKind::TooLarge, "File too large"));
        }
        let total_clusters = geometry.clusters_for(image.header().virtual_size());
        Ok(Self {
            image,
            geometry,
            repair,
            tell,
            report: CheckReport { total_clusters, ..CheckReport::default() },
            file_len,
            real_clusters: clusters,
            counts: Counts::new(clusters, geometry.refcount_max()),
            refcount_table: image.read_refcount_table(u64::MAX)?,
            width: image.refcount_width(),
            unknown_blocks: HashSet::new(),
            corruption_told: false,
            shared: SharedTables::default(),
            rebuild: false,
            rebuilt: false,
            structures: Vec::new(),
            mended: HashSet::new(),
            flagged: HashSet::new(),
            l1_flagged: false,
            flags_repaired: false,
            outside: Outside::default(),
            leaked: RangeSet::default(),
            told: 0,
            work: 0,
        })
    }

    /// Tells a line.
    fn line(&mut self, line: impl Into<String>) {
        self.told += 1;
        self.work = self.work.saturating_add(LINE_WORK);
        (self.tell)(Finding::Line(line.into()));
    }

    /// Tells a line of damage, and counts it.
    fn corruption(&mut self, line: impl Into<String>) {
        self.report.corruptions += 1;
        self.line(line);
    }

    /// Tells a line of damage that counts as repaired if `repaired`, and counts it.
    fn damage(&mut self, repaired: bool, line: impl fmt::Display) {
        if repaired {
            self.report.corruptions_fixed += 1;
            self.line(format!("Repairing {line}"));
        } else {
            self.corruption(format!("ERROR {line}"));
        }
    }

    /// Whether everything is to be repaired.
    fn repairs_all(&self) -> bool {
        self.repair == Some(Repair::All)
    }

    /// Accounts for table entries that are about to be looked at.
    fn spend(&mut self, entries: u64) -> Result<()> {
        self.work = self.work.saturating_add(entries);
        if self.work > MAX_WORK {
            return Err(Error::new(ErrorKind::TooLarge, "The image's tables refer to each other too often"));
        }
        Ok(())
    }

    /// Counts one reference to each cluster of a region of the file; answers whether it did.
    fn mark(&mut self, offset: HostOffset, len: u64) -> Result<bool> {
        if len == 0 {
            return Ok(false);
        }
        let end = offset.0.wrapping_add(len);
        if is_outside(&self.geometry, end, self.file_len) {
            self.note_dangling(offset, len);
            self.corruption(format!(
                "ERROR: counting reference for region exceeding the end of the file by one cluster or more: \
                 offset {:#x} size {len:#x}",
                offset.0
            ));
            return Ok(false);
        }
        if offset.0 > i64::MAX as u64 {
            self.report.check_errors += 1;
            return Err(Error::new(ErrorKind::TooLarge, "Cannot allocate memory"));
        }
        let first = self.geometry.host_cluster(offset).0;
        let last = self.geometry.host_cluster(HostOffset(end - 1)).0;
        self.mark_clusters(first, last + 1 - first);
        Ok(true)
    }

    /// The same for a part of the refcount structures.
    fn mark_structure(&mut self, offset: HostOffset, len: u64) -> Result<()> {
        if self.mark(offset, len)? {
            let first = self.geometry.host_cluster(offset).0;
            self.structures.extend(first..first + self.geometry.clusters_for(len));
        }
        Ok(())
    }

    /// Counts one reference to each of a run of clusters that are known to be in the file.
    fn mark_clusters(&mut self, first: u64, count: u64) {
        for cluster in self.counts.add_run(first, count) {
            self.overflow(HostCluster(cluster));
        }
    }

    /// How much of a table is within the file; the rest of it is zeroes.
    fn within_file(&self, offset: HostOffset, len: u64) -> u64 {
        len.min(self.file_len.saturating_sub(offset.0))
    }

    /// Reads a table, with zeroes for what lies past the end of the file.
    fn read(&self, offset: HostOffset, buffer: &mut [u8]) -> Result<()> {
        if offset.0 > i64::MAX as u64 - buffer.len() as u64 {
            return Err(Error::corrupt("Input/output error"));
        }
        Ok(self.image.file().read_padded(offset.0, buffer)?)
    }

    /// Tells of a reference that the refcount's width cannot count.
    fn overflow(&mut self, cluster: HostCluster) {
        let offset = self.geometry.host_offset(cluster);
        self.corruption(format!("ERROR: overflow cluster offset={:#x}", offset.0));
        self.line(
            "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean copy \
             if the image cannot be opened for writing",
        );
    }
}
