//! Files in the making.
//!
//! A draft has no name at all (`O_TMPFILE`) where the filesystem can do that, so that a killed
//! process leaves nothing; elsewhere it has a hidden one beside its target.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, IFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result as SysResult};

use super::file::{FileDisk, Syncing};
use super::target::{Directory, Place, Target};
use super::{attributes, open_disk, sys};
use crate::place::replacement_of;
use crate::{
    Caching, Claim, Disk, DiskKind, Draft, DraftOptions, Error, ErrorKind, OpenOptions, Result, StageNames,
    StagedFile,
};

/// The permissions of a new image, before the umask.
const NEW_MODE: Mode = Mode::from_raw_mode(0o644);
/// The longest file name of every usual filesystem.
const MAX_NAME: usize = 255;
/// How many hidden names are tried before giving up.
const MAX_NAMES: usize = 100;

/// Begins a file that will stand at `target`.
pub(super) fn begin(target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
    let failed = |errno: Errno| Error::os("create", target, None, errno.into());
    let syncing = if options.volatile { Syncing::Skipped } else { Syncing::Durable };
    match Target::find(target).map_err(failed)? {
        Target::Missing(place) => {
            let (fd, staged) = Staged::new(&place).map_err(failed)?;
            staged_draft(target, fd, staged, None, options)
        }
        Target::Replaceable(place) => {
            let old = open_target(target, syncing)?;
            match Staged::to_replace(&place, &old) {
                Ok((fd, staged)) => staged_draft(target, fd, staged, Some(old), options),
                Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => in_place(target, old, options),
                Err(errno) => Err(failed(errno)),
            }
        }
        Target::Fixed => in_place(target, open_target(target, syncing)?, options),
    }
}

/// Opens what stands at the target, which nobody else may be using.
fn open_target(target: &Path, syncing: Syncing) -> Result<FileDisk> {
    let disk = open_disk(target, OpenOptions::WRITE, syncing)?;
    disk.lock(Claim::writer())?;
    Ok(disk)
}

fn staged_draft(
    target: &Path,
    fd: OwnedFd,
    staged: Staged,
    old: Option<FileDisk>,
    options: DraftOptions,
) -> Result<Box<dyn Draft>> {
    let syncing = if options.volatile { Syncing::Skipped } else { Syncing::Durable };
    let disk = FileDisk::new(fd, target, Caching::Cached, syncing)?;
    give_hints(&disk, options);
    Ok(Box::new(FileDraft {
        target: target.to_owned(),
        disk: Arc::new(disk),
        route: Route::ByName { staged, old },
        options,
    }))
}

fn in_place(target: &Path, disk: FileDisk, options: DraftOptions) -> Result<Box<dyn Draft>> {
    if disk.kind() == DiskKind::Regular {
        disk.set_len(0)?;
        give_hints(&disk, options);
    }
    Ok(Box::new(FileDraft {
        target: target.to_owned(),
        disk: Arc::new(disk),
        route: Route::InPlace,
        options,
    }))
}

/// Passes the caller's wishes on to the filesystem, which may know nothing of them.
fn give_hints(disk: &FileDisk, options: DraftOptions) {
    let Some(fd) = disk.descriptor() else { return };
    if options.nocow {
        let set = rustix::fs::ioctl_getflags(fd)
            .and_then(|flags| rustix::fs::ioctl_setflags(fd, flags | IFlags::NOCOW));
        tracing::debug!(path = %disk.path().display(), ?set, "Asked for no copy-on-write.");
    }
    if let Some(hint) = options.extent_size_hint.and_then(|hint| u32::try_from(hint).ok()) {
        let set = sys::set_extent_size_hint(fd, hint);
        tracing::debug!(path = %disk.path().display(), ?set, "Gave an extent size hint.");
    }
}

/// A file in the making.
#[derive(Debug)]
struct FileDraft {
    target: PathBuf,
    disk: Arc<FileDisk>,
    route: Route,
    options: DraftOptions,
}

/// How the bytes get under the target's name.
#[derive(Debug)]
enum Route {
    /// They are written there.
    InPlace,
    /// By a change of names. The replaced file, if there is one, stays open for its locks.
    ByName { staged: Staged, old: Option<FileDisk> },
}

impl Draft for FileDraft {
    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn target(&self) -> &Path {
        &self.target
    }

    fn is_atomic(&self) -> bool {
        matches!(self.route, Route::ByName { .. })
    }

    fn stage_names(&self) -> Option<StageNames> {
        let Route::ByName { staged, .. } = &self.route else { return None };
        let hidden = staged.hidden.clone().unwrap_or_else(|| hidden_name(&staged.name));
        Some(StageNames { hidden: staged.path.join(hidden), target: staged.path.join(&staged.name) })
    }

    fn stage(self: Box<Self>, names: &StageNames) -> Result<StagedFile> {
        let Self { target, disk, route, .. } = *self;
        let failed = |errno: Errno| Error::os("create", &target, None, errno.into());
        let Route::ByName { mut staged, old } = route else {
            return Err(Error::new(ErrorKind::Unsupported, "stage", &target, None));
        };
        if let (Some(from), Some(to)) = (old.as_ref().and_then(Disk::descriptor), disk.descriptor()) {
            attributes::copy_mode(from, to).map_err(failed)?;
        }
        disk.sync_all()?;
        if staged.hidden.is_none() {
            let hidden = names.hidden.file_name().unwrap_or_default();
            link_nameless(&disk, &staged.directory, hidden).map_err(failed)?;
        }
        staged.hidden = None;
        Ok(StagedFile { disk, old: old.map(|old| Arc::new(old) as _) })
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let Self { target, disk, route, options } = *self;
        let failed = |errno: Errno| Error::os("create", &target, None, errno.into());
        let Route::ByName { mut staged, old } = route else { return disk.sync_all() };
        if let (Some(from), Some(to)) = (old.as_ref().and_then(Disk::descriptor), disk.descriptor()) {
            attributes::copy_mode(from, to).map_err(failed)?;
        }
        disk.sync_all()?;
        if old.is_some() {
            staged.replace(&disk).map_err(failed)?;
        } else if staged.appear(&disk).map_err(failed)? == Appeared::NameTaken {
            // Somebody made the file meanwhile: it is replaced under the same rules.
            let _newcomer = open_target(&target, Syncing::Skipped)?;
            staged.replace(&disk).map_err(failed)?;
        }
        if options.volatile { Ok(()) } else { staged.directory.sync().map_err(failed) }
    }
}

/// An unpublished file, and the name that it will have.
#[derive(Debug)]
struct Staged {
    directory: Directory,
    /// The directory's path.
    path: PathBuf,
    name: OsString,
    /// Its hidden name, as long as it has one.
    hidden: Option<OsString>,
}

/// Whether a new name could be made.
#[derive(Debug, PartialEq, Eq)]
enum Appeared {
    Done,
    NameTaken,
}

impl Staged {
    fn unopened(place: &Place) -> SysResult<Self> {
        let directory = Directory::open(&place.directory)?;
        Ok(Self { directory, path: place.directory.clone(), name: place.name.clone(), hidden: None })
    }

    fn new(place: &Place) -> SysResult<(OwnedFd, Self)> {
        let mut staged = Self::unopened(place)?;
        let fd = match staged.open_nameless() {
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => staged.open_hidden()?,
            other => other?,
        };
        Ok((fd, staged))
    }

    /// A file that may take the place of `old`: same owner, same labels.
    fn to_replace(place: &Place, old: &FileDisk) -> SysResult<(OwnedFd, Self)> {
        let (fd, staged) = Self::new(place)?;
        let from = old.descriptor().ok_or(Errno::IO)?;
        match attributes::copy_owner_and_labels(from, fd.as_fd()) {
            Ok(()) => Ok((fd, staged)),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => Err(errno),
            // What cannot be taken over must not be lost: the old file has to stay.
            Err(_) => Err(Errno::PERM),
        }
    }

    fn open_nameless(&self) -> SysResult<OwnedFd> {
        // Without /proc the file could never be given a name.
        rustix::fs::access("/proc/self/fd", rustix::fs::Access::EXISTS)?;
        rustix::fs::openat(
            self.directory.fd(),
            ".",
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            NEW_MODE,
        )
    }

    fn open_hidden(&mut self) -> SysResult<OwnedFd> {
        const FLAGS: OFlags = OFlags::CREATE.union(OFlags::EXCL).union(OFlags::RDWR).union(OFlags::CLOEXEC);
        let directory = self.directory.fd();
        let (fd, name) = try_names(&self.name, |name| rustix::fs::openat(directory, name, FLAGS, NEW_MODE))?;
        self.hidden = Some(name);
        Ok(fd)
    }

    /// Gives the file its name, which must be free.
    fn appear(&mut self, disk: &FileDisk) -> SysResult<Appeared> {
        let directory = self.directory.fd();
        let named = match &self.hidden {
            None => link_nameless(disk, &self.directory, &self.name),
            Some(hidden) => {
                rustix::fs::renameat_with(directory, hidden, directory, &self.name, RenameFlags::NOREPLACE)
            }
        };
        match named {
            Ok(()) => {
                self.hidden = None;
                Ok(Appeared::Done)
            }
            Err(Errno::EXIST) => Ok(Appeared::NameTaken),
            // Some filesystems cannot rename with care.
            Err(Errno::INVAL | Errno::NOSYS) if self.hidden.is_some() => {
                self.replace(disk).map(|()| Appeared::Done)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Puts the file in the place of the one that has the name now, whose write lock the caller holds.
    fn replace(&mut self, disk: &FileDisk) -> SysResult<()> {
        let directory = self.directory.fd();
        if let Some(hidden) = &self.hidden {
            rustix::fs::renameat(directory, hidden, directory, &self.name)?;
            self.hidden = None;
            return Ok(());
        }
        // Who finds the name and can hold the file knows that its maker was killed.
        disk.hold().map_err(|_| Errno::IO)?;
        let hidden = replacement_of(Path::new(&self.name)).into_os_string();
        for _ in 0..MAX_NAMES {
            match link_nameless(disk, &self.directory, &hidden) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    // Nobody else replaces the target now.
                    match rustix::fs::unlinkat(directory, &hidden, AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno),
                    }
                }
                Err(errno) => return Err(errno),
            }
            match rustix::fs::renameat(directory, &hidden, directory, &self.name) {
                // Somebody took it for one that was left behind.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    self.hidden = Some(hidden);
                    return Err(errno);
                }
                Ok(()) => return Ok(()),
            }
        }
        Err(Errno::EXIST)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden
            && let Err(errno) = rustix::fs::unlinkat(self.directory.fd(), hidden, AtFlags::empty())
        {
            tracing::warn!(name = %hidden.display(), %errno, "A temporary file could not be removed.");
        }
    }
}

fn link_nameless(disk: &FileDisk, directory: &Directory, name: &OsStr) -> SysResult<()> {
    let fd = disk.descriptor().ok_or(Errno::IO)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::linkat(CWD, path, directory.fd(), name, AtFlags::SYMLINK_FOLLOW)
}

/// Tries hidden names beside `name` until one is free.
fn try_names<T>(name: &OsStr, mut make: impl FnMut(&OsStr) -> SysResult<T>) -> SysResult<(T, OsString)> {
    for _ in 0..MAX_NAMES {
        let hidden = hidden_name(name);
        match make(&hidden) {
            Ok(made) => return Ok((made, hidden)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

/// `.NAME.tximg-` and characters drawn by lot, with the name cut short where it would not fit.
fn hidden_name(name: &OsStr) -> OsString {
    const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    const ENDING: &[u8] = b".tximg-";
    const RANDOM: usize = 6;
    let random = RandomState::new().hash_one(std::process::id());
    let kept = name.len().min(MAX_NAME - 1 - ENDING.len() - RANDOM);
    let mut hidden = vec![b'.'];
    hidden.extend_from_slice(&name.as_bytes()[..kept]);
    hidden.extend_from_slice(ENDING);
    hidden.extend((0..RANDOM).map(|place| DIGITS[(random >> (5 * place) & 31) as usize]));
    OsString::from_vec(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A draft with a hidden name, as filesystems without nameless files get it.
    fn hidden(directory: &Path) -> (Staged, FileDisk) {
        let place = Place { directory: directory.to_owned(), name: "image".into() };
        let mut staged = Staged::unopened(&place).unwrap();
        let fd = staged.open_hidden().unwrap();
        let disk = FileDisk::new(fd, &directory.join("image"), Caching::Cached, Syncing::Durable).unwrap();
        disk.write_at(0, b"new").unwrap();
        (staged, disk)
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_hidden_name_is_gone_in_the_end() {
        let scratch = tempfile::tempdir().unwrap();
        let (staged, _disk) = hidden(scratch.path());
        let made = names(scratch.path());
        assert!(made.len() == 1 && made[0].starts_with(".image.tximg-"), "{made:?}");
        drop(staged);
        assert!(names(scratch.path()).is_empty());

        let (mut staged, disk) = hidden(scratch.path());
        assert_eq!(staged.appear(&disk).unwrap(), Appeared::Done);
        drop(staged);
        assert_eq!(names(scratch.path()), ["image"]);

        let (mut staged, disk) = hidden(scratch.path());
        assert_eq!(staged.appear(&disk).unwrap(), Appeared::NameTaken);
        staged.replace(&disk).unwrap();
        drop(staged);
        assert_eq!(names(scratch.path()), ["image"]);
    }

    #[test]
    fn hidden_names_fit_and_differ() {
        let long = OsString::from("x".repeat(255));
        assert_eq!(hidden_name(&long).len(), MAX_NAME);
        assert_ne!(hidden_name(&long), hidden_name(&long));
    }
}
