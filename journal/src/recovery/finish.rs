//! Finishing a journal, one way or the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::judge::{Judgement, State};
use crate::fs::directory_of;
use crate::log::{Identity, Journal, NameChange, NameRecord};
use crate::place::{journal_of, resolve_from};
use crate::transaction::{Future, Work, apply};
use crate::{Claim, ErrorKind, Fs, Result};

/// A journal that is being finished.
pub(super) struct Finishing<'a> {
    fs: &'a Arc<dyn Fs>,
    path: &'a Path,
    journal: &'a Journal,
}

impl<'a> Finishing<'a> {
    pub(super) fn new(fs: &'a Arc<dyn Fs>, path: &'a Path, journal: &'a Journal) -> Self {
        Self { fs, path, journal }
    }

    /// Drops a journal that was never decided, and the new files that it had announced.
    pub(super) fn drop_undecided(&self) -> Result<()> {
        self.remove_hidden()?;
        self.clean_up()
    }

    /// Drops a journal of which nothing was carried out.
    pub(super) fn roll_back(&self) -> Result<()> {
        self.remove_hidden()?;
        self.clean_up()
    }

    /// Carries out the rest.
    pub(super) fn roll_forward(&self, judgement: &Judgement) -> Result<()> {
        let files = || judgement.files.iter().zip(&self.journal.files).zip(0_u32..);
        self.lock(judgement)?;
        self.change_names(judgement)?;
        for ((file, _), number) in files() {
            let Some(disk) = file.disk.as_ref().filter(|_| file.state.is_unfinished()) else {
                continue;
            };
            let overlay = judgement.overlay(self.journal, number)?;
            self.journal.show_life()?;
            let mut lengths = self.journal.lengths.iter().filter(|record| record.file == number);
            let len = lengths.next().map(|record| record.after);
            apply(&Work { disk, overlay: &overlay, len })?;
        }
        self.remove_names(judgement)?;
        self.clean_up()
    }

    /// Keeps everybody else away from the files.
    fn lock(&self, judgement: &Judgement) -> Result<()> {
        let records = &self.journal.files;
        let is_changed = |identity: &Identity| {
            records.iter().any(|record| !record.flags.is_source && record.identity == *identity)
        };
        for (file, record) in judgement.files.iter().zip(records) {
            let Some(disk) = &file.disk else { continue };
            if !record.flags.is_source {
                disk.lock(Claim::writer())?;
            } else if !is_changed(&record.identity) {
                disk.lock(Claim::reader())?;
            }
        }
        Ok(())
    }

    /// Removes the pointers, then the journal.
    pub(super) fn clean_up(&self) -> Result<()> {
        // What is beside a file that is only read is another transaction's.
        let changed = self.journal.files.iter().filter(|record| !record.flags.is_source);
        let files = changed.map(|record| &record.path);
        let names = self.journal.names.iter().flat_map(|record| names_of(&record.change));
        let images = files.chain(names).filter_map(|name| resolve_from(self.path, name));
        let mut pointers: Vec<PathBuf> = images.map(|image| journal_of(&image)).collect();
        pointers.sort();
        pointers.dedup();
        pointers.retain(|pointer| pointer != self.path);
        for pointer in pointers {
            self.unlink_if_there(&pointer)?;
        }
        self.unlink_if_there(self.path)
    }

    fn unlink_if_there(&self, path: &Path) -> Result<()> {
        match self.fs.unlink(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes new files that wait under hidden names.
    fn remove_hidden(&self) -> Result<()> {
        let mut directories = Vec::new();
        for record in &self.journal.names {
            if let NameChange::Publish { hidden, .. } = &record.change
                && let Some(path) = self.holder_of(hidden, record)?
            {
                self.fs.unlink(&path)?;
                directories.push(directory_of(&path).to_owned());
            }
        }
        // Only the journal tells of them, so they go first.
        self.sync(directories)
    }

    /// The path of a name, if the record's file has it.
    fn holder_of(&self, name: &Path, record: &NameRecord) -> Result<Option<PathBuf>> {
        let Some(path) = resolve_from(self.path, name) else { return Ok(None) };
        let is_it = self.fs.status(&path)?.is_some_and(|status| Identity::of(&status).is(&record.identity));
        Ok(is_it.then_some(path))
    }

    fn old_names(&self, judgement: &Judgement) -> impl Iterator<Item = &'a NameRecord> {
        let states = judgement.names.clone();
        self.journal
            .names
            .iter()
            .zip(states)
            .filter(|(_, state)| *state == State::Old)
            .map(|(record, _)| record)
    }

    fn change_names(&self, judgement: &Judgement) -> Result<()> {
        let mut directories = Vec::new();
        for record in self.old_names(judgement) {
            let (from, to) = match &record.change {
                NameChange::Publish { hidden, target } => (hidden, target),
                NameChange::Rename { from, to } => (from, to),
                NameChange::Remove { .. } => continue,
            };
            if let (Some(from), Some(to)) = (resolve_from(self.path, from), resolve_from(self.path, to)) {
                self.fs.rename(&from, &to)?;
                directories.extend([directory_of(&from).to_owned(), directory_of(&to).to_owned()]);
            }
        }
        self.sync(directories)
    }

    fn remove_names(&self, judgement: &Judgement) -> Result<()> {
        let mut directories = Vec::new();
        for record in self.old_names(judgement) {
            if let NameChange::Remove { path } = &record.change
                && let Some(path) = resolve_from(self.path, path)
            {
                self.fs.unlink(&path)?;
                directories.push(directory_of(&path).to_owned());
            }
        }
        self.sync(directories)
    }

    fn sync(&self, mut directories: Vec<PathBuf>) -> Result<()> {
        directories.sort();
        directories.dedup();
        directories.iter().try_for_each(|directory| self.fs.sync_directory(directory))
    }
}

/// Every name that a change is about.
fn names_of(change: &NameChange) -> impl Iterator<Item = &PathBuf> {
    let (first, second) = match change {
        NameChange::Publish { target, .. } => (target, None),
        NameChange::Rename { from, to } => (from, Some(to)),
        NameChange::Remove { path } => (path, None),
    };
    std::iter::once(first).chain(second)
}

impl Judgement {
    /// What the file at `real` is going to be, if the journal changes it.
    pub(super) fn future_of(
        &self,
        fs: &Arc<dyn Fs>,
        path: &Path,
        journal: &Journal,
        real: &Path,
    ) -> Result<Option<Future>> {
        for record in &journal.names {
            if let NameChange::Publish { hidden, target } = &record.change
                && resolve_from(path, target).as_deref() == Some(real)
                && let Some(hidden) = resolve_from(path, hidden)
                && fs.status(&hidden)?.is_some()
            {
                return Ok(Some(Future::At(hidden)));
            }
        }
        for (file, number) in self.files.iter().zip(0_u32..) {
            if file.path == real && file.state.is_unfinished() {
                let overlay = self.overlay(journal, number)?;
                let len = journal.lengths.iter().find(|record| record.file == number);
                return Ok(Some(Future::Replaced { overlay, len: len.map(|record| record.after) }));
            }
        }
        Ok(None)
    }
}
