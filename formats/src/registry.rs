//! The formats that get in by registration: each in a folder of its own, with a line here.
//!
//! They have no options of their own when they are opened. What an image names besides, a file with a part of
//! it or the image behind it, is opened by whoever opens the image.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use journal::{Access, Disk};

use crate::create::CreateOptions;
use crate::{
    Driver, Error, Format, Image, OpenFlags, Result, bochs, cloop, dmg, parallels, qed, vdi, vhdx, vmdk, vpc,
};

/// A driver over its file, if there could be one.
pub(crate) type Opened = Result<Box<dyn Driver>>;

/// The file that an image is opened from.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    /// The file.
    pub(crate) disk: Arc<dyn Disk>,
    /// How it is opened.
    pub(crate) flags: &'a OpenFlags,
    /// What it is called, for messages.
    pub(crate) name: &'a str,
    /// Opens what the image names besides.
    pub(crate) further: &'a dyn FurtherFiles,
}

impl<'a> Source<'a> {
    /// An image that is all in one file.
    pub(crate) fn alone(disk: Arc<dyn Disk>, flags: &'a OpenFlags, name: &'a str) -> Self {
        Self { disk, flags, name, further: &NoFurtherFiles }
    }
}

/// Files that an image names.
pub(crate) trait FurtherFiles {
    /// Opens one of them, in the way the image itself is opened.
    fn open(&self, file: FurtherFile<'_>) -> Result<OpenedFile>;
}

/// A file that an image names.
#[derive(Debug)]
pub(crate) struct FurtherFile<'a> {
    /// Its role, as it is told: `extents.0`.
    pub(crate) role: String,
    /// Its name; a relative one counts from the image's directory.
    pub(crate) name: &'a [u8],
    /// What it has of the image.
    pub(crate) content: FileContent,
}

/// What a file has of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// The guest's bytes as they are.
    Data,
    /// What tells where they are, too: nobody may write beside who has it.
    Metadata,
}

/// A file that an image names, opened.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    /// The file.
    pub(crate) disk: Arc<dyn Disk>,
    /// What it is called, for messages.
    pub(crate) name: String,
}

/// Of an image that is all in one file.
struct NoFurtherFiles;

impl FurtherFiles for NoFurtherFiles {
    fn open(&self, _file: FurtherFile<'_>) -> Result<OpenedFile> {
        Err(Error::corrupt("The image names a file that it cannot have"))
    }
}

/// Files of an image that is being made.
pub(crate) trait NewFiles {
    /// The name that the image is to have.
    fn target(&self) -> Result<OsString>;

    /// Begins a file of that name. The image's own comes first.
    fn begin(&mut self, name: &OsStr) -> Result<Arc<dyn Disk>>;

    /// The image that the options name as the one behind it.
    fn backing(&self) -> Result<Option<Arc<Image>>>;
}

/// A format, and how its images are opened and made.
pub(crate) struct Registered {
    /// The format.
    pub(crate) format: Format,
    /// Opens an image.
    pub(crate) open: fn(Source<'_>) -> Opened,
    /// Lays out a new image, and opens it for writing.
    pub(crate) create: Creation,
}

/// How a new image is laid out.
pub(crate) enum Creation {
    /// In an empty file.
    InOneFile(fn(&CreateOptions, Arc<dyn Disk>) -> Opened),
    /// In as many files as it takes.
    InFiles(fn(&CreateOptions, &mut dyn NewFiles) -> Opened),
}

/// All of them.
const FORMATS: &[Registered] = &[
    bochs::REGISTERED,
    cloop::REGISTERED,
    dmg::REGISTERED,
    parallels::REGISTERED,
    qed::REGISTERED,
    vdi::REGISTERED,
    vhdx::REGISTERED,
    vmdk::REGISTERED,
    vpc::REGISTERED,
];

/// How a format is opened and made, if it is one of these.
pub(crate) fn find(format: Format) -> Option<&'static Registered> {
    FORMATS.iter().find(|registered| registered.format == format)
}

/// The refusal of a format that is only read.
pub(crate) fn no_creation(format: Format) -> Error {
    Error::unsupported(format!("Format driver '{format}' does not support image creation"))
}

/// Fails if an image of a format that is only read is opened for writing.
pub(crate) fn require_reading(flags: &OpenFlags) -> Result<()> {
    match flags.access {
        Access::Read => Ok(()),
        Access::Write => Err(Error::unsupported("Image is read-only")),
    }
}
