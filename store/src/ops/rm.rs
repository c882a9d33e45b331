//! `rm`: removes images.

use std::path::Path;

use formats::shown::shown;
use formats::{Error, ErrorKind, OpenContext, Result};
use journal::{DiskKind, Fs};

/// Removes the file of an image, which nobody may be using. What it needs stays.
pub fn rm(context: &OpenContext<'_>, path: &Path) -> Result<()> {
    require_file(context.fs, path)?;
    Ok(context.fs.remove(path)?)
}

/// Fails unless a regular file stands at that very name: what is done to a name must not be done to what
/// a link leads to.
pub(super) fn require_file(fs: &dyn Fs, path: &Path) -> Result<()> {
    let name = shown(path.as_os_str());
    if is_link(fs, path)? {
        return Err(Error::invalid(format!("'{name}' is a symbolic link; name the image itself")));
    }
    match fs.status(path)?.map(|status| status.kind) {
        Some(DiskKind::Regular) => Ok(()),
        Some(_) => Err(Error::invalid(format!("'{name}' is not a regular file"))),
        None => Err(Error::new(ErrorKind::NotFound, format!("'{name}' does not exist"))),
    }
}

/// Whether the last part of a name is a symbolic link that leads somewhere.
pub(super) fn is_link(fs: &dyn Fs, path: &Path) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    Ok(fs.resolve(path)? != fs.resolve(parent)?.join(name))
}
