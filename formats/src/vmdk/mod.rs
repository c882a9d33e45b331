//! VMDK: VMware's disks.
//!
//! ```text
//!   descriptor      text: type, identities, the image behind it, extents
//!     └─ extents    flat:    the guest's bytes in a file
//!                   sparse:  grains that tables lead to, in a file with a header
//! ```
//!
//! The descriptor is a file of its own, or stands in that of the only extent. An image changes its identity
//! with its content, and remembers that of the one behind it: what has changed there is not read.

mod check;
mod create;
mod descriptor;
mod extents;
mod grains;
mod grow;
mod header;
mod sesparse;
mod space;
mod writer;

use std::sync::{Arc, Mutex};

use journal::{Access, Disk};

use self::extents::{Extent, Extents};
use self::writer::Changes;
use crate::raw::SECTOR;
use crate::registry::{Creation, Registered, Source};
use crate::resizable::Resizable;
use crate::{
    BackingReference, CheckReport, Driver, Error, Finding, Format, FormatDetails, GuestOffset, ImageFile,
    Mapping, Result, Writer,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Vmdk,
    open: |source| Ok(Box::new(Resizable::new(Vmdk::open(source)?))),
    create: Creation::InFiles(create::create),
};

/// Where a descriptor is that stands in the file of an extent.
const EMBEDDED_AT: u64 = SECTOR;
/// The identity of no image.
const NO_PARENT: u32 = u32::MAX;

/// A VMDK image.
#[derive(Debug)]
pub struct Vmdk {
    /// The file that it was opened from.
    file: Arc<dyn Disk>,
    /// Where in it the descriptor is.
    descriptor_at: u64,
    extents: Vec<Extent>,
    create_type: String,
    /// Its identity, and that of the image behind it, as it was opened.
    identities: (u32, u32),
    parent: Option<BackingReference>,
    /// Whether what is behind it is what it was put on.
    is_parent_known: bool,
    changes: Mutex<Changes>,
    access: Access,
}

/// What a failing disk is told as.
fn io_error() -> Error {
    Error::corrupt("Input/output error")
}

/// What a wrong request is told as.
fn invalid() -> Error {
    Error::invalid("Invalid argument")
}

impl Vmdk {
    /// An image in a file, and in those that it names.
    pub(crate) fn open(source: Source<'_>) -> Result<Self> {
        let extents = Extents::open(&source)?;
        Self::assemble(source, extents)
    }

    /// The image of these extents, whose descriptor is in the file.
    fn assemble(source: Source<'_>, extents: Extents) -> Result<Self> {
        let Extents { list: extents, descriptor_at, create_type } = extents;
        let mut text = vec![0; descriptor::LOOKED_AT];
        source.disk.read_padded(descriptor_at, &mut text)?;
        let text = descriptor::up_to_nul(text);
        // QEMU has no words for what is missing.
        let unnamed = |error: Error| error.context(format!("Could not open '{}'", source.name));
        let parent = descriptor::parent(&text).map_err(unnamed)?.map(|name| BackingReference {
            name: name.to_vec(),
            format: Some(Format::Vmdk.name().to_owned()),
        });
        let identity = |name| descriptor::identity(&text, name).ok_or_else(|| unnamed(invalid()));
        let identities = (identity(b"CID")?, identity(b"parentCID")?);
        if extents.last().is_some_and(|last| last.end > i64::MAX as u64) {
            return Err(Error::corrupt("Could not refresh total sector count: File too large"));
        }
        Ok(Self {
            file: source.disk,
            descriptor_at,
            extents,
            create_type,
            changes: Mutex::new(Changes::new(identities.0)),
            identities,
            parent,
            is_parent_known: true,
            access: source.flags.access,
        })
    }

    /// The extent with a byte of the disk.
    fn extent(&self, at: u64) -> Result<&Extent> {
        let place = self.extents.partition_point(|extent| extent.end <= at);
        self.extents.get(place).ok_or_else(io_error)
    }

    /// The first extent, if all are like it.
    fn model(&self) -> Option<&Extent> {
        let (first, others) = self.extents.split_first()?;
        others.iter().all(|other| other.is_like(first)).then_some(first)
    }
}

impl Driver for Vmdk {
    fn format(&self) -> Format {
        Format::Vmdk
    }

    fn virtual_size(&self) -> u64 {
        self.extents.last().map_or(0, |last| last.end)
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let extent = self.extent(at.0)?;
        extent.map(at.0 - extent.start, len.min(extent.end - at.0))
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.parent.as_ref()
    }

    fn content_id(&self) -> Option<u32> {
        Some(self.changes().identity)
    }

    fn stand_on(&mut self, backing: &dyn Driver) -> Result<()> {
        self.is_parent_known = backing.content_id() == Some(self.identities.1);
        Ok(())
    }

    fn trust_backing(&self) -> Result<()> {
        if self.is_parent_known { Ok(()) } else { Err(invalid()) }
    }

    fn details(&self) -> Result<FormatDetails> {
        let extents: Vec<_> = self.extents.iter().map(Extent::details).collect();
        let specific = serde_json::json!({
            "type": "vmdk",
            "data": {
                "create-type": self.create_type,
                "cid": self.identities.0,
                "parent-cid": self.identities.1,
                "extents": extents,
            },
        });
        Ok(FormatDetails {
            cluster_size: self.model().and_then(Extent::grain_size),
            dirty: self.model().map(|_| false),
            specific: Some(specific),
            ..FormatDetails::default()
        })
    }

    fn files(&self) -> Vec<ImageFile> {
        let main = ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.file), name: Vec::new() };
        let extents = self.extents.iter().enumerate().map(|(number, extent)| ImageFile {
            role: format!("extents.{number}"),
            disk: Arc::clone(extent.file()),
            name: Vec::new(),
        });
        std::iter::once(main).chain(extents.filter(|file| !Arc::ptr_eq(&file.disk, &self.file))).collect()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == Access::Write && self.can_write()).then_some(self as _)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        check::check(self, tell)
    }
}
