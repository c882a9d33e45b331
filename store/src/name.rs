//! How a person names an image.

use std::ffi::OsString;

use formats::open::{open_filename, open_image_opts};
use formats::{Image, OpenContext, OpenFlags, Result};

/// An image as it is named on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// A file name, perhaps with a protocol in front.
    File {
        /// The name.
        name: OsString,
        /// The format, if it is not to be found by looking.
        format: Option<String>,
    },
    /// Block options: `driver=…,file.filename=…`.
    Options(OsString),
}

impl ImageName {
    /// Opens it.
    pub fn open(&self, context: &OpenContext<'_>, flags: OpenFlags) -> Result<Image> {
        match self {
            Self::File { name, format } => open_filename(context, name, format.as_deref(), flags),
            Self::Options(options) => open_image_opts(context, options, flags),
        }
    }

    /// The name or the options, as they were given.
    pub fn text(&self) -> &OsString {
        match self {
            Self::File { name, .. } => name,
            Self::Options(options) => options,
        }
    }
}
