//! What a journal that was left behind means, and how it is finished.
//!
//! ```text
//!   meet      on every open: is there a journal?
//!   judge     which of its files are old, new, or changed by somebody else?
//!   finish    roll forward, or drop it
//! ```
//!
//! Nothing is ever written over bytes that are neither what the transaction had found nor what it
//! was going to write.

mod finish;
mod judge;
mod pointer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::{Journal, Scan};
use crate::place::{journal_of, replacement_of};
use crate::transaction::look_through;
use crate::{Access, Disk, DiskKind, Error, ErrorKind, Fs, Held, OpenOptions, Result};

use finish::Finishing;
use judge::{Decision, Judgement};
pub(crate) use pointer::point_to;

/// What stands in the way of opening a file.
#[derive(Debug)]
pub(crate) enum Met {
    /// Nothing, any more.
    Nothing,
    /// A journal that cannot be finished now: the file as it will be, for reading.
    LookThrough(Arc<dyn Disk>),
}

/// What came of a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was no journal.
    Nothing,
    /// A living process works on it.
    Busy,
    /// The new state is complete.
    Completed,
    /// The old state stands.
    RolledBack,
}

/// What a journal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The journal.
    pub journal: PathBuf,
    /// What recovery would do, or that it must not.
    pub decision: String,
    /// Each file, and the state that it is in.
    pub files: Vec<(PathBuf, String)>,
}

/// Recovery on request.
#[derive(Debug)]
pub struct Recovery {
    fs: Arc<dyn Fs>,
}

impl Recovery {
    /// Recovery of files in that tree.
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs }
    }

    /// Where the journal of the file at `path` is looked for.
    pub fn journal_of(&self, path: &Path) -> Result<PathBuf> {
        Ok(journal_of(&self.fs.resolve(path)?))
    }

    /// Finishes what the journal at `path`, or the one that it points to, says.
    pub fn recover(&self, path: &Path) -> Result<Outcome> {
        let Some(found) = Found::behind(&self.fs, path)? else { return Ok(Outcome::Nothing) };
        match found {
            Found::Alive => Ok(Outcome::Busy),
            Found::Strange { path } => Err(strange(&path)),
            Found::Dead { path, scan } => Self::finish(&self.fs, &path, scan),
        }
    }

    fn finish(fs: &Arc<dyn Fs>, path: &Path, scan: Scan) -> Result<Outcome> {
        match scan {
            Scan::Unknown => Err(unknown(path)),
            Scan::Undecided(journal) => {
                Finishing::new(fs, path, &journal).drop_undecided()?;
                Ok(Outcome::RolledBack)
            }
            Scan::Committed(journal) => {
                let judgement = Judgement::of(fs, path, &journal, Access::Write)?;
                let finishing = Finishing::new(fs, path, &journal);
                match judgement.decision() {
                    Decision::RollBack => finishing.roll_back().map(|()| Outcome::RolledBack),
                    Decision::Done => finishing.clean_up().map(|()| Outcome::Completed),
                    Decision::RollForward => finishing.roll_forward(&judgement).map(|()| Outcome::Completed),
                    Decision::Conflict => Err(conflict(path)),
                }
            }
        }
    }

    /// What the journal at `path` is about, changing nothing.
    pub fn explain(&self, path: &Path) -> Result<Option<Finding>> {
        let Some(found) = Found::behind(&self.fs, path)? else { return Ok(None) };
        Ok(Some(match found {
            Found::Alive => Finding {
                journal: path.to_owned(),
                decision: "a running process is working on it".to_owned(),
                files: Vec::new(),
            },
            Found::Strange { path } => Finding {
                journal: path,
                decision: "it belongs to another user: what it says is not believed".to_owned(),
                files: Vec::new(),
            },
            Found::Dead { path, scan } => match scan {
                Scan::Unknown => return Err(unknown(&path)),
                Scan::Undecided(_) => Finding {
                    journal: path,
                    decision: "it was never decided: it is dropped, and everything is as it was".to_owned(),
                    files: Vec::new(),
                },
                Scan::Committed(journal) => {
                    Judgement::of(&self.fs, &path, &journal, Access::Read)?.finding(&path)
                }
            },
        }))
    }

    /// Drops the journal at `path`, leaving every file as it is now.
    pub fn discard(&self, path: &Path) -> Result<Outcome> {
        match Found::behind(&self.fs, path)? {
            None => Ok(Outcome::Nothing),
            Some(Found::Alive) => Ok(Outcome::Busy),
            Some(Found::Strange { path }) => self.fs.remove(&path).map(|()| Outcome::RolledBack),
            Some(Found::Dead { path, scan }) => match scan {
                Scan::Unknown => self.fs.remove(&path).map(|()| Outcome::RolledBack),
                Scan::Committed(journal) | Scan::Undecided(journal) => {
                    Finishing::new(&self.fs, &path, &journal).clean_up()?;
                    Ok(Outcome::RolledBack)
                }
            },
        }
    }
}

/// A journal that belongs to a file.
enum Found {
    /// Its process lives.
    Alive,
    /// It belongs to another user, who could name any file in it.
    Strange { path: PathBuf },
    /// Its process is gone. This handle keeps others away.
    Dead { path: PathBuf, scan: Scan },
}

impl Found {
    /// The journal at `path`, or the one that it points to.
    fn behind(fs: &Arc<dyn Fs>, path: &Path) -> Result<Option<Self>> {
        let mut path = path.to_owned();
        for _ in 0..2 {
            if fs.status(&path)?.is_none() {
                return Ok(None);
            }
            let disk = match open_to_hold(&**fs, &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                other => other?,
            };
            if !is_trusted(disk.status()?.owner) {
                return Ok(Some(Self::Strange { path }));
            }
            match pointer::target_of(&*disk, &path)? {
                Some(target) => {
                    if pointer::is_stale(&**fs, &target)? {
                        drop_pointer(&**fs, &path);
                        return Ok(None);
                    }
                    path = target;
                }
                None => return Self::hold(fs, path, disk),
            }
        }
        Ok(None)
    }

    fn hold(fs: &Arc<dyn Fs>, path: PathBuf, disk: Arc<dyn Disk>) -> Result<Option<Self>> {
        if disk.hold()? == Held::ByOthers {
            return Ok(Some(Self::Alive));
        }
        // Somebody may have finished it in the meantime.
        if !still_has(&**fs, &path, &*disk)? {
            return Ok(None);
        }
        let scan = Journal::scan(disk)?;
        Ok(Some(Self::Dead { path, scan }))
    }
}

/// Whether what a user's journal says is carried out: one's own, and root's.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn strange(path: &Path) -> Error {
    let told = format!(
        "The journal '{}' belongs to another user and is not believed: it could name any file. That user, or \
         'tximg recover' in that user's name, can finish it; 'tximg recover --discard' drops it",
        path.display()
    );
    Error::new(ErrorKind::Conflict, "recover", path, None).saying(told)
}

/// Whether a name is still that of an open file.
fn still_has(fs: &dyn Fs, path: &Path, disk: &dyn Disk) -> Result<bool> {
    let Some(now) = fs.status(path)? else { return Ok(false) };
    Ok(disk.status()?.identity == now.identity)
}

/// A journal can be held by who may only read it, too.
fn open_to_hold(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn Disk>> {
    match fs.open(path, OpenOptions::WRITE) {
        Err(error) if error.kind() == ErrorKind::Denied => fs.open(path, OpenOptions::READ),
        other => other,
    }
}

fn drop_pointer(fs: &dyn Fs, path: &Path) {
    if let Err(error) = fs.unlink(path) {
        tracing::debug!(path = %path.display(), %error, "A pointer to a finished journal stays.");
    }
}

/// Removes what a killed process was about to put in the place of the file at `real`. Whoever makes one
/// holds it.
fn drop_replacement(fs: &dyn Fs, real: &Path) {
    let path = replacement_of(real);
    let Ok(Some(status)) = fs.status(&path) else { return };
    if status.kind != DiskKind::Regular || !is_trusted(status.owner) {
        return;
    }
    let dropped = open_to_hold(fs, &path).and_then(|disk| {
        let is_left = disk.hold()? == Held::ByUs && still_has(fs, &path, &*disk)?;
        if is_left { fs.unlink(&path) } else { Ok(()) }
    });
    if let Err(error) = dropped {
        tracing::debug!(path = %path.display(), %error, "A temporary file stays.");
    }
}

/// Deals with the journal of a file that is about to be opened.
pub(crate) fn meet(fs: &Arc<dyn Fs>, real: &Path, access: Access) -> Result<Met> {
    drop_replacement(&**fs, real);
    let Some(found) = Found::behind(fs, &journal_of(real))? else { return Ok(Met::Nothing) };
    let (path, scan) = match found {
        Found::Alive => return Ok(Met::Nothing),
        Found::Strange { path } => return Err(strange(&path)),
        Found::Dead { path, scan } => (path, scan),
    };
    tracing::info!(journal = %path.display(), "Found the journal of a transaction that was interrupted.");
    // A decided journal is read again by who cannot finish it.
    let again = match &scan {
        Scan::Committed(journal) => Some(Arc::clone(&journal.disk)),
        _ => None,
    };
    match Recovery::finish(fs, &path, scan) {
        Ok(outcome) => {
            tracing::info!(journal = %path.display(), ?outcome, "Recovered.");
            Ok(Met::Nothing)
        }
        Err(error) if access == Access::Read && is_obstacle(&error) => match again {
            Some(disk) => see_through(fs, real, &path, disk),
            // What was never decided changes nothing.
            None => Ok(Met::Nothing),
        },
        Err(error) => Err(error),
    }
}

/// The same for a file that is about to be replaced.
pub(crate) fn settle(fs: &Arc<dyn Fs>, real: &Path) -> Result<()> {
    meet(fs, real, Access::Write).map(|_| ())
}

/// Whether a reader may go on without finishing the journal.
fn is_obstacle(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Locked | ErrorKind::NoSpace)
}

/// The file at `real` as it will be when the journal is finished.
fn see_through(fs: &Arc<dyn Fs>, real: &Path, path: &Path, disk: Arc<dyn Disk>) -> Result<Met> {
    let Scan::Committed(journal) = Journal::scan(disk)? else { return Ok(Met::Nothing) };
    let judgement = Judgement::of(fs, path, &journal, Access::Read)?;
    match judgement.decision() {
        Decision::RollBack | Decision::Done => Ok(Met::Nothing),
        Decision::Conflict => Err(conflict(path)),
        Decision::RollForward => match judgement.future_of(fs, path, &journal, real)? {
            Some(future) => look_through(fs, real, future).map(Met::LookThrough),
            None => Ok(Met::Nothing),
        },
    }
}

fn conflict(path: &Path) -> Error {
    let told = format!(
        "The journal '{}' of an interrupted change does not fit its images: somebody changed them since. Nothing \
         was touched; 'tximg recover --explain' shows more, 'tximg recover --discard' keeps the images as they are",
        path.display()
    );
    Error::new(ErrorKind::Conflict, "recover", path, None).saying(told)
}

fn unknown(path: &Path) -> Error {
    let told = format!("The journal '{}' was written by a later version of tximg", path.display());
    Error::new(ErrorKind::Conflict, "recover", path, None).saying(told)
}
