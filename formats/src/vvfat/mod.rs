//! A directory of the host as a disk with a FAT filesystem, which is only read.
//!
//! The disk is made up when it is opened: names, times and sizes are looked at once, and each file gets its
//! clusters. What is in the files is read when it is asked for; a file that is not any more what it was then is
//! not read.

mod boot;
mod disk;
mod fat;
mod layout;
mod names;
mod tree;

use std::sync::Arc;

use disk::DiskBytes;
use journal::Disk;
pub use layout::Medium;
use layout::{FatType, Layout};
use tree::Tree;

use crate::made_up::{Bytes, MadeUpDisk};
use crate::options::VvfatNode;
use crate::{
    Driver, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile, Mapping, Result, Target, notice,
};

/// A directory as a disk.
#[derive(Debug)]
pub(crate) struct Vvfat {
    disk: Arc<MadeUpDisk<DiskBytes>>,
}

impl Vvfat {
    /// Looks at the directory that the options name.
    pub(crate) fn open(options: &VvfatNode) -> Result<Self> {
        let layout = Layout::new(options.fat_bits, options.medium)?;
        let tree = Tree::look(&layout, &options.directory, options.label)?;
        let first_sectors = boot::first_sectors(&layout, options.label);
        let fat = fat::table(&layout, &tree);
        Ok(Self { disk: Arc::new(MadeUpDisk(DiskBytes::new(layout, first_sectors, fat, tree))) })
    }

    /// Whether there can be such a disk; what QEMU warns of is told.
    pub(crate) fn check(options: &VvfatNode) -> Result<()> {
        if Layout::new(options.fat_bits, options.medium)?.fat_type == FatType::Fat32 {
            notice::warn("FAT32 has not been tested. You are welcome to do so!");
        }
        Ok(())
    }
}

impl Driver for Vvfat {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn virtual_size(&self) -> u64 {
        self.disk.0.size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        Ok(Mapping { len, target: Target::Data { disk, offset: HostOffset(at.0), holes: Holes::Nowhere } })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        Vec::new()
    }
}
