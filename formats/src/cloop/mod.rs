//! cloop: compressed loop images, as live CDs had them. They are read only.
//!
//! A shell script in 128 bytes, the block size, the number of blocks, the offset of each block and of
//! the end, and the blocks: zlib streams.

use std::sync::Arc;

use journal::Disk;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::paged_table::PagedTable;
use crate::raw::SECTOR;
use crate::registry::{Creation, Registered, no_creation, require_reading};
use crate::{
    CompressedRun, Driver, Error, Format, FormatDetails, GuestOffset, HostOffset, ImageFile, Mapping,
    OpenFlags, Result, Stream, Target,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Cloop,
    open: |source| Ok(Box::new(Cloop::open(source.disk, source.flags)?)),
    create: Creation::InOneFile(|_, _| Err(no_creation(Format::Cloop))),
};

/// Where the numbers start: before them is the script.
const NUMBERS_OFFSET: u64 = 128;
/// Where the offsets start.
const OFFSETS_OFFSET: u64 = NUMBERS_OFFSET + size_of::<Numbers>() as u64;
/// Bytes of an entry.
const OFFSET_SIZE: u64 = 8;
/// Larger blocks are refused, as QEMU does.
const MAX_BLOCK_SIZE: u32 = 64 << 20;
/// More blocks cannot be told in a table that QEMU can have.
const MAX_BLOCKS: u32 = (u32::MAX - OFFSET_SIZE as u32 + 1) / OFFSET_SIZE as u32;
/// A longer table of offsets is refused, as QEMU does.
const MAX_OFFSETS_SIZE: u64 = 512 << 20;
/// Offsets that are checked at a time.
const STEP: u64 = 8192;

/// The numbers behind the script.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Numbers {
    /// Guest bytes in a block.
    block_size: U32,
    blocks: U32,
}

/// A cloop image.
#[derive(Debug)]
pub struct Cloop {
    block_size: u64,
    blocks: u64,
    offsets: PagedTable<U64>,
    disk: Arc<dyn Disk>,
}

impl Cloop {
    /// An image in a file.
    pub fn open(disk: Arc<dyn Disk>, flags: &OpenFlags) -> Result<Self> {
        require_reading(flags)?;
        let mut numbers = Numbers::new_zeroed();
        disk.read_padded(NUMBERS_OFFSET, numbers.as_mut_bytes())?;
        let block_size = checked_block_size(numbers.block_size.get())?;
        let blocks = checked_blocks(numbers.blocks.get())?;
        check_offsets(&*disk, blocks + 1)?;
        let offsets = PagedTable::new(Arc::clone(&disk), OFFSETS_OFFSET, blocks + 1);
        Ok(Self { block_size, blocks, offsets, disk })
    }
}

fn checked_block_size(size: u32) -> Result<u64> {
    if !u64::from(size).is_multiple_of(SECTOR) {
        return Err(Error::corrupt(format!("block_size {size} must be a multiple of 512")));
    }
    if size == 0 {
        return Err(Error::corrupt("block_size cannot be zero"));
    }
    if size > MAX_BLOCK_SIZE {
        return Err(Error::corrupt(format!("block_size {size} must be {} MB or less", MAX_BLOCK_SIZE >> 20)));
    }
    Ok(size.into())
}

fn checked_blocks(blocks: u32) -> Result<u64> {
    if blocks > MAX_BLOCKS {
        return Err(Error::corrupt(format!("n_blocks {blocks} must be {MAX_BLOCKS} or less")));
    }
    // QEMU counts the table's bytes in 32 bits.
    match (u64::from(blocks) + 1) * OFFSET_SIZE {
        size if size > u64::from(u32::MAX) => Err(Error::corrupt("Could not allocate offsets table")),
        size if size > MAX_OFFSETS_SIZE => {
            Err(Error::corrupt("image requires too many offsets, try increasing block size"))
        }
        _ => Ok(blocks.into()),
    }
}

/// Whether each block has a place that it can have.
fn check_offsets(disk: &dyn Disk, count: u64) -> Result<()> {
    let len = disk.len()?;
    let mut before = None;
    let mut entries = vec![U64::ZERO; count.min(STEP) as usize];
    for first in (0..count).step_by(STEP as usize) {
        let at = OFFSETS_OFFSET + first * OFFSET_SIZE;
        // Past the end of the file there are only zeroes.
        if at >= len && before == Some(0) {
            return Ok(());
        }
        entries.truncate((count - first).min(STEP) as usize);
        disk.read_padded(at, entries.as_mut_slice().as_mut_bytes())?;
        for (index, entry) in (first..).zip(&entries) {
            if let Some(before) = before {
                check_offset(before, entry.get(), index)?;
            }
            before = Some(entry.get());
        }
    }
    Ok(())
}

fn check_offset(before: u64, offset: u64, index: u64) -> Result<()> {
    let Some(size) = offset.checked_sub(before) else {
        let what = "offsets not monotonically increasing";
        return Err(Error::corrupt(format!("{what} at index {index}, image file is corrupt")));
    };
    if size > 2 * u64::from(MAX_BLOCK_SIZE) {
        let what = "invalid compressed block size";
        return Err(Error::corrupt(format!("{what} at index {index}, image file is corrupt")));
    }
    Ok(())
}

impl Driver for Cloop {
    fn format(&self) -> Format {
        Format::Cloop
    }

    fn virtual_size(&self) -> u64 {
        self.blocks * self.block_size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let (block, within) = (at.0 / self.block_size, at.0 % self.block_size);
        let (offset, end) = (self.offsets.get(block)?.get(), self.offsets.get(block + 1)?.get());
        // What would lie behind the end of the file need not be read.
        let end = end.min(self.disk.len()?);
        let run = CompressedRun {
            disk: Arc::clone(&self.disk),
            offset: HostOffset(offset),
            len: end.saturating_sub(offset),
            cluster: GuestOffset(block * self.block_size),
            cluster_size: self.block_size,
            stream: Stream::Zlib,
        };
        Ok(Mapping { len: len.min(self.block_size - within), target: Target::Compressed(run) })
    }

    fn tells_allocation(&self) -> bool {
        false
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }
}
