//! Directories of the host as they are: listed and read, never changed.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, Stat};

use crate::{Error, ErrorKind, Result};

/// What stands under a name, symbolic links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Bytes in it.
    pub len: u64,
    /// When it was read: seconds since 1970.
    pub accessed: i64,
    /// When its content was changed.
    pub modified: i64,
    /// When anything about it was changed.
    pub changed: i64,
    mark: Mark,
}

/// What changes whenever a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    file: (u64, u64),
    len: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Mark {
    fn of(stat: &Stat) -> Self {
        Self {
            file: (stat.st_dev, stat.st_ino),
            len: stat.st_size as u64,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl HostStatus {
    /// What stands at a path; `None` if nothing does that can be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(Self {
            is_directory: rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir(),
            len: stat.st_size as u64,
            accessed: stat.st_atime,
            modified: stat.st_mtime,
            changed: stat.st_ctime,
            mark: Mark::of(&stat),
        })
    }
}

/// The names in a directory, `.` and `..` among them, in the order in which the filesystem has them.
#[derive(Debug)]
pub struct HostNames {
    names: Dir,
    path: PathBuf,
}

impl HostNames {
    /// Begins to list a directory.
    pub fn of(directory: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(CWD, directory, flags, Mode::empty())
            .and_then(Dir::new)
            .map(|names| Self { names, path: directory.to_owned() })
            .map_err(|errno| Error::os("list", directory, None, errno.into()))
    }
}

impl Iterator for HostNames {
    type Item = Result<OsString>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.names.read()?;
        Some(
            entry
                .map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
                .map_err(|errno| Error::os("list", &self.path, None, errno.into())),
        )
    }
}

/// A file that is to stay what it was when it was looked at.
#[derive(Debug)]
pub struct HostFile {
    file: OwnedFd,
    path: PathBuf,
    mark: Mark,
}

impl HostFile {
    /// Opens a file that has been looked at.
    pub fn open(path: &Path, looked_at: &HostStatus) -> Result<Self> {
        // Whoever has put a FIFO there is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Error::os("open", path, None, errno.into()))?;
        let opened = Self { file, path: path.to_owned(), mark: looked_at.mark.clone() };
        opened.check(None)?;
        Ok(opened)
    }

    /// Reads exactly these bytes. It fails if the file is not what it was.
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            match rustix::io::pread(&self.file, &mut buf[done..], at) {
                Ok(0) => return Err(self.changed(Some(at))),
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::os("read", &self.path, Some(at), errno.into())),
            }
        }
        self.check(Some(offset))
    }

    fn check(&self, offset: Option<u64>) -> Result<()> {
        let stat = rustix::fs::fstat(&self.file)
            .map_err(|errno| Error::os("get the status of", &self.path, None, errno.into()))?;
        if Mark::of(&stat) == self.mark { Ok(()) } else { Err(self.changed(offset)) }
    }

    fn changed(&self, offset: Option<u64>) -> Error {
        let sentence = format!("'{}' has been changed meanwhile", self.path.display());
        Error::new(ErrorKind::Conflict, "read", &self.path, offset).saying(sentence)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the files that it looks at")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_has_changed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"abcdef").unwrap();
        let status = HostStatus::of(&path).unwrap();
        let file = HostFile::open(&path, &status).unwrap();
        let mut bytes = [0; 3];
        file.read_exact_at(2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cde");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(file.read_exact_at(0, &mut bytes).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(HostFile::open(&path, &status).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_directory_is_listed_with_its_dots() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), b"").unwrap();
        let mut names: Vec<_> = HostNames::of(dir.path()).unwrap().map(Result::unwrap).collect();
        names.sort();
        assert_eq!(names, [".", "..", "one"]);
        assert!(HostNames::of(&dir.path().join("one")).is_err());
        assert!(HostStatus::of(dir.path()).unwrap().is_directory);
        assert_eq!(HostStatus::of(&dir.path().join("two")), None);
    }
}
