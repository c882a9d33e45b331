//! Opening: from a name or a text of options to an image with its chain.
//!
//! ```text
//!   text ──► NodeOptions ──► file opened ──► probed ──► locked ──► driver ──► backing (again)
//! ```
//!
//! Whatever an image names (its data file, its backing image) passes the [`Gate`](crate::Gate)
//! first. Backing images are opened for reading, whatever the image on top is opened for.

mod blkdebug;
mod claim;
mod file;
mod filter;
mod further;
mod image;
mod prl_xml;
mod quorum;
mod vvfat;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use claim::Need;
use image::Opener;
use journal::{Access, Caching};

use crate::error::ResultExt;
use crate::options::{Dict, ParsedNode, Scalar, Slot, image_opts, name};
use crate::shown::{printed, shown};
use crate::{Error, Image, OpenContext, OpenFlags, Result, notice};

/// Opens the image of that name: a file name, with or without a protocol, or `json:{…}`.
///
/// A `format` is not looked for; without one it is probed.
pub fn open_filename(
    context: &OpenContext<'_>,
    filename: &OsStr,
    format: Option<&str>,
    flags: OpenFlags,
) -> Result<Image> {
    open_new_backing(context, filename, format, flags).context(|| could_not_open(filename))
}

/// The same for the backing image of an image that is to be made: a failure is told without the
/// sentence that names the image.
pub fn open_new_backing(
    context: &OpenContext<'_>,
    filename: &OsStr,
    format: Option<&str>,
    flags: OpenFlags,
) -> Result<Image> {
    let mut options = Dict::default();
    if let Some(format) = format {
        options.put("driver", Scalar::text(printed(format.as_bytes())));
    }
    open_tree(context, Some(filename), options, flags)
}

/// Opens the image that `--image-opts` describe.
pub fn open_image_opts(context: &OpenContext<'_>, text: &OsStr, flags: OpenFlags) -> Result<Image> {
    let parsed = image_opts::parse(text.as_bytes())?;
    tell(&parsed.warnings);
    open_tree(context, None, parsed.options, flags).context(|| could_not_open(text))
}

/// Opens the backing image that a new image at `target` is going to name: a relative name counts
/// from the target's directory.
pub fn open_backing(
    context: &OpenContext<'_>,
    target: &OsStr,
    backing: &OsStr,
    format: Option<&str>,
    flags: OpenFlags,
) -> Result<Image> {
    let mut options = Dict::default();
    if let Some(format) = format {
        options.put("driver", Scalar::text(printed(format.as_bytes())));
    }
    open_tree(context, Some(&name::relative_to(target, backing)), options, flags)
        .context(|| "Could not open backing file".to_owned())
        .context(|| could_not_open(target))
}

fn could_not_open(what: &OsStr) -> String {
    format!("Could not open '{}'", shown(what))
}

fn tell(warnings: &[String]) {
    for warning in warnings {
        notice::warn(warning);
    }
}

fn open_tree(
    context: &OpenContext<'_>,
    filename: Option<&OsStr>,
    mut options: Dict,
    flags: OpenFlags,
) -> Result<Image> {
    if flags.cache.caching == Caching::Direct && !options.has("cache.direct") {
        options.put("cache.direct", Scalar::Bool(true));
    }
    filename.map_or(Ok(()), |filename| context.gate.admit_name(filename))?;
    let parsed = ParsedNode::new(filename, options, Slot::Image)?;
    tell(&parsed.warnings);
    let read_only = parsed.node.is_read_only();
    let image = Opener { context, flags, above: None }.open(parsed.node, Need::of(&flags))?;
    // Options can make an image read-only; a check has its own way of writing.
    let unwritable = read_only || image.driver().writer().is_none();
    if flags.access == Access::Write && !flags.check && unwritable {
        return Err(Error::unsupported("Block node is read-only"));
    }
    Ok(image)
}
