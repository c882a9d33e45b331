//! New VHDX images.

use std::hash::{BuildHasher, RandomState};

use journal::{Access, Disk};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::Vhdx;
use super::bat::Block;
use super::header::{FILE_SIGNATURE, HEADER_OFFSETS, Header, MIB, REGION_TABLE_OFFSETS, Region, RegionTable};
use super::metadata::{MAX_BLOCK, MAX_SIZE, Metadata, NEW_PARENT_LOCATOR};
use super::parent::Locator;
use crate::create::CreateOptions;
use crate::differencing::NewParent;
use crate::paged_table::PAGE_ENTRIES;
use crate::raw::{SECTOR, sectors};
use crate::registry::{NewFiles, Source};
use crate::{Driver, Error, Format, OpenFlags, Result};

/// Who made the image, behind the signature, in UTF-16.
const CREATOR: &str = "tximg";
/// Room between the metadata and the first block, that of the metadata included.
const BEFORE_BLOCKS: u64 = 5 * MIB;
const GIB: u64 = 1 << 30;

/// Bytes of a block of a new differencing disk, as Hyper-V makes them: a block is copied as a whole.
const DIFFERENCING_BLOCK: u64 = 2 * MIB;

/// What a new image is to be.
struct Plan {
    metadata: Metadata,
    /// What names the parent, if there is one.
    locator: Option<Vec<u8>>,
    log_size: u32,
    /// Bytes in a physical sector.
    physical_sector: u32,
    /// What the table says of all blocks: `None` leaves them unwritten, which reads as zeroes, too.
    blocks: Option<Blocks>,
}

enum Blocks {
    /// Zeroes, without a place in the file.
    Zero,
    /// In the file, one after another.
    InOrder,
}

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, files: &mut dyn NewFiles) -> Result<Box<dyn Driver>> {
    let disk = files.begin(&files.target()?)?;
    let plan = Plan::new(options, NewParent::find(Format::Vhdx, options, files)?)?;
    let regions = plan.regions();
    let metadata = plan.metadata;
    let blocks_at = regions.bat.offset + u64::from(regions.bat.length) + BEFORE_BLOCKS;
    disk.set_len(if metadata.is_fixed { blocks_at + metadata.size } else { blocks_at })?;
    let creator: Vec<u8> = CREATOR.encode_utf16().flat_map(u16::to_le_bytes).collect();
    disk.write_at(0, &[&FILE_SIGNATURE, &*creator].concat())?;
    let sequence = RandomState::new().hash_one(std::process::id()) as u32;
    let header = Header::new(sequence, plan.log_size);
    for (at, header) in HEADER_OFFSETS.into_iter().zip([header, header.following()]) {
        disk.write_at(at, &header.to_bytes())?;
    }
    for at in REGION_TABLE_OFFSETS {
        disk.write_at(at, &regions.to_bytes())?;
    }
    disk.write_at(
        regions.metadata.offset,
        &metadata.to_bytes(plan.physical_sector, plan.locator.as_deref()),
    )?;
    if let Some(blocks) = &plan.blocks {
        write_table(&metadata, blocks, regions.bat.offset, blocks_at, &*disk)?;
    }
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    Ok(Box::new(Vhdx::open(Source::alone(disk, &flags, ""))?))
}

impl Plan {
    fn new(options: &CreateOptions, parent: Option<NewParent>) -> Result<Self> {
        let is_fixed = match options.text("subformat") {
            None | Some(b"dynamic") => false,
            Some(b"fixed") => true,
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                return Err(Error::invalid(format!("Parameter 'subformat' does not accept value '{other}'")));
            }
        };
        if is_fixed && parent.is_some() {
            return Err(Error::invalid("A fixed disk does not stand on another"));
        }
        let size = sectors(options.size().unwrap_or(0));
        if size > MAX_SIZE {
            return Err(Error::invalid("Image size too large; max of 64TB"));
        }
        let log_size = log_size(options)?;
        let block_size = match parent {
            Some(_) if options.number("block_size").unwrap_or(0) == 0 => DIFFERENCING_BLOCK,
            _ => block_size(options, size)?,
        };
        let with_zeroes = !options.is_given("block_state_zero") || options.flag("block_state_zero");
        let blocks = match (with_zeroes, is_fixed) {
            // What is not written is the parent's.
            _ if parent.is_some() => None,
            (true, _) => Some(Blocks::Zero),
            (false, true) => Some(Blocks::InOrder),
            (false, false) => None,
        };
        let sector_size = parent.as_ref().map_or(SECTOR, |parent| parent.identity.sector_size);
        let physical_sector = physical_sector(options, sector_size)?;
        let parent_locator = parent.as_ref().map(|_| NEW_PARENT_LOCATOR);
        let locator = parent.map(|parent| Locator::of(parent).to_bytes());
        let metadata = Metadata { size, block_size, sector_size, is_fixed, parent_locator };
        Ok(Self { metadata, locator, log_size, physical_sector, blocks })
    }

    /// Everything follows the log, in whole MiB.
    fn regions(&self) -> RegionTable {
        // The smallest blocks of the largest disk make a table of 513 MiB.
        let length = (self.metadata.entries() * 8).next_multiple_of(MIB) as u32;
        let bat = Region { offset: MIB + u64::from(self.log_size), length };
        let metadata = Region { offset: bat.offset + u64::from(length), length: MIB as u32 };
        RegionTable { bat, metadata }
    }
}

/// No smaller than a logical one, as which it stands where nothing is said.
fn physical_sector(options: &CreateOptions, logical: u64) -> Result<u32> {
    let given = Some(logical).filter(|_| !options.is_given("physical_sector_size"));
    match given.or_else(|| options.number("physical_sector_size")) {
        Some(size @ (512 | 4096)) if size >= logical => Ok(size as u32),
        Some(512) => Err(Error::invalid("A physical sector has the size of a logical one at least")),
        _ => Err(Error::invalid("Physical sector size must be 512 or 4096")),
    }
}

fn log_size(options: &CreateOptions) -> Result<u32> {
    let size = options.number("log_size").unwrap_or(MIB);
    let size = size.checked_next_multiple_of(MIB).and_then(|size| u32::try_from(size).ok());
    match size {
        None => Err(Error::invalid("Log size must be smaller than 4 GB")),
        Some(0) => Err(Error::invalid("Log size must be a multiple of 1 MB")),
        Some(size) => Ok(size),
    }
}

fn block_size(options: &CreateOptions, size: u64) -> Result<u64> {
    let given = options.number("block_size").unwrap_or(0);
    let block_size = match given {
        0 if size > 32 << 40 => 64 * MIB,
        0 if size > 100 * GIB => 32 * MIB,
        0 if size > GIB => 16 * MIB,
        0 => 8 * MIB,
        given => given.min(MAX_BLOCK).next_multiple_of(MIB),
    };
    if !block_size.is_power_of_two() {
        return Err(Error::invalid("Block size must be a power of two"));
    }
    Ok(block_size)
}

fn write_table(metadata: &Metadata, blocks: &Blocks, at: u64, blocks_at: u64, disk: &dyn Disk) -> Result<()> {
    let ratio = metadata.chunk_ratio();
    let entry = |index: u64| {
        let block = index - index / (ratio + 1);
        let entry = match blocks {
            // The entry of a sector bitmap, which no such image has.
            _ if index % (ratio + 1) == ratio => 0,
            Blocks::Zero => Block::zero(),
            Blocks::InOrder => Block::present(blocks_at + block * metadata.block_size),
        };
        U64::new(entry)
    };
    // An empty disk has no blocks, though its table has room for many.
    let count = if metadata.blocks() == 0 { 0 } else { metadata.entries() };
    let mut first = 0;
    while first < count {
        let past = count.min(first + PAGE_ENTRIES);
        let entries: Vec<U64> = (first..past).map(entry).collect();
        disk.write_at(at + first * 8, entries.as_slice().as_bytes())?;
        first = past;
    }
    Ok(())
}
