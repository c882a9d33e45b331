//! Opening the files under images.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use journal::{Access, Caching, Disk, DiskKind, Following, OpenOptions};

use super::claim::{Locking, Need};
use super::image::Opener;
use crate::error::ResultExt;
use crate::image::{Below, Child, FileNode, NodeName, Parts};
use crate::layered::ImageDisk;
use crate::null::NullDisk;
use crate::options::{DriverName, NodeOptions, NullNode, ProtocolNode};
use crate::raw::Raw;
use crate::resize::MAX_DISK_SIZE;
use crate::shown::shown;
use crate::{Error, ErrorKind, Image, OpenFlags, Result};

/// What stands under an image: its bytes, and how to lock them.
pub(super) struct Opened {
    pub(super) below: Below,
    pub(super) disk: Arc<dyn Disk>,
    /// The same bytes for a raw image, where it matters who uses them.
    pub(super) under_raw: Option<Arc<dyn Disk>>,
    pub(super) locking: Locking,
}

impl Opened {
    /// An image whose virtual disk is the file. Its own files have been locked.
    pub(super) fn of_image(image: Image) -> Self {
        let image = Arc::new(image);
        let disk = Arc::new(ImageDisk::new(Arc::clone(&image)));
        Self { below: Below::Image(image), disk, under_raw: None, locking: Locking::Off }
    }

    pub(super) fn into_child(self, role: impl Into<Cow<'static, str>>) -> Child {
        Child { role: role.into(), below: self.below, disk: self.disk }
    }
}

impl Opener<'_> {
    /// A file as an image: its bytes, without a format.
    pub(super) fn open_bare_file(&self, node: &ProtocolNode, need: Need) -> Result<Image> {
        let file = self.open_file(node)?;
        need.claim(&*file.disk, self.locking(node))?;
        self.bare(&file)
    }

    /// A disk that keeps nothing, as an image.
    pub(super) fn open_bare_null(&self, node: &NullNode) -> Result<Image> {
        self.bare(&self.open_null(node)?)
    }

    pub(super) fn bare(&self, file: &FileNode) -> Result<Image> {
        let driver = Box::new(Raw::whole(Arc::clone(&file.disk), self.flags.access)?);
        Ok(Image::from_parts(Parts {
            name: file.name.clone(),
            driver_name: file.driver,
            driver,
            children: Vec::new(),
            backing_name: None,
            backing: None,
            probed: false,
        }))
    }

    /// The file, or the other image, that an image lies in. A file is not locked yet.
    pub(super) fn open_below(&self, node: NodeOptions, need: Need) -> Result<Opened> {
        match node {
            NodeOptions::Protocol(node) => {
                let file = self.open_file(&node)?;
                let disk = Arc::clone(&file.disk);
                Ok(Opened { below: Below::File(file), disk, under_raw: None, locking: self.locking(&node) })
            }
            NodeOptions::Null(node) => {
                let file = self.open_null(&node)?;
                let disk = Arc::clone(&file.disk);
                Ok(Opened { below: Below::File(file), disk, under_raw: None, locking: Locking::Off })
            }
            NodeOptions::Blkdebug(node) => self.open_blkdebug_below(node, need),
            NodeOptions::Quorum(node) => Ok(Opened::of_image(self.open_quorum(node, need)?)),
            NodeOptions::Vvfat(node) => Ok(Opened::of_image(self.open_vvfat(&node)?)),
            NodeOptions::Format(node) => {
                // What is behind the image below belongs to its bytes.
                let flags = OpenFlags { writable_backing: None, backing: true, ..self.flags };
                Opener { flags, ..*self }.open_format_below(node, need)
            }
            NodeOptions::Filter(node) => self.open_filter_below(node, need),
        }
    }

    fn open_file(&self, node: &ProtocolNode) -> Result<FileNode> {
        let filename = &node.options.filename;
        let shown = shown(filename);
        if filename.is_empty() {
            let driver = if node.driver == Some(DriverName::HostDevice) { "host_device" } else { "file" };
            return Err(Error::invalid(format!("The '{driver}' block driver requires a file name")));
        }
        if filename.as_bytes().starts_with(b"/dev/fdset/") {
            // Sets of descriptors are handed to a running QEMU; a command has none.
            let reason = Error::unsupported("Function not implemented");
            return Err(reason.context(format!("Could not open '{shown}'")));
        }
        if self.flags.access == Access::Write && node.generic.read_only == Some(true) {
            return Err(Error::invalid("Block node is read-only"));
        }
        if self.flags.access == Access::Write && node.generic.force_share == Some(true) {
            return Err(Error::invalid("force-share=on can only be used with read-only images"));
        }
        let following = self.context.gate.following();
        let options = OpenOptions { access: self.flags.access, caching: self.caching_of(node), following };
        let disk = self
            .context
            .fs
            .open(Path::new(filename), options)
            .context(|| format!("Could not open '{shown}'"))?;
        tracing::debug!(file = %shown, ?options, "Opened a file.");
        let kind = disk.status()?.kind;
        if following == Following::Nothing && kind != DiskKind::Regular {
            return Err(Error::new(ErrorKind::Refused, format!("'{shown}' is not a regular file")));
        }
        let driver = driver_for(node.driver, kind, &shown)?;
        match node.unknown.first_key() {
            Some(key) => {
                Err(Error::invalid(format!("Block protocol '{driver}' doesn't support the option '{key}'")))
            }
            None => Ok(FileNode { driver, name: NodeName::file(driver, filename), disk }),
        }
    }

    fn open_null(&self, node: &NullNode) -> Result<FileNode> {
        let driver = node.driver;
        if self.flags.access == Access::Write && node.generic.read_only == Some(true) {
            return Err(Error::invalid("Block node is read-only"));
        }
        if let Some(key) = node.unknown.first_key() {
            let text = format!("Block protocol '{driver}' doesn't support the option '{key}'");
            return Err(Error::invalid(text));
        }
        if node.size > MAX_DISK_SIZE {
            return Err(Error::corrupt("Could not refresh total sector count: File too large"));
        }
        let own = node.spelled.iter().map(|(key, value)| (*key, value.into())).collect();
        let name = NodeName::without_file(driver, own);
        Ok(FileNode { driver, name, disk: Arc::new(NullDisk::new(driver, node.size)) })
    }

    fn caching_of(&self, node: &ProtocolNode) -> Caching {
        match node.generic.direct {
            Some(true) => Caching::Direct,
            Some(false) => Caching::Cached,
            None => self.flags.cache.caching,
        }
    }

    fn locking(&self, node: &ProtocolNode) -> Locking {
        let shared = self.flags.force_share || node.generic.force_share == Some(true);
        match (node.options.locking, shared) {
            (Some(false), _) => Locking::Off,
            (_, true) => Locking::Sharing,
            (_, false) => Locking::On,
        }
    }
}

/// The driver of a file of that kind, if the one that was asked for can have it.
fn driver_for(asked: Option<DriverName>, kind: DiskKind, shown: &str) -> Result<&'static str> {
    let is_device = matches!(kind, DiskKind::Block | DiskKind::Character);
    match (asked, is_device) {
        (None | Some(DriverName::HostDevice), true) => Ok("host_device"),
        (Some(DriverName::HostDevice), false) => Err(Error::invalid(format!(
            "'host_device' driver requires '{shown}' to be either a character or block device"
        ))),
        _ if kind == DiskKind::Regular => Ok("file"),
        _ => Err(Error::invalid(format!("'file' driver requires '{shown}' to be a regular file"))),
    }
}
