//! prl-xml: bundles of Parallels, a descriptor in XML (`DiskDescriptor.xml`) and the files that hold the disk
//! (Parallels Disk Format). QEMU has no driver for them.
//!
//! ```text
//!   disk:   part │ part │ …          each with a stack of images, snapshots below the one on top
//! ```
//!
//! They are read only.

pub(crate) mod descriptor;

use std::ops::Range;
use std::sync::Arc;

use journal::Disk;

use crate::{Driver, Format, FormatDetails, GuestOffset, ImageFile, Mapping, Result, Target};

/// A bundle.
#[derive(Debug)]
pub(crate) struct PrlXml {
    pub(crate) size: u64,
    /// The parts of the disk, ascending. Where only the metadata are looked at there are none.
    pub(crate) parts: Vec<Part>,
    /// The descriptor's file.
    pub(crate) disk: Arc<dyn Disk>,
}

/// A part of the disk.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its bytes on the disk.
    pub(crate) range: Range<u64>,
    /// The images that hold it, the one that counts first.
    pub(crate) layers: Vec<Box<dyn Driver>>,
}

impl Part {
    /// What stands behind bytes of the part.
    fn map(&self, at: u64, mut len: u64) -> Result<Mapping> {
        for layer in &self.layers {
            let Some(left) = layer.virtual_size().checked_sub(at).filter(|&left| left > 0) else { continue };
            let mapping = layer.map(GuestOffset(at), len.min(left))?;
            len = mapping.len;
            if !matches!(mapping.target, Target::Unallocated { .. }) {
                return Ok(mapping);
            }
        }
        Ok(Mapping { len, target: Target::Unallocated { host: None } })
    }
}

impl Driver for PrlXml {
    fn format(&self) -> Format {
        Format::PrlXml
    }

    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let number = self.parts.partition_point(|part| part.range.end <= at.0);
        let Some(part) = self.parts.get(number) else {
            return Ok(Mapping { len, target: Target::Unallocated { host: None } });
        };
        match at.0.checked_sub(part.range.start) {
            Some(within) => part.map(within, len.min(part.range.end - at.0)),
            None => {
                let len = len.min(part.range.start - at.0);
                Ok(Mapping { len, target: Target::Unallocated { host: None } })
            }
        }
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }
}
