//! The snapshot table, which opening for a check leaves alone.

use super::Check;
use crate::driver::Finding;
use crate::qcow2::geometry::Version;
use crate::qcow2::header::{MAX_SNAPSHOTS, TableLocation, check_snapshots};
use crate::qcow2::snapshot::{self, Excess, SnapshotTable};
use crate::{Error, ErrorKind, Result};

impl Check<'_> {
    /// Reads the snapshot table, or tells why that cannot be done, which ends the check.
    pub(super) fn read_snapshots(&mut self) -> Result<SnapshotTable> {
        let header = self.image.header();
        let mut location = header.snapshots;
        if location.count > MAX_SNAPSHOTS && self.repairs_all() {
            let overhanging = location.count - MAX_SNAPSHOTS;
            self.line(format!("Discarding {overhanging} overhanging snapshots"));
            self.report.corruptions += u64::from(overhanging);
            location.count = MAX_SNAPSHOTS;
        }
        if let Err(error) = check_snapshots(&self.geometry, location, "snapshot table") {
            let overhanging = location.count.saturating_sub(MAX_SNAPSHOTS);
            let hint = format!(
                "You can force-remove all {overhanging} overhanging snapshots with qemu-img check -r all"
            );
            return Err(self.refuse("ERROR ", &error, (overhanging > 0).then_some(hint.as_str())));
        }
        let table = self.read_table(location).map_err(|error| {
            self.refuse("ERROR failed to read the snapshot table: ", &error, error.hint())
        })?;
        let verdict = if self.repairs_all() { "Repairing" } else { "ERROR" };
        for (number, snapshot) in table.snapshots.iter().enumerate() {
            if header.version >= Version::V3 && !snapshot.is_complete() {
                self.corruption(format!("{verdict} snapshot table entry {number} is incomplete"));
            }
        }
        Ok(table)
    }

    fn read_table(&mut self, location: TableLocation) -> Result<SnapshotTable> {
        let image = self.image;
        let (disk, size) = (&**image.file(), image.header().virtual_size());
        if !self.repairs_all() {
            return snapshot::read_table(disk, location, size);
        }
        snapshot::read_table_for_repair(disk, location, size, &mut |excess| self.discard(excess))
    }

    /// Tells what is left out of the table, and counts it as damage that is repaired with it.
    fn discard(&mut self, excess: Excess) {
        let (discarded, line) = match excess {
            Excess::ExtraData { number, bytes } => {
                let limit = Excess::MAX_EXTRA_DATA;
                (1, format!("too much extra metadata in snapshot table entry {number} ({bytes} > {limit})"))
            }
            Excess::Entries(left) => {
                (left, format!("{left} overhanging snapshots (snapshot table is too big)"))
            }
        };
        self.report.corruptions += u64::from(discarded);
        self.line(format!("Discarding {line}"));
    }

    /// Tells what is wrong with the table; returns what the check fails with.
    fn refuse(&mut self, intro: &str, error: &Error, hint: Option<&str>) -> Error {
        self.report.check_errors += 1;
        (self.tell)(Finding::Complaint(format!("{intro}{}", error.report())));
        if let Some(hint) = hint {
            self.line(hint);
        }
        let reason = match (error.kind(), error.floor()) {
            (_, Some(floor)) => floor.reason(),
            (ErrorKind::TooLarge, None) => "File too large".to_owned(),
            _ => "Invalid argument".to_owned(),
        };
        Error::new(error.kind(), reason)
    }
}
