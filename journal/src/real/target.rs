//! What stands where a new file shall stand, and whether a name change can replace it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::{Errno, Result};

/// As many symbolic links in a row as the kernel follows.
const MAX_LINKS: usize = 40;

/// What stands at the target.
#[derive(Debug)]
pub(super) enum Target {
    /// Nothing: the file will be new.
    Missing(Place),
    /// A regular file that a name change can replace.
    Replaceable(Place),
    /// Something that keeps its identity: a device, a file with other names, a mount point.
    Fixed,
}

/// A directory and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
}

impl Target {
    /// Looks at `path`, following symbolic links.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let stat = match rustix::fs::stat(path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Self::Missing(missing_place(path)?)),
            Err(errno) => return Err(errno),
        };
        let is_plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
        if !is_plain || names_a_descriptor(path) {
            return Ok(Self::Fixed);
        }
        let Ok(real) = path.canonicalize() else { return Ok(Self::Fixed) };
        let place = Place::of(&real);
        Ok(if can_replace(&place, &real, &stat) { Self::Replaceable(place) } else { Self::Fixed })
    }
}

/// Whether the path stands for a descriptor: who passes one wants that very file written.
fn names_a_descriptor(path: &Path) -> bool {
    const PREFIXES: [&str; 5] = ["/proc", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"];
    std::path::absolute(path).is_ok_and(|path| PREFIXES.iter().any(|prefix| path.starts_with(prefix)))
}

impl Place {
    fn of(path: &Path) -> Self {
        let (directory, name) = split(path);
        Self { directory: directory.to_owned(), name: name.to_owned() }
    }
}

/// The directory part of a path and the name in it.
pub(super) fn split(path: &Path) -> (&Path, &OsStr) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (directory, path.file_name().unwrap_or(path.as_os_str()))
}

/// Where opening `path` would make a new file.
fn missing_place(path: &Path) -> Result<Place> {
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT);
    }
    let path = end_of_links(path)?;
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Errno::ISDIR);
    }
    Ok(Place::of(&path))
}

/// Follows a chain of symbolic links to the name that does not exist.
fn end_of_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match rustix::fs::readlink(&path, Vec::new()) {
            Ok(link) => {
                let link = OsStr::from_bytes(link.to_bytes());
                path = split(&path).0.join(link);
            }
            Err(Errno::NOENT | Errno::INVAL) => return Ok(path),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::LOOP)
}

/// Whether the directory's rules allow another file to take this one's name.
fn can_replace(place: &Place, real: &Path, stat: &Stat) -> bool {
    let Ok(found) = rustix::fs::lstat(real) else { return false };
    let Ok(directory) = rustix::fs::stat(&place.directory) else { return false };
    if (found.st_dev, found.st_ino) != (stat.st_dev, stat.st_ino) || directory.st_dev != stat.st_dev {
        return false;
    }
    let user = rustix::process::geteuid().as_raw();
    let sticky = directory.st_mode & libc::S_ISVTX != 0;
    let may_rename = !sticky || user == 0 || user == stat.st_uid || user == directory.st_uid;
    may_rename && !is_mount_point(real)
}

/// Whether another file is mounted over the name, as container runtimes do.
fn is_mount_point(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    can_sync: bool,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        const FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
        match rustix::fs::open(path, OFlags::RDONLY | FLAGS, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, can_sync: true }),
            // Names can be made in a directory that cannot be listed.
            Err(Errno::ACCESS) => rustix::fs::open(path, OFlags::PATH | FLAGS, Mode::empty())
                .map(|fd| Self { fd, can_sync: false }),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes the names in it durable, as far as it can be asked to.
    pub(super) fn sync(&self) -> Result<()> {
        if !self.can_sync {
            return Ok(());
        }
        match super::retry(|| rustix::fs::fsync(&self.fd)) {
            // Some network filesystems have no such request for directories.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => other,
        }
    }
}
