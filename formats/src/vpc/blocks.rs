//! The blocks of a dynamic disk: the table that finds them, and where free space begins.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Disk;
use zerocopy::big_endian::U32;

use super::batmap::Batmap;
use super::footer::{COOKIE, FOOTER_SIZE, RawFooter};
use super::header::{Header, UNALLOCATED};
use crate::differencing::ParentChange;
use crate::error::ResultExt;
use crate::paged_table::{Bits, PagedTable};
use crate::raw::{SECTOR, sectors};
use crate::{Error, Result};

/// Entries that are looked at at a time when an image is opened.
const SCANNED: u64 = 64 << 10;

/// The blocks of a dynamic disk.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) header: Header,
    /// Whether sectors that are not marked in a block's bitmap are in another disk.
    pub(super) is_differencing: bool,
    pub(super) table: PagedTable<U32>,
    /// Which blocks need no look at their bitmaps, if somebody has noted it.
    pub(super) batmap: Option<Batmap>,
    state: Mutex<State>,
}

/// What changes as an image is written.
#[derive(Debug)]
pub(super) struct State {
    /// Where the next block goes, and the footer until then.
    pub(super) free: u64,
    /// What is here or behind is not the committed image's.
    pub(super) fresh_from: u64,
    /// Whether the footer has to move behind new blocks.
    pub(super) has_grown: bool,
    /// Blocks in whose bitmap all sectors are known to be in use.
    pub(super) full: Bits,
    /// What becomes of the parent's name and identity.
    pub(super) parent: ParentChange,
}

impl Blocks {
    /// The blocks behind a header, if the file is long enough to hold them.
    pub(super) fn open(header: Header, footer: &RawFooter, disk: &Arc<dyn Disk>) -> Result<Self> {
        let len = sectors(disk.len()?);
        let Range { start: first, end } = extent_of_blocks(&header, &**disk, len)?;
        if end > len {
            return Err(Error::corrupt(
                "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.",
            ));
        }
        // What is behind the blocks of a file without a footer at its end was never finished.
        let free = match len.checked_sub(FOOTER_SIZE) {
            Some(at) if at >= end && is_footer(&**disk, at)? => at,
            _ => end,
        };
        let table = PagedTable::new(Arc::clone(disk), header.table_offset, header.entries.into());
        let state = State {
            free,
            fresh_from: free + FOOTER_SIZE,
            has_grown: false,
            full: Bits::default(),
            parent: ParentChange::default(),
        };
        let batmap = Batmap::find(footer, &header, first.min(free), disk)?;
        Ok(Self { header, is_differencing: false, table, batmap, state: Mutex::new(state) })
    }

    /// The same blocks over those of another disk.
    pub(super) fn over_parent(self) -> Self {
        Self { is_differencing: true, ..self }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of a block that is there is in the file, as far as that is noted.
    pub(super) fn is_full(&self, block: u64) -> Result<bool> {
        self.batmap.as_ref().map_or(Ok(false), |batmap| batmap.is_full(block))
    }

    /// Where a guest block is in the file, its bitmap first, if it is there.
    pub(super) fn host(&self, block: u64) -> Result<Option<u64>> {
        let entry = self.table.get(block)?.get();
        Ok((entry != UNALLOCATED).then(|| u64::from(entry) * SECTOR))
    }
}

fn is_footer(disk: &dyn Disk, at: u64) -> Result<bool> {
    let mut start = [0; COOKIE.len()];
    disk.read_padded(at, &mut start)?;
    Ok(start == COOKIE)
}

/// Where the first block begins, and where the last one ends, or the table if it is behind all blocks.
fn extent_of_blocks(header: &Header, disk: &dyn Disk, len: u64) -> Result<Range<u64>> {
    let (mut start, mut end) = (u64::MAX, header.table_end());
    let mut index = 0;
    let entries = u64::from(header.entries);
    // What lies past the end of the file is not looked at: the answer is known.
    while index < entries && end <= len {
        let count = SCANNED.min(entries - index);
        let mut bytes = vec![0; count as usize * size_of::<U32>()];
        let at = header.table_offset.saturating_add(index * 4);
        disk.read_padded(at, &mut bytes).context(|| "Error reading pagetable".to_owned())?;
        let used = bytes
            .chunks_exact(4)
            .filter_map(|entry| entry.try_into().ok().map(u32::from_be_bytes))
            .filter(|&entry| entry != UNALLOCATED);
        for host in used.map(|entry| u64::from(entry) * SECTOR) {
            (start, end) = (start.min(host), end.max(host + header.stride()));
        }
        index += count;
    }
    Ok(start..end)
}
