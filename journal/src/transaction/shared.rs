//! What all files of a transaction share.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::file::{Member, Standing};
use super::interrupt::Interrupt;
use super::overlay::{Bytes, SourceFile};
use crate::log::{MAX_PATCH, Writer};
use crate::place::journal_of;
use crate::{Disk, DiskKind, DiskStatus, Error, ErrorKind, Fs, Held, Result};

/// What all files of a transaction share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    interrupt: Arc<dyn Interrupt>,
    handles: AtomicU64,
    changes: AtomicU64,
    /// The journal, once there is something in it.
    journal: Mutex<Option<OpenJournal>>,
    /// Files that were opened and may be copied from.
    opened: Mutex<Vec<Opened>>,
    /// Files that are copied from, by their numbers in the journal.
    sources: Mutex<Vec<Source>>,
    /// The files that the transaction changes.
    members: Mutex<Vec<Weak<Member>>>,
}

/// A journal that is being written.
#[derive(Debug)]
pub(super) struct OpenJournal {
    pub(super) path: PathBuf,
    pub(super) writer: Writer,
}

/// A file that was opened.
#[derive(Debug)]
struct Opened {
    /// What its user holds.
    handle: Weak<dyn Disk>,
    path: PathBuf,
    /// What it is to the transaction, if it may change it.
    member: Option<Weak<Member>>,
}

/// A file that bytes are copied from at the commit.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) status: DiskStatus,
}

impl Shared {
    pub(super) fn new(fs: Arc<dyn Fs>, interrupt: Arc<dyn Interrupt>) -> Self {
        Self {
            fs,
            interrupt,
            handles: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            journal: Mutex::new(None),
            opened: Mutex::default(),
            sources: Mutex::default(),
            members: Mutex::default(),
        }
    }

    /// Makes a file known that the transaction changes.
    pub(super) fn add_member(&self, member: &Arc<Member>) {
        self.interrupt.arm();
        lock(&self.members).push(Arc::downgrade(member));
    }

    /// Keeps the bytes of a range that is about to be replaced, where they are to be copied to
    /// other files.
    pub(super) fn keep_sources(&self, disk: &Arc<dyn Disk>, range: Range<u64>) -> Result<()> {
        if !self.is_source(disk) {
            return Ok(());
        }
        let members: Vec<_> = lock(&self.members).iter().filter_map(Weak::upgrade).collect();
        members.iter().try_for_each(|member| member.keep_bytes_of(disk, range.clone()))
    }

    /// Fails once the user has asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        if !self.interrupt.is_requested() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Interrupted, "go on with", Path::new(""), None);
        Err(error.saying("Interrupted"))
    }

    pub(super) fn next_handle(&self) -> u64 {
        self.handles.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a change of any file.
    pub(super) fn count_change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many changes were counted.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Remembers a file that may be copied from as long as its handle lives.
    pub(super) fn remember(&self, handle: &Arc<dyn Disk>, path: &Path, member: Option<&Arc<Member>>) {
        let mut opened = lock(&self.opened);
        opened.retain(|file| file.handle.strong_count() > 0);
        let (handle, path) = (Arc::downgrade(handle), path.to_owned());
        opened.push(Opened { handle, path, member: member.map(Arc::downgrade) });
    }

    /// The file behind a handle, as a source of bytes that stay as they are until the transaction
    /// is over; `None` if they need not.
    pub(super) fn source(&self, disk: &dyn Disk, range: Range<u64>) -> Option<SourceFile> {
        let (file, path) = lock(&self.opened).iter().find_map(|file| {
            let handle = file.handle.upgrade()?;
            if !std::ptr::addr_eq(Arc::as_ptr(&handle), disk) {
                return None;
            }
            match &file.member {
                None => Some((handle, file.path.clone())),
                Some(member) => {
                    let member = member.upgrade()?;
                    let stays = member.standing == Standing::Known && !member.state().replaces(range.clone());
                    stays.then(|| (Arc::clone(&member.inner), file.path.clone()))
                }
            }
        })?;
        // Only a regular file keeps its identity.
        let stays = |status: &DiskStatus| status.kind == DiskKind::Regular && range.end <= status.len;
        let status = file.status().ok().filter(stays)?;
        let mut sources = lock(&self.sources);
        let known = sources.iter().position(|source| Arc::ptr_eq(&source.disk, &file));
        let number = known.unwrap_or_else(|| {
            sources.push(Source { path, disk: Arc::clone(&file), status });
            sources.len() - 1
        });
        Some(SourceFile::Named { number: u32::try_from(number).ok()?, disk: file })
    }

    /// Whether bytes are copied from a file at the commit.
    pub(super) fn is_source(&self, disk: &Arc<dyn Disk>) -> bool {
        lock(&self.sources).iter().any(|source| Arc::ptr_eq(&source.disk, disk))
    }

    /// The files that are copied from, by number.
    pub(super) fn sources(&self) -> Vec<Source> {
        lock(&self.sources).clone()
    }

    /// Keeps new bytes of the file at `path` in the journal.
    pub(super) fn store_payload(&self, path: &Path, bytes: &[u8]) -> Result<Vec<(u64, Bytes)>> {
        let mut journal = self.journal_beside(path)?;
        let Some(open) = journal.as_mut() else { return Ok(Vec::new()) };
        let disk = Arc::clone(open.writer.disk());
        bytes
            .chunks(MAX_PATCH as usize)
            .map(|chunk| {
                let offset = open.writer.payload(chunk)?;
                let file = SourceFile::Journal(Arc::clone(&disk));
                Ok((chunk.len() as u64, Bytes::InFile { file, offset }))
            })
            .collect()
    }

    /// The journal; beside `path` if there is none yet.
    pub(super) fn journal_beside(&self, path: &Path) -> Result<MutexGuard<'_, Option<OpenJournal>>> {
        let mut journal = lock(&self.journal);
        if journal.is_none() {
            let path = journal_of(path);
            let disk = self.fs.create(&path)?;
            if disk.hold()? == Held::ByOthers {
                return Err(Error::new(ErrorKind::Exists, "create", &path, None));
            }
            *journal = Some(OpenJournal { path, writer: Writer::new(disk) });
        }
        Ok(journal)
    }

    /// Shows that the program which applies the journal is there.
    pub(super) fn show_life(&self) -> Result<()> {
        lock(&self.journal).as_mut().map_or(Ok(()), |open| open.writer.show_life())
    }

    /// The journal, if there is one, which nobody writes any more.
    pub(super) fn take_journal(&self) -> Option<OpenJournal> {
        lock(&self.journal).take()
    }
}

/// Nothing that is held while a lock is held panics halfway through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
