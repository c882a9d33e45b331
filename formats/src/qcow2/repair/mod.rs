//! Repair: one change from a damaged image to the one that the check asks for.
//!
//! ```text
//!   check::diagnose ──► Remedy ──► Plan ──► write ──► sync ──► flip ──► sync ──► release
//!                                   │
//!              places · tables · refcounts: who moves where, until all counts are right
//! ```
//!
//! Nothing that the damaged image refers to is overwritten, nor its refcount structures, however
//! broken they are: what changes is written to clusters that are free by every account, and the
//! header alone makes it count. A repair that fails or is interrupted leaves the image as it was.

mod places;
mod refcounts;
mod tables;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use journal::RangeSet;

use self::places::Places;
use self::tables::Moved;
use super::Qcow2;
use super::check::{Counts, Diagnosis, Remedy, diagnose, is_outside};
use super::entry::{L1Entry, RefcountTableEntry};
use super::extension::BitmapsState;
use super::feature::{Autoclear, Incompatible};
use super::geometry::{Geometry, HostCluster};
use super::header::{Header, TableLocation};
use super::refcount::RefcountWidth;
use crate::driver::Finding;
use crate::{Driver, Error, HostOffset, OpenFlags, Repair, Repaired, Result};

/// How often tables are looked through again because a cluster that was vacated is still used by
/// somebody else: each time means that the image is linked to itself.
const ROUNDS: usize = 4;

/// Repairs an image that was opened for writing.
pub(super) fn repair(image: &Qcow2, what: Repair, tell: &mut dyn FnMut(Finding)) -> Repaired {
    let Diagnosis { report, remedy } = diagnose(image, what, tell);
    let mut lost = 0;
    let repaired = remedy.and_then(|remedy| {
        lost = Plan::new(image, remedy).carry_out(tell)?;
        let flags = OpenFlags { check: true, ..OpenFlags::READ };
        Ok(Box::new(image.read_again(&flags)?) as Box<dyn Driver>)
    });
    Repaired { report, lost, image: repaired }
}

/// The same for an image that is opened for writing although it was not closed cleanly.
pub(super) fn repair_dirty(image: &Qcow2) -> Result<()> {
    let mut tell = |finding| match finding {
        Finding::Line(line) => crate::notice::tell(&line),
        Finding::Complaint(line) => crate::notice::complain(&line),
    };
    let Repaired { report, image, .. } = repair(image, Repair::All, &mut tell);
    let failed = |reason: Error| reason.context("Could not repair dirty image");
    image.map_err(failed)?;
    if report.check_errors > 0 {
        return Err(failed(Error::corrupt("Input/output error")));
    }
    Ok(())
}

/// What is going to stand where.
struct Plan<'a> {
    image: &'a Qcow2,
    geometry: Geometry,
    width: RefcountWidth,
    remedy: Remedy,
    places: Places,
    /// The header after the repair.
    header: Header,
    /// The active L1 table, whole.
    l1: Vec<L1Entry>,
    /// Whether it moves.
    l1_moves: bool,
    /// L2 tables that move, by where they stand.
    tables: BTreeMap<HostOffset, Moved>,
    /// Snapshots whose L1 tables move: where these stand.
    snapshot_l1: BTreeMap<usize, TableLocation>,
    /// Whether the snapshot table moves.
    snapshots_move: bool,
    /// Refcount blocks that differ from the file's.
    dirty: BTreeSet<u64>,
    /// Where those go that have a place already.
    blocks: BTreeMap<u64, u64>,
    refcount_table: Vec<RefcountTableEntry>,
    /// Clusters of its new place; 0 as long as it has none.
    table_clusters: u64,
    /// Clusters that something has moved away from.
    vacated: RangeSet,
    /// Clusters that the file is known to have in the end.
    long_enough: u64,
    /// References that came to count, which they did not.
    absorbed: u64,
}

impl<'a> Plan<'a> {
    fn new(image: &'a Qcow2, mut remedy: Remedy) -> Self {
        let geometry = *image.geometry();
        let mut header = image.header().clone();
        header.autoclear &= Autoclear::all();
        if remedy.sound {
            header.incompatible -= Incompatible::DIRTY | Incompatible::CORRUPT;
        }
        let places = Places::new(&mut remedy, &geometry, image.file().withheld());
        Self {
            image,
            geometry,
            width: image.refcount_width(),
            places,
            header,
            l1: image.l1().to_vec(),
            l1_moves: false,
            tables: BTreeMap::new(),
            snapshot_l1: BTreeMap::new(),
            snapshots_move: false,
            dirty: BTreeSet::new(),
            blocks: BTreeMap::new(),
            refcount_table: remedy.refcount_table.clone().unwrap_or_default(),
            table_clusters: 0,
            vacated: RangeSet::default(),
            long_enough: remedy.end,
            absorbed: 0,
            remedy,
        }
    }

    /// Makes the plan and carries it out; answers how many references led behind the end of the file
    /// and do so no more.
    fn carry_out(&mut self, tell: &mut dyn FnMut(Finding)) -> Result<u64> {
        self.drop_outside_blocks();
        let mut moving = self.remedy.flagged.union(&self.remedy.mended).copied().collect();
        for _ in 0..ROUNDS {
            self.move_tables(&moving)?;
            self.move_snapshot_table(tell)?;
            self.settle_refcounts()?;
            while self.lengthen() {
                self.settle_refcounts()?;
            }
            moving = self.tables_with_stale_flags()?;
            if moving.is_empty() {
                break;
            }
        }
        if self.is_needed() {
            self.write()?;
        }
        Ok(self.absorbed)
    }

    fn is_needed(&self) -> bool {
        let old = self.image.header();
        self.header != *old || old.extensions.bitmaps_state == BitmapsState::Stale
    }

    fn counts(&self) -> &Counts {
        &self.remedy.counts
    }

    /// Makes the file as long as what is counted asks for; answers whether that changes counts.
    fn lengthen(&mut self) -> bool {
        let before = self.long_enough;
        self.places.reach(self.counts().end());
        self.long_enough = self.places.end();
        if self.long_enough == before || !self.is_needed() {
            return false;
        }
        self.touch_blocks_of(before..self.long_enough);
        self.absorb_dangling();
        true
    }

    /// Counts references that led behind the end of the file and do so no more, because the file is
    /// going to be longer.
    fn absorb_dangling(&mut self) {
        let reach = self.geometry.host_offset(HostCluster(self.places.end())).0;
        self.remedy.file_len = self.remedy.file_len.max(reach);
        let near = std::mem::take(&mut self.remedy.outside.near);
        let (outside, inside): (Vec<_>, Vec<_>) =
            near.into_iter().partition(|region| is_outside(&self.geometry, region.end, reach));
        self.remedy.outside.near = outside;
        for cluster in inside.iter().flat_map(|region| region.clusters.clone()) {
            let count = self.counts().get(cluster).saturating_add(1);
            self.set_count(cluster, count);
        }
        self.absorbed += inside.len() as u64;
    }

    /// Takes so many clusters in a row, each counted once.
    fn take(&mut self, clusters: u64) -> Result<u64> {
        let first = self.places.take(clusters)?;
        for cluster in first..first + clusters {
            self.set_count(cluster, 1);
        }
        Ok(first)
    }

    fn set_count(&mut self, cluster: u64, count: u64) {
        self.remedy.counts.set(cluster, count.min(self.width.max()));
        self.touch(cluster);
    }

    fn touch(&mut self, cluster: u64) {
        self.dirty.insert(cluster >> self.geometry.refcount_block_bits());
    }

    /// Something moves away from these bytes of the file; answers whether they were counted.
    fn vacate(&mut self, offset: HostOffset, len: u64) -> bool {
        let first = self.geometry.host_cluster(offset).0;
        let clusters = first..first.saturating_add(self.geometry.clusters_for(len));
        if is_outside(&self.geometry, offset.0.wrapping_add(len), self.remedy.file_len) {
            // What reaches past the end of the file was not counted, nor any of it.
            return false;
        }
        let mut counted = true;
        for cluster in clusters {
            counted &= self.counts().get(cluster) > 0;
            self.remedy.counts.drop_one(cluster);
            self.vacated.insert(cluster..cluster + 1);
            self.touch(cluster);
        }
        counted
    }

    /// Whether a cluster of the file has exactly one reference.
    fn is_sole(&self, offset: HostOffset) -> bool {
        self.counts().get(self.geometry.host_cluster(offset).0) == 1
    }
}
