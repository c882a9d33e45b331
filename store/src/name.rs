//! How a person names an image.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use formats::open::{open_filename, open_image_opts};
use formats::options::{Dict, NodeOptions, ParsedNode, Slot, image_opts};
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

    /// The file that it lies in, found by looking at the name alone.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File { name, .. } => file_of_name(name),
            Self::Options(text) => {
                let options = image_opts::parse(text.as_bytes()).ok()?.options;
                file_of(&ParsedNode::new(None, options, Slot::Image).ok()?.node)
            }
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

/// The file that an image of that name lies in, found by looking at the name alone.
pub(crate) fn file_of_name(name: &OsStr) -> Option<PathBuf> {
    file_of(&ParsedNode::new(Some(name), Dict::default(), Slot::Image).ok()?.node)
}

fn file_of(node: &NodeOptions) -> Option<PathBuf> {
    match node {
        NodeOptions::Format(node) => file_of(&node.file),
        NodeOptions::Filter(node) => file_of(&node.file),
        NodeOptions::Blkdebug(node) => file_of(&node.image),
        NodeOptions::Null(_) | NodeOptions::Vvfat(_) | NodeOptions::Quorum(_) => None,
        NodeOptions::Protocol(node) => {
            let filename = &node.options.filename;
            (!filename.is_empty()).then(|| filename.into())
        }
    }
}
