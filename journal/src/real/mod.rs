//! The files of the operating system.
//!
//! ```text
//!   RealFs ──► target ──► draft        names: what a new file replaces, and how
//!      │
//!   FileDisk ──► transfer              bytes, through the page cache
//!      ├──────► direct                 bytes, past it
//!      ├──────► space                  holes, zeroes, extents
//!      ├──────► lock ──► holder        QEMU's byte locks, and whose they are
//!      └──────► sys                    system calls that rustix lacks
//!
//!   tree                               directories, listed and read only
//! ```

mod attributes;
mod direct;
mod draft;
mod file;
mod holder;
mod lock;
mod space;
mod status;
mod sys;
mod target;
mod transfer;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{
    Access, Caching, Disk, DiskStatus, Draft, DraftOptions, Error, ErrorKind, Following, Fs, OpenOptions,
    Result,
};
use file::{FileDisk, Syncing};
pub use holder::Holder;
pub(crate) use holder::holders;
pub use tree::{HostFile, HostNames, HostStatus};

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
        let status = status::status_of(&stat);
        Ok(Some(DiskStatus { born: status::born(CWD, path), ..status }))
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        draft::begin(target, options)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        const FLAGS: OFlags = OFlags::CREATE.union(OFlags::EXCL).union(OFlags::RDWR).union(OFlags::CLOEXEC);
        let fd = rustix::fs::openat(CWD, path, FLAGS, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| Error::os("create", path, None, errno.into()))?;
        Ok(Arc::new(FileDisk::new(fd, path, Caching::Cached, Syncing::Durable)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        rustix::fs::rename(from, to).map_err(|errno| Error::os("rename", from, None, errno.into()))
    }

    fn link(&self, existing: &Path, name: &Path) -> Result<()> {
        rustix::fs::link(existing, name).map_err(|errno| Error::os("link", name, None, errno.into()))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        rustix::fs::unlink(path).map_err(|errno| Error::os("remove", path, None, errno.into()))
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        let failed = |errno: Errno| Error::os("sync the directory", directory, None, errno.into());
        target::Directory::open(directory).map_err(failed)?.sync().map_err(failed)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let failed = |error: io::Error| Error::os("resolve", path, None, error);
        // Only the empty path has no absolute form.
        let nowhere = |_| failed(io::Error::from_raw_os_error(libc::ENOENT));
        let absolute = std::path::absolute(path).map_err(nowhere)?;
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
    let following = match options.following {
        Following::Links => OFlags::empty(),
        Following::Nothing => OFlags::NOFOLLOW | OFlags::NONBLOCK,
    };
    let opened = rustix::fs::openat(CWD, path, access | following | OFlags::CLOEXEC, Mode::empty());
    let fd = opened.map_err(|errno| match (errno, options.following) {
        (Errno::LOOP, Following::Nothing) => {
            let text = format!("'{}' is a symbolic link, which is not followed", path.display());
            Error::new(ErrorKind::Denied, "open", path, None).saying(text)
        }
        _ => Error::os("open", path, None, errno.into()),
    })?;
    FileDisk::new(fd, path, options.caching, syncing)
}

/// Repeats a call that a signal interrupted.
fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}
