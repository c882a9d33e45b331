//! Finding an image in another one's backing chain by its name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::options::name::{is_absolute, protocol, relative_to};
use formats::{Error, Image, OpenContext, Result};

/// An image behind another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind<'a> {
    /// How far behind it is: 1 is the backing image.
    pub(crate) depth: usize,
    /// The image.
    pub(crate) image: &'a Arc<Image>,
}

/// The first image behind `top` that has that name, as the image on it would understand it: a
/// relative name counts from that image's directory.
pub(crate) fn find<'a>(context: &OpenContext<'_>, top: &'a Image, name: &OsStr) -> Option<Behind<'a>> {
    let mut above = top;
    let mut depth = 1;
    while let Some(image) = above.backing() {
        if is_called(context, above, image, name) {
            return Some(Behind { depth, image });
        }
        above = image;
        depth += 1;
    }
    None
}

/// What a name in the header of an image means, relative to nothing.
pub(crate) fn full_name(image: &Image, name: &OsStr) -> Result<OsString> {
    match image.name().exact() {
        Some(file) => Ok(relative_to(file, name)),
        None if is_absolute(name) => Ok(name.to_owned()),
        None => {
            let image = image.filename();
            Err(Error::invalid(format!("Cannot use relative backing file names for '{image}'")))
        }
    }
}

/// Whether the image behind another goes by that name.
fn is_called(context: &OpenContext<'_>, above: &Image, behind: &Image, name: &OsStr) -> bool {
    let in_header = above.driver().backing().map(|backing| OsStr::from_bytes(&backing.name));
    let Some((in_header, full)) = in_header.zip(above.full_backing_name()) else {
        return name == behind.filename();
    };
    // Options may have put another image there than the header names.
    let replaced = behind.name().exact().is_some_and(|exact| exact != full);
    if replaced {
        return name == behind.filename();
    }
    if protocol(name).is_some() || protocol(in_header).is_some() {
        return name == in_header || name == full;
    }
    let resolve = |name: &OsStr| -> Option<PathBuf> { context.fs.resolve(Path::new(name)).ok() };
    let wanted = full_name(above, name).ok().and_then(|name| resolve(&name));
    wanted.is_some() && wanted == resolve(full)
}
