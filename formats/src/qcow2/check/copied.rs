//! "Copied" flags: set where, and only where, the refcount is one.

use super::{Check, mended};
use crate::qcow2::entry::{ClusterKind, L1Entry, L2Entry};
use crate::qcow2::table::L2Table;
use crate::{HostOffset, Repair, Result};

/// A table whose flags are looked at.
#[derive(Debug, Clone, Copy)]
struct Flags {
    /// Whether wrong ones count as repaired.
    repair: bool,
    /// Whether one was.
    dirty: bool,
}

impl Check<'_> {
    /// Whether wrong flags are repaired: always, or only where nothing else is wrong.
    fn repairs_flags(&self) -> bool {
        let report = &self.report;
        match self.repair {
            Some(Repair::All) => true,
            Some(Repair::Leaks) => report.check_errors == 0 && report.corruptions == 0 && report.leaks == 0,
            None => false,
        }
    }

    /// Looks at the flags of the active tables.
    pub(super) fn check_copied(&mut self) -> Result<()> {
        let repair = self.repairs_flags();
        self.flags_repaired = repair;
        let mut buffer = vec![0; self.geometry.cluster_size() as usize];
        let image = self.image;
        for (index, entry) in image.l1().iter().enumerate() {
            let Some(offset) = entry.table() else { continue };
            let Some(refcount) = self.refcount(self.geometry.host_cluster(offset)) else { continue };
            self.check_l1_flag(index, *entry, refcount, repair);
            let repair = repair && self.is_replaceable(offset);
            self.check_l2_flags(offset, repair, &mut buffer)?;
        }
        Ok(())
    }

    fn check_l1_flag(&mut self, index: usize, entry: L1Entry, refcount: u64, repair: bool) {
        if (refcount == 1) != entry.is_copied() {
            self.l1_flagged |= repair;
            let entry = entry.0;
            self.damage(
                repair,
                format_args!(
                    "OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={entry:x} refcount={refcount}"
                ),
            );
        }
    }

    fn check_l2_flags(&mut self, offset: HostOffset, repair: bool, buffer: &mut Vec<u8>) -> Result<()> {
        self.spend(self.geometry.l2_entries() as u64)?;
        if self.flagged.contains(&offset) {
            return Ok(());
        }
        if let Err(error) = self.read(offset, buffer) {
            self.report.check_errors += 1;
            self.line(format!("ERROR: Could not read L2 table: {}", error.report()));
            return Err(error);
        }
        let table = L2Table::new(std::mem::take(buffer));
        let mended_here = self.mended.contains(&offset);
        let mut flags = Flags { repair, dirty: false };
        for entry in table.entries_from(&self.geometry, 0) {
            if entry != L2Entry::NONE {
                let entry = if mended_here { mended(&self.geometry, entry) } else { entry };
                self.check_l2_flag(entry, &mut flags);
            }
        }
        if flags.dirty {
            self.flagged.insert(offset);
        }
        *buffer = table.into_bytes();
        Ok(())
    }

    #[inline]
    fn check_l2_flag(&mut self, entry: L2Entry, flags: &mut Flags) {
        let (ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset)) = entry.kind(&self.geometry)
        else {
            return;
        };
        let cluster = self.geometry.host_cluster(offset);
        if entry.is_copied()
            && !self.geometry.external_data
            && self.counts.bytes(cluster.0).first() == Some(&1)
        {
            return;
        }
        let refcount = if self.geometry.external_data { Some(1) } else { self.refcount(cluster) };
        let Some(refcount) = refcount else { return };
        if (refcount == 1) != entry.is_copied() {
            flags.dirty |= flags.repair;
            let entry = entry.descriptor;
            self.damage(
                flags.repair,
                format_args!("OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={refcount}"),
            );
        }
    }
}
