//! The files of the operating system.
//!
//! ```text
//!   RealFs ──► target ──► draft        names: what a new file replaces, and how
//!      │
//!   FileDisk ──► transfer              bytes, through the page cache
//!      ├──────► direct                 bytes, past it
//!      ├──────► space                  holes, zeroes, extents
//!      ├──────► lock                   QEMU's byte locks
//!      └──────► sys                    system calls that rustix lacks
//! ```

mod attributes;
mod direct;
mod draft;
mod file;
mod lock;
mod space;
mod status;
mod sys;
mod target;
mod transfer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{Access, Disk, DiskStatus, Draft, DraftOptions, Error, Fs, OpenOptions, Result};
use file::{FileDisk, Syncing};

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        Ok(Arc::new(open_disk(path, options, Syncing::Durable)?))
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        let stat = match rustix::fs::stat(path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::os("get the status of", path, None, errno.into())),
        };
        Ok(Some(status::status_of(&stat)))
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        draft::begin(target, options)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let failed = |errno: Errno| Error::os("remove", path, None, errno.into());
        let (directory, name) = target::split(path);
        let directory = target::Directory::open(directory).map_err(failed)?;
        rustix::fs::unlinkat(directory.fd(), name, AtFlags::empty()).map_err(failed)?;
        directory.sync().map_err(failed)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let failed = |error: io::Error| Error::os("resolve", path, None, error);
        let absolute = std::path::absolute(path).map_err(failed)?;
        for existing in absolute.ancestors() {
            match existing.canonicalize() {
                Ok(real) => {
                    let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
                    return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(absolute)
    }
}

/// Opens an existing file.
fn open_disk(path: &Path, options: OpenOptions, syncing: Syncing) -> Result<FileDisk> {
    let access = match options.access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
    };
    let fd = rustix::fs::openat(CWD, path, access | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::os("open", path, None, errno.into()))?;
    FileDisk::new(fd, path, options.caching, syncing)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}
