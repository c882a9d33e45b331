//! Whether a VHDX image's block table leads where blocks can be.

use journal::Disk;
use zerocopy::little_endian::U64;

use super::bat::Block;
use super::header::Region;
use super::metadata::Metadata;
use super::regions::Regions;
use crate::Result;
use crate::raw::sectors;

/// Entries that are looked at at a time.
const SCANNED: u64 = 64 << 10;

/// What the table is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) bat: Region,
    pub(super) metadata: &'a Metadata,
    pub(super) regions: &'a Regions,
}

impl Table<'_> {
    /// Tells everything that is wrong with the table, until the listener has enough.
    pub(super) fn check(&self, tell: &mut dyn FnMut(String) -> Listener) -> Result<()> {
        let file_len = sectors(self.disk.len()?);
        let count = self.metadata.entries();
        let ratio = self.metadata.chunk_ratio();
        let mut index = 0;
        while index < count {
            let some = SCANNED.min(count - index);
            let mut entries = vec![U64::ZERO; some as usize];
            let at = self.bat.offset.saturating_add(index * 8);
            self.disk.read_padded(at, zerocopy::IntoBytes::as_mut_bytes(entries.as_mut_slice()))?;
            for (index, entry) in (index..).zip(entries) {
                // Between chunks are the entries of sector bitmaps.
                if index % (ratio + 1) == ratio {
                    continue;
                }
                let block = index - index / (ratio + 1);
                if self.check_entry(index, block, entry.get(), file_len, tell) == Listener::HasEnough {
                    return Ok(());
                }
            }
            index += some;
        }
        Ok(())
    }

    fn check_entry(
        &self,
        index: u64,
        block: u64,
        entry: u64,
        file_len: u64,
        tell: &mut dyn FnMut(String) -> Listener,
    ) -> Listener {
        let has_parent = self.metadata.parent_locator.is_some();
        let (Block::Present(host) | Block::Partial(host)) = Block::of(entry, has_parent) else {
            return Listener::WantsMore;
        };
        let block_size = self.metadata.block_size;
        let truncated = "Image has probably been truncated.";
        let mut found = Vec::new();
        if host > u64::MAX - block_size {
            found.push(format!("VHDX BAT entry {index} offset overflow."));
        }
        let bytes = self.metadata.bytes_of(block).max(1);
        if host >= file_len {
            found.push(format!(
                "VHDX BAT entry {index} start offset {host} points after end of file ({file_len}). {truncated}"
            ));
        } else if bytes > file_len - host {
            let last = host + bytes - 1;
            found.push(format!(
                "VHDX BAT entry {index} end offset {last} points after end of file ({file_len}). {truncated}"
            ));
        }
        found.extend(self.regions.overlap(host, host.saturating_add(block_size)));
        for text in found {
            if tell(text) == Listener::HasEnough {
                return Listener::HasEnough;
            }
        }
        Listener::WantsMore
    }
}

/// What a listener makes of what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// It wants to hear everything.
    WantsMore,
    /// One thing is enough.
    HasEnough,
}
