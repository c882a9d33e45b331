//! The one write that replaces the old state of an image by the new one.

use std::sync::Arc;

use journal::Disk;

use super::header::Header;
use crate::Result;
use crate::error::ResultExt;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Writes the sectors in which a header differs from what stands in the file.
///
/// Others may have written the header in another order of extensions, so the file itself is what
/// the new header is compared with. `old_len` is how many bytes the old header took.
pub(super) fn flip(main: &Arc<dyn Disk>, header: &Header, old_len: usize) -> Result<()> {
    let mut new = header.serialize()?;
    new.resize(new.len().max(old_len).next_multiple_of(SECTOR), 0);
    let mut old = vec![0; new.len()];
    main.read_padded(0, &mut old).context(write_failed)?;
    let differs = |at: &usize| old[*at..*at + SECTOR] != new[*at..*at + SECTOR];
    let mut sectors = (0..new.len()).step_by(SECTOR).filter(differs);
    let Some(first) = sectors.next() else { return Ok(()) };
    let end = sectors.next_back().unwrap_or(first) + SECTOR;
    let in_place = main.in_place();
    let disk = in_place.as_ref().unwrap_or(main);
    disk.write_at(first as u64, &new[first..end]).context(write_failed)
}

fn write_failed() -> String {
    "Could not write qcow2 header".into()
}
