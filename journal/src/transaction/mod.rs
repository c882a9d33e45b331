//! Changes of files that become visible and durable all at once, or not at all.
//!
//! ```text
//!   Transaction ── an Fs: commands work on it as on any other
//!     ├─ Handle ──► Member        a file that is changed, and its Overlay: what is replaced
//!     ├─ TransactionDraft         a file that is made
//!     ├─ names                    what is renamed and removed
//!     ├─ commit                   sync · journal · apply · clean up
//!     └─ apply                    shared with recovery
//! ```
//!
//! Formats with a root write their new state where the old one does not look, at once, and replace
//! the root only; so do others with what they cannot put elsewhere. What is replaced is kept in
//! memory or in the journal until the commit, and seen by every reader inside the transaction.
//! `DESIGN.md` argues why every interruption leaves the old or the new state.

mod apply;
mod commit;
mod describe;
mod disk;
mod draft;
mod file;
mod interrupt;
mod names;
mod overlay;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

pub(crate) use apply::{Work, apply};
use disk::Handle;
use draft::TransactionDraft;
use file::{Member, Standing};
pub use interrupt::Interrupt;
use names::{Names, Standpoint};
pub(crate) use overlay::{Bytes, Overlay, SourceFile};
use shared::{Shared, lock};

use crate::recovery::{self, Met};
use crate::{
    Access, Claim, Disk, DiskKind, DiskStatus, Draft, DraftOptions, Error, ErrorKind, Fs, OpenOptions, Result,
};

/// A tree of files in which nothing changes for others before [`Transaction::commit`].
///
/// Dropped without it, everything is as it was. Locks that were taken through it are kept until
/// then, however short the handles lived.
#[derive(Debug)]
pub struct Transaction {
    shared: Arc<Shared>,
    effect: Effect,
    members: Mutex<Vec<Arc<Member>>>,
    names: Arc<Mutex<Names>>,
}

/// A moment in a transaction; by default its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment(u64);

/// When changes take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    AtOnce,
    AtCommit,
}

impl Transaction {
    /// Begins. Once `interrupt` is requested, every further step fails with
    /// [`ErrorKind::Interrupted`], up to the commit.
    pub fn begin(fs: Arc<dyn Fs>, interrupt: Arc<dyn Interrupt>) -> Self {
        Self::new(fs, interrupt, Effect::AtCommit)
    }

    /// The same files, on which every change takes effect at once: for work that is not meant to be
    /// undone. Journals that are met are recovered, too.
    pub fn at_once(fs: Arc<dyn Fs>) -> Self {
        Self::new(fs, Arc::new(AtomicBool::new(false)), Effect::AtOnce)
    }

    fn new(fs: Arc<dyn Fs>, interrupt: Arc<dyn Interrupt>, effect: Effect) -> Self {
        let shared = Arc::new(Shared::new(fs, interrupt));
        Self { shared, effect, members: Mutex::default(), names: Arc::default() }
    }

    /// The files that are changed, made, moved and removed, symbolic links resolved.
    pub fn changed_paths(&self) -> Vec<PathBuf> {
        let members = lock(&self.members);
        let changed = members.iter().filter(|member| member.is_written() || member.state().is_replaced());
        let mut paths: Vec<_> = changed.map(|member| member.path.clone()).collect();
        paths.extend(lock(&self.names).paths());
        paths.sort();
        paths.dedup();
        paths
    }

    /// The files that were made, changed or moved after a moment, by the names that they have inside the
    /// transaction, and the moment to ask for next.
    pub fn changed_since(&self, moment: Moment) -> (Vec<PathBuf>, Moment) {
        let now = Moment(self.shared.changes());
        let names = lock(&self.names);
        let is_later = |member: &&Arc<Member>| member.changed_last() > moment.0;
        let drafts = names.drafts.iter().map(|waiting| &waiting.member);
        let mut paths: Vec<_> = drafts.filter(is_later).map(|member| member.path.clone()).collect();
        for member in lock(&self.members).iter().filter(is_later) {
            let moved = names.moves.iter().find(|found| found.from == member.path);
            paths.push(moved.map_or(&member.path, |found| &found.to).clone());
        }
        (paths, now)
    }

    /// What the transaction is going to do to each file, in the order of their paths.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for member in lock(&self.members).iter() {
            let is_replaced = member.state().is_replaced();
            if member.is_written() || is_replaced {
                changes.push(Change {
                    path: member.path.clone(),
                    kind: ChangeKind::Modified,
                    space: member.space()?,
                });
            }
        }
        let names = lock(&self.names);
        for waiting in &names.drafts {
            let (path, space) = (waiting.target.clone(), waiting.member.space()?);
            changes.push(Change { path, kind: ChangeKind::Made, space });
        }
        let moved = names.moves.iter().map(|found| (found.from.clone(), ChangeKind::Moved(found.to.clone())));
        let removed = names.removals.iter().map(|found| (found.path.clone(), ChangeKind::Removed));
        changes.extend(moved.chain(removed).map(|(path, kind)| Change { path, kind, space: 0 }));
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    /// Makes everything visible and durable.
    ///
    /// After an error everything is as it was, unless its kind is [`ErrorKind::Pending`]: then it
    /// is decided, but the journal that remains must be recovered before the files are whole.
    pub fn commit(self) -> Result<()> {
        let members = std::mem::take(&mut *lock(&self.members));
        let names = std::mem::take(&mut *lock(&self.names));
        commit::commit(&self.shared, members, names)
    }

    fn member_at(&self, path: &Path) -> Result<Option<Arc<Member>>> {
        let members = lock(&self.members);
        if members.is_empty() {
            return Ok(None);
        }
        let Some(status) = self.shared.fs.status(path)? else { return Ok(None) };
        Ok(members.iter().find(|member| member.before.identity == status.identity).cloned())
    }

    /// Opens a file that the transaction does not change yet.
    fn open_known(&self, path: &Path, real: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        let disk = match recovery::meet(&self.shared.fs, real, options.access)? {
            Met::Nothing => self.shared.fs.open(path, options)?,
            Met::LookThrough(disk) => return Ok(disk),
        };
        let changes = options.access == Access::Write && self.effect == Effect::AtCommit;
        if !changes || disk.status()?.kind != DiskKind::Regular {
            self.shared.remember(&disk, real, None);
            return Ok(disk);
        }
        let member = Member::new(&self.shared, real.to_owned(), disk, Standing::Known)?;
        Ok(self.join(Arc::new(member), path, options.access))
    }

    /// Takes a file into the transaction.
    fn join(&self, member: Arc<Member>, path: &Path, access: Access) -> Arc<dyn Disk> {
        self.shared.add_member(&member);
        lock(&self.members).push(Arc::clone(&member));
        self.handle(member, path, access)
    }

    fn handle(&self, member: Arc<Member>, path: &Path, access: Access) -> Arc<dyn Disk> {
        let handle: Arc<dyn Disk> = Arc::new(Handle::new(Arc::clone(&member), path, access));
        self.shared.remember(&handle, &member.path, Some(&member));
        handle
    }

    /// A file whose name is about to change, which nobody else may be using.
    fn take_alone(&self, path: &Path) -> Result<DiskStatus> {
        let disk = self.open(path, OpenOptions::WRITE)?;
        disk.lock(Claim::writer())?;
        if let Some(member) = self.member_at(path)? {
            member.count_change();
        }
        disk.status()
    }

    /// Drops what the transaction had in mind with a file that is about to be replaced whole.
    fn supersede(&self, real: &Path) -> Result<()> {
        lock(&self.names).forget_draft(real);
        if let Some(member) = self.member_at(real)? {
            member.require_unused()?;
            member.roll_back()?;
            member.inner.lock(Claim::none())?;
            lock(&self.members).retain(|other| !Arc::ptr_eq(other, &member));
        }
        Ok(())
    }
}

impl Drop for Transaction {
    /// Rolls back.
    fn drop(&mut self) {
        let members = std::mem::take(&mut *lock(&self.members));
        commit::roll_back(&self.shared, &members);
    }
}

impl Fs for Transaction {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        self.shared.check()?;
        let real = self.shared.fs.resolve(path)?;
        let standpoint = lock(&self.names).find(&real);
        match standpoint {
            Standpoint::Unchanged => match self.member_at(&real)? {
                Some(member) => Ok(self.handle(member, path, options.access)),
                None => self.open_known(path, &real, options),
            },
            Standpoint::Draft(member) => Ok(self.handle(member, path, options.access)),
            Standpoint::From(old) => match self.member_at(&old)? {
                Some(member) => Ok(self.handle(member, path, options.access)),
                None => self.open_known(&old, &old, options),
            },
            Standpoint::Gone => Err(Error::new(ErrorKind::NotFound, "open", path, None)),
        }
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        let standpoint = lock(&self.names).find(&self.shared.fs.resolve(path)?);
        match standpoint {
            Standpoint::Unchanged => self.shared.fs.status(path),
            Standpoint::Draft(member) => member.inner.status().map(Some),
            Standpoint::From(old) => self.shared.fs.status(&old),
            Standpoint::Gone => Ok(None),
        }
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        self.shared.check()?;
        let real = self.shared.fs.resolve(target)?;
        recovery::settle(&self.shared.fs, &real)?;
        self.supersede(&real)?;
        let inner = self.shared.fs.draft(target, options)?;
        let member = Member::new(&self.shared, real, inner.disk(), Standing::Draft)?;
        let member = Arc::new(member);
        self.shared.add_member(&member);
        let disk = self.handle(Arc::clone(&member), target, Access::Write);
        Ok(Box::new(TransactionDraft::new(inner, member, disk, Arc::clone(&self.names))))
    }

    /// Not part of a transaction: what is made must be made as a draft.
    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        Err(Error::new(ErrorKind::Unsupported, "create", path, None))
    }

    /// Not part of a transaction: an image with two names is replaced under one of them only.
    fn link(&self, _existing: &Path, name: &Path) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "link", name, None))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.shared.fs.resolve(from)?, self.shared.fs.resolve(to)?);
        let status = self.take_alone(&from)?;
        let replaced = self.status(&to)?;
        if replaced.is_some() {
            self.take_alone(&to)?;
        }
        lock(&self.names).rename(from, to, &status, replaced.as_ref())
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        let path = self.shared.fs.resolve(path)?;
        let status = self.take_alone(&path)?;
        lock(&self.names).remove(path, &status);
        Ok(())
    }

    /// At the commit.
    fn sync_directory(&self, _directory: &Path) -> Result<()> {
        Ok(())
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.shared.fs.resolve(path)
    }
}

/// What a transaction is going to do to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, symbolic links resolved.
    pub path: PathBuf,
    /// What happens to it.
    pub kind: ChangeKind,
    /// Bytes on the filesystem that it takes in addition until the transaction is over.
    pub space: u64,
}

/// Kinds of [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It gets another content.
    Modified,
    /// It is made, perhaps in place of an older one.
    Made,
    /// It gets this name.
    Moved(PathBuf),
    /// It goes.
    Removed,
}

/// What a file is going to be when a journal is finished.
#[derive(Debug)]
pub(crate) enum Future {
    /// It is, under another name.
    At(PathBuf),
    /// It is replaced in parts.
    Replaced { overlay: Overlay, len: Option<u64> },
}

/// The file at `path` as it is going to be, for reading.
pub(crate) fn look_through(fs: &Arc<dyn Fs>, path: &Path, future: Future) -> Result<Arc<dyn Disk>> {
    let (overlay, len) = match future {
        Future::At(hidden) => return fs.open(&hidden, OpenOptions::READ),
        Future::Replaced { overlay, len } => (overlay, len),
    };
    let shared = Arc::new(Shared::new(Arc::clone(fs), Arc::new(AtomicBool::new(false))));
    let disk = fs.open(path, OpenOptions::READ)?;
    let member = Member::new(&shared, path.to_owned(), disk, Standing::Known)?;
    {
        let mut state = member.state_mut();
        (state.overlay, state.len) = (overlay, len);
    }
    Ok(Arc::new(Handle::new(Arc::new(member), path, Access::Read)))
}
