//! VDI: VirtualBox's disks.
//!
//! A header, one table with the number of each guest block in the file, and the blocks. Blocks have no
//! order in a dynamic image; a static one has them all from the start.

mod check;
mod create;
mod grow;
mod header;
mod writer;

use std::sync::{Arc, Mutex};

use journal::{Access, Disk};
use zerocopy::little_endian::U32;

use self::header::{BLOCK_SIZE, DISCARDED, Header};
use self::writer::Space;
use crate::error::ResultExt;
use crate::paged_table::{PAGE_ENTRIES, PagedTable};
use crate::raw::SECTOR;
use crate::registry::{Creation, Registered};
use crate::resizable::Resizable;
use crate::{
    CheckReport, Driver, Error, Finding, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile,
    Mapping, OpenFlags, Result, Target, Writer,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Vdi,
    open: |source| Ok(Box::new(Resizable::new(Vdi::open(source.disk, source.flags)?))),
    create: Creation::InOneFile(create::create),
};

/// A VDI image.
#[derive(Debug)]
pub struct Vdi {
    header: Header,
    /// For what goes where the committed image does not look.
    disk: Arc<dyn Disk>,
    /// For what replaces something.
    in_place: Arc<dyn Disk>,
    table: PagedTable<U32>,
    space: Mutex<Option<Space>>,
    access: Access,
}

impl Vdi {
    /// An image in a file.
    pub fn open(disk: Arc<dyn Disk>, flags: &OpenFlags) -> Result<Self> {
        let mut bytes = [0; SECTOR as usize];
        disk.read_padded(0, &mut bytes).context(|| "Could not read the header".to_owned())?;
        let header = Header::parse(&bytes)?;
        if header.table_end() > disk.len()? {
            return Err(Error::corrupt("The block map lies beyond the end of the file"));
        }
        let in_place = disk.in_place().unwrap_or_else(|| Arc::clone(&disk));
        let table = PagedTable::new(Arc::clone(&in_place), header.table_offset, header.blocks.into());
        Ok(Self { header, disk, in_place, table, space: Mutex::new(None), access: flags.access })
    }

    /// The block of the file that holds a guest block, if one does.
    fn block(&self, guest_block: u64) -> Result<Option<u32>> {
        let entry = self.table.get(guest_block)?.get();
        Ok((entry < DISCARDED).then_some(entry))
    }
}

impl Driver for Vdi {
    fn format(&self) -> Format {
        Format::Vdi
    }

    fn virtual_size(&self) -> u64 {
        self.header.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let (first, within) = (at.0 / BLOCK_SIZE, at.0 % BLOCK_SIZE);
        let last = (at.0 + len - 1) / BLOCK_SIZE;
        // No further than the table's page: who asks may need only a little of it.
        let last = last.min((first / PAGE_ENTRIES + 1) * PAGE_ENTRIES - 1);
        let start = self.block(first)?;
        let mut next = first + 1;
        // Blocks with data are told one by one, as qemu-img does: a strict comparison sees where runs end.
        while start.is_none() && next <= last && self.block(next)?.is_none() {
            next += 1;
        }
        let len = len.min(next * BLOCK_SIZE - at.0);
        let target = match start {
            Some(block) => Target::Data {
                disk: Arc::clone(&self.in_place),
                offset: HostOffset(self.header.host(block) + within),
                holes: if self.header.is_static { Holes::Zero } else { Holes::Ignored },
            },
            None => Target::Zero { host: None },
        };
        Ok(Mapping { len, target })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails { cluster_size: Some(BLOCK_SIZE), dirty: Some(false), ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == Access::Write).then_some(self as _)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        check::check(self, tell)
    }
}
