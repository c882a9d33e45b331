//! The one write that replaces the old state of an image by the new one.
//!
//! A header that QEMU makes fills its first sector, and the backing file name stands behind that. To
//! let one sector decide between the old header and the new one, whatever the new one has
//! elsewhere is written beforehand, to bytes of the cluster that the old one does not use.

use std::ops::Range;
use std::sync::Arc;

use journal::Disk;

use super::header::{FeatureNames, Header, Layout};
use crate::Result;
use crate::error::ResultExt;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A header that is about to be the image's.
#[derive(Debug)]
pub(super) struct Flip {
    main: Arc<dyn Disk>,
    sectors: Range<usize>,
    bytes: Vec<u8>,
}

impl Flip {
    /// Lays a header out over the one in the file, and writes what of it stands where the old one
    /// does not look. Sync before [`Flip::make`].
    ///
    /// Others may have written the old header in another order of extensions, so it is the file
    /// that is asked where its parts are.
    pub(super) fn prepare(main: &Arc<dyn Disk>, header: &Header) -> Result<Self> {
        let mut old = vec![0; 1 << header.cluster_bits];
        main.read_padded(0, &mut old).context(write_failed)?;
        let plan = Plan::choose(&old, header)?;
        for sector in &plan.spare {
            main.write_at(sector.start as u64, &plan.cluster[sector.clone()]).context(write_failed)?;
        }
        let bytes = plan.cluster[plan.decisive.clone()].to_vec();
        Ok(Self { main: Arc::clone(main), sectors: plan.decisive, bytes })
    }

    /// Makes the new header the image's.
    pub(super) fn make(self) -> Result<()> {
        if self.sectors.is_empty() {
            return Ok(());
        }
        let in_place = self.main.in_place();
        let disk = in_place.as_ref().unwrap_or(&self.main);
        disk.write_at(self.sectors.start as u64, &self.bytes).context(write_failed)
    }
}

/// The first cluster as it is to be, and how it differs from what it is.
#[derive(Debug)]
struct Plan {
    cluster: Vec<u8>,
    /// Sectors that differ, but in no byte that the old header uses.
    spare: Vec<Range<usize>>,
    /// From the first to the last of the other sectors that differ.
    decisive: Range<usize>,
}

impl Plan {
    /// The first layout that lets one sector decide, else the usual one.
    fn choose(old: &[u8], header: &Header) -> Result<Self> {
        let used = Header::parts(old);
        for layout in layouts(&used, header) {
            let plan = header.serialize_as(layout).map(|new| Self::over(old, &used, &new));
            match plan {
                Ok(plan) if plan.decisive.end <= SECTOR => return Ok(plan),
                _ => {}
            }
        }
        Ok(Self::over(old, &used, &header.serialize()?))
    }

    fn over(old: &[u8], used: &[Range<usize>; 2], new: &[u8]) -> Self {
        let mut cluster = old.to_vec();
        for part in Header::parts(new) {
            cluster[part.clone()].copy_from_slice(&new[part]);
        }
        let mut plan = Self { cluster, spare: Vec::new(), decisive: 0..0 };
        for start in (0..old.len()).step_by(SECTOR) {
            let sector = start..start + SECTOR;
            let differs = |&at: &usize| old[at] != plan.cluster[at];
            let decides = |&at: &usize| used.iter().any(|part| part.contains(&at));
            if sector.clone().filter(differs).any(|at| decides(&at)) {
                let first = if plan.decisive.is_empty() { start } else { plan.decisive.start };
                plan.decisive = first..sector.end;
            } else if sector.clone().any(|at| differs(&at)) {
                plan.spare.push(sector);
            }
        }
        plan
    }
}

/// The ways to lay out a header over one whose parts are these, the best ones first.
fn layouts(used: &[Range<usize>; 2], header: &Header) -> impl Iterator<Item = Layout> + use<> {
    let [head, name] = used.clone();
    // Where the old name stands: it may be the same. Else where neither part of the old header is.
    let behind = head.end.max(name.end).next_multiple_of(8);
    let named = header.backing_name.is_some();
    let places =
        [Some(name.start).filter(|_| named && !name.is_empty()), None, Some(behind).filter(|_| named)];
    [FeatureNames::Written, FeatureNames::LeftOut].into_iter().flat_map(move |feature_names| {
        places.into_iter().map(move |name_at| Layout { name_at, feature_names })
    })
}

fn write_failed() -> String {
    "Could not write qcow2 header".into()
}

#[cfg(test)]
#[path = "flip_tests.rs"]
mod tests;
