//! Small files that say where the journal of an image is, if not beside it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::fs::directory_of;
use crate::log::POINTER_MAGIC;
use crate::place::{named_from, resolve_from};
use crate::{Disk, Error, ErrorKind, Fs, Result};

/// The longest path that is believed.
const MAX_PATH: usize = 4096;

/// Makes the journal known under the name `path` too, which is not durable yet.
///
/// In one directory it gets that name itself: what it names is found from there as well, and nothing more
/// has to be made durable. In another directory, and where files have no second names, a pointer stands there.
pub(crate) fn point_to(fs: &dyn Fs, path: &Path, journal: &Path) -> Result<()> {
    // What is there belongs to a transaction that is over: its image was opened since.
    let anew = |make: &dyn Fn() -> Result<()>| match make() {
        Err(error) if error.kind() == ErrorKind::Exists => fs.unlink(path).and_then(|()| make()),
        other => other,
    };
    if directory_of(path) == directory_of(journal) && anew(&|| fs.link(journal, path)).is_ok() {
        return Ok(());
    }
    anew(&|| write_pointer(fs, path, journal))
}

/// Writes a pointer at `path`. Its bytes are durable then.
fn write_pointer(fs: &dyn Fs, path: &Path, journal: &Path) -> Result<()> {
    let name = named_from(path, journal);
    let name = name.as_os_str().as_bytes();
    let mut bytes = POINTER_MAGIC.to_vec();
    bytes.extend((name.len() as u32).to_le_bytes());
    bytes.extend(name);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    let disk = fs.create(path)?;
    disk.write_at(0, &bytes)?;
    disk.sync()
}

/// Where a pointer points to; `None` for a file that is no pointer.
///
/// One that was not written to its end points to itself, where no journal is found.
pub(super) fn target_of(disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>> {
    let mut bytes = vec![0; MAX_PATH + 16];
    let len = disk.read_at(0, &mut bytes)?;
    let bytes = &bytes[..len];
    let Some(rest) = bytes.strip_prefix(&POINTER_MAGIC) else { return Ok(None) };
    let target = rest.split_at_checked(4).and_then(|(len, rest)| {
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let (name, checksum) = rest.split_at_checked(len)?;
        let body = &bytes[..bytes.len() - 4];
        let is_whole = checksum == crc32c::crc32c(body).to_le_bytes();
        is_whole.then(|| PathBuf::from(OsString::from_vec(name.to_vec())))
    });
    match target.and_then(|name| resolve_from(path, &name)) {
        Some(target) => Ok(Some(target)),
        None => Ok(Some(path.with_extension("never-written"))),
    }
}

/// Whether the journal that a pointer names is gone: then the transaction is over.
///
/// A directory that is gone, perhaps not mounted, is another matter: nothing is known then.
pub(super) fn is_stale(fs: &dyn Fs, journal: &Path) -> Result<bool> {
    if fs.status(journal)?.is_some() {
        return Ok(false);
    }
    match fs.sync_directory(directory_of(journal)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let told = format!(
                "The image takes part in an interrupted change whose journal '{}' cannot be reached; mount its \
                 filesystem, or use 'tximg recover --discard'",
                journal.display()
            );
            Err(Error::new(ErrorKind::Conflict, "recover", journal, None).saying(told))
        }
        Err(error) if error.kind() == ErrorKind::Denied => Ok(true),
        Err(error) => Err(error),
    }
}
