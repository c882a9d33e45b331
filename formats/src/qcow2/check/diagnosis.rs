//! What a repair has to change, found out by checking.

use std::collections::HashSet;

use journal::RangeSet;

use super::compare::Pass;
use super::references::SharedTables;
use super::spare::Outside;
use super::{Check, Counts};
use crate::driver::Finding;
use crate::qcow2::Qcow2;
use crate::qcow2::entry::RefcountTableEntry;
use crate::qcow2::snapshot::SnapshotTable;
use crate::{CheckReport, Error, HostOffset, Repair, Result};

/// What was found, and what to do about it.
#[derive(Debug)]
pub(in crate::qcow2) struct Diagnosis {
    /// The figures after the repair.
    pub(in crate::qcow2) report: CheckReport,
    /// What is to be changed, or why nothing can be.
    pub(in crate::qcow2) remedy: Result<Remedy>,
}

/// What is to be changed.
#[derive(Debug)]
pub(in crate::qcow2) struct Remedy {
    /// The count that each cluster is to have.
    pub(in crate::qcow2) counts: Counts,
    /// Whether counts differ from the file's.
    pub(in crate::qcow2) recount: bool,
    /// The refcount table as it stands; nothing if the refcount structures are to be made anew.
    pub(in crate::qcow2) refcount_table: Option<Vec<RefcountTableEntry>>,
    /// Where the table and its blocks are now, which must not be overwritten.
    pub(in crate::qcow2) structures: Vec<u64>,
    /// L2 tables with entries that are to be [`super::mended`].
    pub(in crate::qcow2) mended: HashSet<HostOffset>,
    /// L2 tables with "copied" flags that are to be corrected.
    pub(in crate::qcow2) flagged: HashSet<HostOffset>,
    /// Whether such flags in the L1 table are.
    pub(in crate::qcow2) l1_flagged: bool,
    /// Whether all flags are.
    pub(in crate::qcow2) repairs_flags: bool,
    /// Whether more than leaks is repaired.
    pub(in crate::qcow2) repairs_all: bool,
    /// The snapshots.
    pub(in crate::qcow2) snapshots: SnapshotTable,
    /// Whether their table is to be written anew.
    pub(in crate::qcow2) rewrite_snapshots: bool,
    /// Whether nothing is wrong any more: the image is neither dirty nor corrupt then.
    pub(in crate::qcow2) sound: bool,
    /// Clusters whose space is not needed any more if their count is 0.
    pub(in crate::qcow2) leaked: RangeSet,
    /// Clusters inside the file that may be written to.
    pub(in crate::qcow2) spare: RangeSet,
    /// The first cluster behind the end of the file.
    pub(in crate::qcow2) end: u64,
    /// The length of the file that decides which references count: longer than it is if a refcount
    /// block stands behind its end.
    pub(in crate::qcow2) file_len: u64,
    /// References behind that, which are not counted.
    pub(in crate::qcow2) outside: Outside,
}

/// Checks an image for a repair, telling what QEMU's repair tells.
pub(in crate::qcow2) fn diagnose(image: &Qcow2, what: Repair, tell: &mut dyn FnMut(Finding)) -> Diagnosis {
    match Check::new(image, Some(what), tell) {
        Ok(mut check) => {
            let found = check.find();
            let report = check.report.clone();
            Diagnosis { report, remedy: found.and_then(|found| check.remedy(found)) }
        }
        Err(error) => Diagnosis { report: CheckReport::default(), remedy: Err(error) },
    }
}

/// What the phases found out that is not in the check itself.
struct Found {
    snapshots: SnapshotTable,
    rewrite_snapshots: bool,
    recount: bool,
}

impl Check<'_> {
    /// All phases.
    fn find(&mut self) -> Result<Found> {
        let snapshots = self.read_snapshots();
        let faults = std::mem::take(&mut self.report.corruptions);
        let outcome = snapshots.and_then(|snapshots| {
            let recount = self.settle_counts(&snapshots)?;
            self.check_copied()?;
            Ok(Found { snapshots, rewrite_snapshots: false, recount })
        });
        match outcome {
            Ok(found) if self.repairs_all() && faults > 0 => {
                self.report.corruptions_fixed += faults;
                Ok(Found { rewrite_snapshots: true, ..found })
            }
            outcome => {
                self.report.corruptions += faults;
                outcome
            }
        }
    }

    /// Counts references and makes up the mind about the refcounts; answers whether any is changed.
    fn settle_counts(&mut self, snapshots: &SnapshotTable) -> Result<bool> {
        self.count_references(snapshots)?;
        self.check_blocks()?;
        let before = self.report.clone();
        let mut highest = self.compare(Pass::Plan)?;
        let wrong = self.report.leaks > 0 || self.report.corruptions > 0;
        let recount = match self.repair {
            Some(Repair::All) if self.rebuild => {
                self.rebuild(snapshots)?;
                true
            }
            _ if self.rebuild => {
                self.line("ERROR need to rebuild refcount structures");
                return Err(Error::corrupt("Input/output error"));
            }
            Some(what) if wrong => {
                let fixed = |report: &CheckReport| (report.corruptions_fixed, report.leaks_fixed);
                self.report = before.clone();
                highest = self.compare(Pass::Repair(what))?;
                fixed(&self.report) != fixed(&before)
            }
            _ => false,
        };
        self.report.image_end_offset = Some((highest.0 + 1) << self.geometry.cluster_bits);
        Ok(recount)
    }

    /// Goes on as if the refcount structures had been made anew, with every count right.
    fn rebuild(&mut self, snapshots: &SnapshotTable) -> Result<()> {
        self.line("Rebuilding refcount structure");
        let before = self.report.clone();
        let old: Vec<(u64, u64)> = self.old_structures();
        self.report = CheckReport {
            corruptions: 0,
            leaks: 0,
            check_errors: 0,
            allocated_clusters: 0,
            fragmented_clusters: 0,
            compressed_clusters: 0,
            ..before.clone()
        };
        self.counts = Counts::new(self.real_clusters, self.geometry.refcount_max());
        self.shared = SharedTables::default();
        self.outside = Outside::default();
        self.rebuilt = true;
        self.count_references(snapshots)?;
        for (cluster, counted) in old {
            let reference = self.counts.get(cluster);
            if counted > reference {
                self.line(format!("Repairing cluster {cluster} refcount={counted} reference={reference}"));
            }
        }
        let report = &mut self.report;
        report.corruptions_fixed += before.corruptions.saturating_sub(report.corruptions);
        report.leaks_fixed += before.leaks.saturating_sub(report.leaks);
        Ok(())
    }

    /// The clusters of the refcount structures with what was counted of them.
    fn old_structures(&mut self) -> Vec<(u64, u64)> {
        self.structures.sort_unstable();
        self.structures.dedup();
        self.structures.iter().map(|&cluster| (cluster, self.counts.get(cluster))).collect()
    }

    /// What is to be done.
    fn remedy(self, found: Found) -> Result<Remedy> {
        let spare = self.spare()?;
        Ok(Remedy {
            recount: found.recount,
            repairs_flags: self.flags_repaired,
            repairs_all: self.repairs_all(),
            refcount_table: (!self.rebuilt).then_some(self.refcount_table),
            structures: self.structures,
            mended: self.mended,
            flagged: self.flagged,
            l1_flagged: self.l1_flagged,
            snapshots: found.snapshots,
            rewrite_snapshots: found.rewrite_snapshots,
            sound: self.report.check_errors == 0 && self.report.corruptions == 0,
            leaked: self.leaked,
            spare,
            end: self.real_clusters,
            file_len: self.file_len,
            outside: self.outside,
            counts: self.counts,
        })
    }
}
