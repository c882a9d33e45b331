//! VPC, also called VHD: the disks of Virtual PC, of Hyper-V before VHDX, and of Azure.
//!
//! ```text
//!   fixed:    the guest's bytes │ footer
//!   dynamic:  footer │ header │ table │ (batmap) │ (bitmap │ block)… │ footer
//! ```
//!
//! A differencing disk is a dynamic one; sectors that are not marked in a block's bitmap are its parent's.
//!
//! Blocks have no order; the footer at the end makes way for the next one.

mod batmap;
mod blocks;
mod create;
mod footer;
mod geometry;
mod grow;
mod header;
mod parent;
mod writer;

use std::sync::Arc;

use journal::{Access, Disk};
use zerocopy::{FromZeros, IntoBytes};

use self::blocks::Blocks;
use self::footer::{FOOTER_SIZE, Kind, RawFooter};
pub use self::geometry::SizeIn;
use self::header::{HEADER_SIZE, Header, RawHeader};
use self::parent::Parent;
use crate::differencing::require_parent;
use crate::error::ResultExt;
use crate::options::VpcOptions;
use crate::paged_table::PAGE_ENTRIES;
use crate::raw::{SECTOR, sectors};
use crate::registry::{Creation, Registered, Source};
use crate::resizable::Resizable;
use crate::sector_bitmap::{self, FirstBit};
use crate::{
    BackingReference, DiskIdentity, Driver, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset,
    ImageFile, Mapping, Result, Target, Writer,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Vpc,
    open: |source| Ok(Box::new(Resizable::new(Vpc::open(source, &VpcOptions::default())?))),
    create: Creation::InFiles(create::create),
};

/// A VPC image.
#[derive(Debug)]
pub struct Vpc {
    footer: RawFooter,
    /// How the size is told, if somebody knows better than the image.
    size_in: Option<SizeIn>,
    size: u64,
    layout: Layout,
    /// The disk that this one stands on.
    parent: Option<Parent>,
    /// For what goes where the committed image does not look.
    disk: Arc<dyn Disk>,
    /// For what replaces something.
    in_place: Arc<dyn Disk>,
    access: Access,
}

/// Where the guest's bytes are.
#[derive(Debug)]
enum Layout {
    /// In the file as they are.
    Fixed {
        /// Bytes of the file before the footer.
        room: u64,
    },
    /// In blocks.
    Dynamic(Box<Blocks>),
}

impl Vpc {
    /// An image in a file.
    pub(crate) fn open(source: Source<'_>, options: &VpcOptions) -> Result<Self> {
        let Source { disk, flags, name, .. } = source;
        let in_place = disk.in_place().unwrap_or_else(|| Arc::clone(&disk));
        let at_start = read_footer(&*in_place, 0).context(|| "Unable to read VHD header".to_owned())?;
        // Of an empty disk the footer is all there is.
        let at_start = at_start.filter(|footer| footer.kind() != Kind::Fixed || !is_footer_alone(&*in_place));
        let Some(footer) = at_start else {
            let (footer, at) = footer_of_fixed(&*in_place)?;
            footer.check()?;
            let size = footer.size(options.size_in).map_err(|error| of_file(error, name))?;
            let layout = Layout::Fixed { room: at };
            let (size_in, access) = (options.size_in, flags.access);
            return Ok(Self { footer, size_in, size, layout, parent: None, disk, in_place, access });
        };
        footer.check()?;
        let size = footer.size(options.size_in).map_err(|error| of_file(error, name))?;
        let raw = read_header(&*in_place, &footer)?;
        let blocks = Blocks::open(Header::parse(&raw, size)?, &footer, &in_place)?;
        let (layout, parent) = match footer.kind() {
            // A fixed disk with all this before it is nothing that can be written.
            Kind::Fixed => (Layout::Fixed { room: 0 }, None),
            Kind::Dynamic => (Layout::Dynamic(Box::new(blocks)), None),
            Kind::Differencing => {
                let parent = Parent::read(&*in_place, &raw)?;
                (Layout::Dynamic(Box::new(blocks.over_parent())), Some(parent))
            }
        };
        let (size_in, access) = (options.size_in, flags.access);
        Ok(Self { footer, size_in, size, layout, parent, disk, in_place, access })
    }
}

/// An error for which QEMU has no other words than the operating system's.
fn of_file(error: Error, name: &str) -> Error {
    error.context(format!("Could not open '{name}'"))
}

fn read_footer(disk: &dyn Disk, at: u64) -> Result<Option<RawFooter>> {
    let mut bytes = [0; FOOTER_SIZE as usize];
    disk.read_padded(at, &mut bytes)?;
    Ok(RawFooter::recognise(bytes))
}

fn is_footer_alone(disk: &dyn Disk) -> bool {
    disk.len().is_ok_and(|len| len == FOOTER_SIZE)
}

/// A fixed disk has its only footer at the end of the file. The footer, and where it is.
fn footer_of_fixed(disk: &dyn Disk) -> Result<(RawFooter, u64)> {
    let len = sectors(disk.len()?);
    let at = len.checked_sub(FOOTER_SIZE).ok_or_else(|| Error::corrupt("File too small for a VHD header"))?;
    let footer = read_footer(disk, at)?.filter(|footer| footer.kind() == Kind::Fixed);
    footer.map(|footer| (footer, at)).ok_or_else(|| Error::invalid("invalid VPC image"))
}

fn read_header(disk: &dyn Disk, footer: &RawFooter) -> Result<RawHeader> {
    let unreadable = || "Error reading dynamic VHD header".to_owned();
    let at = footer.data_offset.get();
    if at > crate::resize::MAX_DISK_SIZE - HEADER_SIZE {
        return Err(Error::corrupt(unreadable()));
    }
    let mut raw = RawHeader::new_zeroed();
    disk.read_padded(at, raw.as_mut_bytes()).context(unreadable)?;
    Ok(raw)
}

impl Blocks {
    /// What stands behind guest bytes.
    fn map(&self, disk: &Arc<dyn Disk>, at: u64, len: u64) -> Result<Mapping> {
        let block_size = self.header.block_size;
        let (first, within) = (at / block_size, at % block_size);
        let last = (at + len - 1) / block_size;
        // No further than the table's page: who asks may need only a little of it.
        let last = last.min((first / PAGE_ENTRIES + 1) * PAGE_ENTRIES - 1);
        let start = self.host(first)?;
        if let (Some(host), true) = (start, self.is_differencing)
            && !self.is_full(first)?
        {
            return self.map_sectors(disk, host, within, len.min(block_size - within));
        }
        let mut next = first + 1;
        // Blocks with data are told one by one: each has its bitmap before it.
        while start.is_none() && next <= last && self.host(next)?.is_none() {
            next += 1;
        }
        let len = len.min(next * block_size - at);
        let target = match start {
            Some(host) => Target::Data {
                disk: Arc::clone(disk),
                offset: HostOffset(host + self.header.bitmap_size() + within),
                holes: Holes::Ignored,
            },
            None if self.is_differencing => Target::Unallocated { host: None },
            None => Target::Zero { host: None },
        };
        Ok(Mapping { len, target })
    }

    /// What stands behind a range within a block of a differencing disk.
    fn map_sectors(&self, disk: &Arc<dyn Disk>, host: u64, within: u64, len: u64) -> Result<Mapping> {
        let end = (within + len).div_ceil(SECTOR);
        let (is_here, past) = sector_bitmap::run(&**disk, host, within / SECTOR, end, FirstBit::Highest)?;
        let target = match is_here {
            true => Target::Data {
                disk: Arc::clone(disk),
                offset: HostOffset(host + self.header.bitmap_size() + within),
                holes: Holes::Ignored,
            },
            false => Target::Unallocated { host: None },
        };
        Ok(Mapping { len: len.min(past * SECTOR - within), target })
    }
}

impl Driver for Vpc {
    fn format(&self) -> Format {
        Format::Vpc
    }

    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        match &self.layout {
            Layout::Fixed { .. } => {
                let disk = Arc::clone(&self.in_place);
                let target = Target::Data { disk, offset: HostOffset(at.0), holes: Holes::Zero };
                Ok(Mapping { len, target })
            }
            Layout::Dynamic(blocks) => blocks.map(&self.in_place, at.0, len),
        }
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.parent.as_ref().map(|parent| &parent.reference)
    }

    fn stand_on(&mut self, backing: &dyn Driver) -> Result<()> {
        let parent = self.parent.as_ref();
        parent.map_or(Ok(()), |parent| require_parent(backing, |identity| parent.is(identity)))
    }

    fn identity(&self) -> Result<Option<DiskIdentity>> {
        let modified = self.disk.status()?.modified;
        Ok(Some(DiskIdentity { id: self.footer.uuid, modified, sector_size: SECTOR }))
    }

    fn details(&self) -> Result<FormatDetails> {
        let cluster_size = match &self.layout {
            Layout::Fixed { .. } => None,
            Layout::Dynamic(blocks) => Some(blocks.header.block_size),
        };
        Ok(FormatDetails { cluster_size, dirty: Some(false), ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == Access::Write).then_some(self as _)
    }
}
