//! The commit: sync, journal, apply, clean up.
//!
//! 1. what was written where nobody looks is made durable;
//! 2. the journal gets what is replaced, and is made durable: **the commit point**;
//! 3. names change, then files, each durable before the next, in the order in which they were last
//!    replaced (a base before its overlay);
//! 4. released space is given back, and the journal goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apply::{Work, apply};
use super::describe::Described;
use super::file::Member;
use super::names::{Names, Waiting};
use super::overlay::Bytes;
use super::shared::Shared;
use crate::fs::directory_of;
use crate::log::{FileFlags, FileRecord, Identity, LengthRecord, NameChange, NameRecord, SECTOR, Writer};
use crate::place::{journal_of, named_from};
use crate::recovery::point_to;
use crate::{Error, ErrorKind, Result, StageNames, StagedFile};

/// A piece shorter than this overwrites what has its space already.
const RESERVED_FROM: u64 = 64 << 10;
/// Threads that make files durable.
const SYNC_THREADS: usize = 4;

/// Commits, or rolls back and fails.
pub(super) fn commit(shared: &Arc<Shared>, members: Vec<Arc<Member>>, names: Names) -> Result<()> {
    let result = Commit { shared, members: &members }.run(names);
    match &result {
        Err(error) if error.kind() == ErrorKind::Pending => {
            // Recovery needs the journal, and must be able to hold it.
            drop(shared.take_journal());
        }
        Err(_) => roll_back(shared, &members),
        Ok(()) => {}
    }
    result
}

/// Puts everything back that was changed outside the overlays. What cannot be put back is only
/// space that nothing refers to.
pub(super) fn roll_back(shared: &Shared, members: &[Arc<Member>]) {
    for member in members {
        if let Err(error) = member.roll_back() {
            tracing::warn!(path = %member.path.display(), %error, "Unused space could not be given back.");
        }
    }
    if let Some(journal) = shared.take_journal()
        && let Err(error) = shared.fs.unlink(&journal.path)
    {
        tracing::warn!(path = %journal.path.display(), %error, "An unused journal could not be removed.");
    }
}

struct Commit<'a> {
    shared: &'a Shared,
    members: &'a [Arc<Member>],
}

/// A decided transaction's files and names.
struct Decided<'a> {
    changed: &'a [Arc<Member>],
    names: &'a Names,
    staged: Vec<(StageNames, StagedFile)>,
    /// Where the journal is, and the names that lead to it.
    journal: PathBuf,
    pointers: Vec<PathBuf>,
}

impl Commit<'_> {
    fn run(&self, mut names: Names) -> Result<()> {
        self.shared.check()?;
        let (drafts, fixed) = names.drafts.drain(..).partition(|waiting| waiting.draft.is_atomic());
        names.drafts = drafts;
        let fixed: Vec<Waiting> = fixed;
        fixed.into_iter().try_for_each(|waiting| waiting.draft.publish())?;
        let mut changed: Vec<_> =
            self.members.iter().filter(|member| member.state().is_replaced()).cloned().collect();
        changed.sort_by_key(|member| member.state().replaced_last);
        self.sync_written()?;
        let Some(main) = main_path(&changed, &names) else { return Ok(()) };
        if changed.is_empty()
            && names.moves.is_empty()
            && names.removals.is_empty()
            && names.drafts.len() == 1
        {
            return names.drafts.drain(..).try_for_each(|waiting| waiting.draft.publish());
        }
        if let [only] = &changed[..]
            && names.is_empty()
            && self.is_one_step(only, &main)
        {
            self.apply(only).map_err(|error| unfinished(error, &only.path))?;
            self.release();
            return Ok(());
        }
        let decided = self.decide(&changed, &mut names, main)?;
        self.finish(decided)
    }

    /// Makes durable what was written where nobody looks.
    fn sync_written(&self) -> Result<()> {
        let written: Vec<_> = self.members.iter().filter(|member| member.is_written()).collect();
        if let [only] = written[..] {
            return only.inner.sync();
        }
        let share = written.len().div_ceil(SYNC_THREADS).max(1);
        std::thread::scope(|scope| {
            let parts = written.chunks(share);
            let running: Vec<_> = parts
                .map(|part| scope.spawn(|| part.iter().try_for_each(|member| member.inner.sync())))
                .collect();
            running.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Whether a file goes from old to new in one step that the disk does whole: a new length, or
    /// one sector where no journal can be had.
    fn is_one_step(&self, member: &Member, main: &Path) -> bool {
        let state = member.state();
        if state.overlay.is_empty() {
            return true;
        }
        let mut pieces = state.overlay.pieces();
        let (Some((offset, piece)), None) = (pieces.next(), pieces.next()) else { return false };
        let in_one_sector = offset / SECTOR == (offset + piece.len - 1) / SECTOR;
        let held = matches!(piece.bytes, Bytes::Held { .. });
        let journal = self.shared.journal_beside(main);
        let denied = journal.is_err_and(|error| error.kind() == ErrorKind::Denied);
        in_one_sector && held && state.len.is_none() && denied
    }

    /// Writes the journal and makes it durable.
    fn decide<'b>(
        &self,
        changed: &'b [Arc<Member>],
        names: &'b mut Names,
        main: PathBuf,
    ) -> Result<Decided<'b>> {
        reserve(changed)?;
        let mut guard = self.shared.journal_beside(&main)?;
        let Some(open) = guard.as_mut() else { return Err(no_journal(&main)) };
        let (journal, writer) = (open.path.clone(), &mut open.writer);
        let staged = self.stage(&journal, writer, names)?;
        let mut decided = Decided { changed, names, staged, journal, pointers: Vec::new() };
        let written = self.record(writer, &mut decided);
        drop(guard);
        match written {
            Ok(()) => Ok(decided),
            Err(error) => Err(self.take_back(decided, error)),
        }
    }

    /// Gives drafts their hidden names, which the journal tells before they exist.
    fn stage(
        &self,
        journal: &Path,
        writer: &mut Writer,
        names: &mut Names,
    ) -> Result<Vec<(StageNames, StagedFile)>> {
        if names.drafts.is_empty() {
            return Ok(Vec::new());
        }
        let drafts: Vec<_> = names.drafts.drain(..).collect();
        let mut planned = Vec::new();
        for Waiting { draft, member, .. } in drafts {
            let Some(stage) = draft.stage_names() else { continue };
            let replaced = self.shared.fs.status(&stage.target)?.map(|status| Identity::of(&status));
            let change = NameChange::Publish {
                hidden: named_from(journal, &stage.hidden),
                target: named_from(journal, &stage.target),
            };
            let identity = Identity::of(&member.inner.status()?);
            writer.name(&NameRecord { change, identity, replaced })?;
            planned.push((stage, draft));
        }
        writer.sync()?;
        self.shared.fs.sync_directory(directory_of(journal))?;
        let mut staged: Vec<(StageNames, StagedFile)> = Vec::new();
        for (stage, draft) in planned {
            match draft.stage(&stage) {
                Ok(file) => staged.push((stage, file)),
                Err(error) => {
                    self.remove_hidden(&staged);
                    return Err(error);
                }
            }
        }
        Ok(staged)
    }

    /// Everything that the journal says, up to the commit point.
    fn record(&self, writer: &mut Writer, decided: &mut Decided<'_>) -> Result<()> {
        let journal = decided.journal.clone();
        let sources = self.shared.sources();
        for source in &sources {
            let flags = FileFlags { is_source: true, ..FileFlags::default() };
            let (identity, status) = (Identity::of(&source.status), &source.status);
            let path = named_from(&journal, &source.path);
            writer.file(&FileRecord { path, identity, len: status.len, modified: status.modified, flags })?;
        }
        for (member, number) in decided.changed.iter().zip(sources.len() as u32..) {
            self.record_member(writer, decided, member, number)?;
        }
        for found in &decided.names.moves {
            let change = NameChange::Rename {
                from: named_from(&journal, &found.from),
                to: named_from(&journal, &found.to),
            };
            writer.name(&NameRecord { change, identity: found.identity, replaced: found.replaced })?;
        }
        for found in &decided.names.removals {
            let change = NameChange::Remove { path: named_from(&journal, &found.path) };
            writer.name(&NameRecord { change, identity: found.identity, replaced: None })?;
        }
        self.point(decided)?;
        self.shared.check()?;
        writer.commit()?;
        writer.sync()?;
        let directories = decided.pointers.iter().chain([&journal]).map(|path| directory_of(path));
        self.sync_directories(directories)
    }

    fn record_member(
        &self,
        writer: &mut Writer,
        decided: &Decided<'_>,
        member: &Member,
        number: u32,
    ) -> Result<()> {
        let status = member.inner.status()?;
        let moved = decided.names.moves.iter().find(|found| found.from == member.path);
        let path = named_from(&decided.journal, moved.map_or(&member.path, |found| &found.to));
        let flags = FileFlags { is_shadowed: member.is_written(), is_source: false };
        let (identity, len, modified) = (Identity::of(&member.before), status.len, status.modified);
        writer.file(&FileRecord { path, identity, len, modified, flags })?;
        let state = member.state();
        if let Some(after) = state.len {
            writer.length(LengthRecord { file: number, before: len, after })?;
        }
        drop(state);
        Described { member, number }.each(|patch| writer.patch(patch))
    }

    /// Names beside the other images that lead to the journal.
    fn point(&self, decided: &mut Decided<'_>) -> Result<()> {
        let members = decided.changed.iter().map(|member| member.path.clone());
        let made = decided.staged.iter().map(|(stage, _)| stage.target.clone());
        let mut pointers: Vec<_> =
            members.chain(made).chain(decided.names.paths()).map(|path| journal_of(&path)).collect();
        pointers.sort();
        pointers.dedup();
        pointers.retain(|path| *path != decided.journal);
        for path in pointers {
            point_to(&*self.shared.fs, &path, &decided.journal)?;
            decided.pointers.push(path);
        }
        Ok(())
    }

    /// Makes names durable, each directory once.
    fn sync_directories<'b>(&self, directories: impl Iterator<Item = &'b Path>) -> Result<()> {
        let mut directories: Vec<_> = directories.collect();
        directories.sort_unstable();
        directories.dedup();
        directories.into_iter().try_for_each(|directory| self.shared.fs.sync_directory(directory))
    }

    /// After a journal that could not be made durable: makes sure that nobody finds it.
    fn take_back(&self, decided: Decided<'_>, error: Error) -> Error {
        self.remove_hidden(&decided.staged);
        self.unlink_all(decided.pointers.iter());
        let gone = self.shared.fs.unlink(&decided.journal);
        let gone = gone.and_then(|()| self.shared.fs.sync_directory(directory_of(&decided.journal)));
        if gone.is_err() {
            return unfinished(error, &decided.journal);
        }
        drop(self.shared.take_journal());
        error
    }

    /// Removes new files that are not going to appear. Only the journal tells of them, so it must
    /// outlive them.
    fn remove_hidden(&self, staged: &[(StageNames, StagedFile)]) {
        self.unlink_all(staged.iter().map(|(stage, _)| &stage.hidden));
        let directories = staged.iter().map(|(stage, _)| directory_of(&stage.hidden));
        if let Err(error) = self.sync_directories(directories) {
            tracing::warn!(%error, "Temporary files may come back after a power cut.");
        }
    }

    fn unlink_all<'b>(&self, paths: impl Iterator<Item = &'b PathBuf>) {
        for path in paths {
            if let Err(error) = self.shared.fs.unlink(path) {
                tracing::warn!(path = %path.display(), %error, "A temporary file could not be removed.");
            }
        }
    }

    /// Carries out what is decided.
    fn finish(&self, decided: Decided<'_>) -> Result<()> {
        let fail = |error| unfinished(error, &decided.journal);
        self.change_names(&decided).map_err(fail)?;
        for member in decided.changed {
            self.show_life();
            self.apply(member).map_err(fail)?;
        }
        self.remove_names(&decided).map_err(fail)?;
        self.release();
        self.unlink_all(decided.pointers.iter());
        drop(self.shared.take_journal());
        self.unlink_all([&decided.journal].into_iter());
        Ok(())
    }

    fn change_names(&self, decided: &Decided<'_>) -> Result<()> {
        let fs = &self.shared.fs;
        let made = decided.staged.iter().map(|(stage, _)| (&stage.hidden, &stage.target));
        let moved = decided.names.moves.iter().map(|found| (&found.from, &found.to));
        let changes: Vec<_> = made.chain(moved).collect();
        changes.iter().try_for_each(|(from, to)| fs.rename(from, to))?;
        let directories = changes.iter().flat_map(|(from, to)| [directory_of(from), directory_of(to)]);
        self.sync_directories(directories)
    }

    fn remove_names(&self, decided: &Decided<'_>) -> Result<()> {
        let removals = &decided.names.removals;
        removals.iter().try_for_each(|found| self.shared.fs.unlink(&found.path))?;
        self.sync_directories(removals.iter().map(|found| directory_of(&found.path)))
    }

    fn apply(&self, member: &Member) -> Result<()> {
        let state = member.state();
        apply(&Work { disk: &member.inner, overlay: &state.overlay, len: state.len })
    }

    /// Recovery takes a file that was changed later than this for one that somebody else changed.
    fn show_life(&self) {
        if let Err(error) = self.shared.show_life() {
            tracing::warn!(%error, "The journal could not be written to any more.");
        }
    }

    /// Gives back what nothing refers to any more; what cannot be given back is only space.
    fn release(&self) {
        for member in self.members {
            for range in member.state().released.iter().rev() {
                if let Err(error) = member.inner.release(range) {
                    tracing::warn!(path = %member.path.display(), %error, "Space could not be given back.");
                }
            }
        }
    }
}

/// The image that the journal stands beside.
fn main_path(changed: &[Arc<Member>], names: &Names) -> Option<PathBuf> {
    changed.first().map(|member| member.path.clone()).or_else(|| names.paths().next())
}

/// Meets a full disk now rather than after the commit point.
fn reserve(changed: &[Arc<Member>]) -> Result<()> {
    for member in changed {
        for range in member.bulk(RESERVED_FROM) {
            match member.reserve(range) {
                Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn no_journal(path: &Path) -> Error {
    Error::new(ErrorKind::Io, "create the journal of", path, None)
}

/// A failure after which only recovery knows whether the old or the new state stands.
fn unfinished(cause: Error, path: &Path) -> Error {
    let told = format!(
        "The change is decided but not finished ({cause}: {}); 'tximg recover' finishes it: {}",
        cause.reason(),
        path.display()
    );
    cause.into_kind(ErrorKind::Pending).saying(told)
}
