//! The snapshot table, which opening for a check leaves alone.

use super::Check;
use crate::driver::Finding;
use crate::qcow2::geometry::Version;
use crate::qcow2::header::{MAX_SNAPSHOTS, check_snapshots};
use crate::qcow2::snapshot::{self, SnapshotTable};
use crate::{Error, ErrorKind, Result};

impl Check<'_> {
    /// Reads the snapshot table, or tells why that cannot be done, which ends the check.
    pub(super) fn read_snapshots(&mut self) -> Result<SnapshotTable> {
        let header = self.image.header();
        let location = header.snapshots;
        if let Err(error) = check_snapshots(&self.geometry, location, "snapshot table") {
            let overhanging = location.count.saturating_sub(MAX_SNAPSHOTS);
            let hint = format!(
                "You can force-remove all {overhanging} overhanging snapshots with qemu-img check -r all"
            );
            return Err(self.refuse("ERROR ", &error, (overhanging > 0).then_some(hint.as_str())));
        }
        let table =
            snapshot::read_table(&**self.image.file(), location, header.virtual_size()).map_err(|error| {
                self.refuse("ERROR failed to read the snapshot table: ", &error, error.hint())
            })?;
        for (number, snapshot) in table.snapshots.iter().enumerate() {
            if header.version >= Version::V3 && !snapshot.is_complete() {
                self.corruption(format!("ERROR snapshot table entry {number} is incomplete"));
            }
        }
        Ok(table)
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
