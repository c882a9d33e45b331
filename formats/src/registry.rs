//! The formats that get in by registration: each in a folder of its own, with a line here.
//!
//! They have one file, no options of their own when they are opened, and nothing behind them.

use std::sync::Arc;

use journal::{Access, Disk};

use crate::create::CreateOptions;
use crate::{Driver, Error, Format, OpenFlags, Result, bochs, cloop, dmg, parallels, qed, vdi, vhdx, vpc};

/// A driver over its file, if there could be one.
pub(crate) type Opened = Result<Box<dyn Driver>>;

/// The file that an image is opened from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// The file.
    pub(crate) disk: Arc<dyn Disk>,
    /// How it is opened.
    pub(crate) flags: &'a OpenFlags,
    /// What it is called, for messages.
    pub(crate) name: &'a str,
}

/// A format, and how its images are opened and made.
pub(crate) struct Registered {
    /// The format.
    pub(crate) format: Format,
    /// Opens an image.
    pub(crate) open: fn(Source<'_>) -> Opened,
    /// Lays out a new image in an empty file, and opens it for writing.
    pub(crate) create: fn(&CreateOptions, Arc<dyn Disk>) -> Opened,
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
