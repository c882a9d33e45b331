//! Names that a transaction changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Member;
use crate::log::Identity;
use crate::{DiskStatus, Draft, Error, ErrorKind, Result};

/// Changes of names, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) drafts: Vec<Waiting>,
    pub(super) moves: Vec<Move>,
    pub(super) removals: Vec<Removal>,
}

/// A draft that waits for the commit.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Symbolic links resolved.
    pub(super) target: PathBuf,
    pub(super) draft: Box<dyn Draft>,
    pub(super) member: Arc<Member>,
}

/// A file that gets another name.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) identity: Identity,
    pub(super) replaced: Option<Identity>,
}

/// A file that goes.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
}

/// What a name means inside the transaction.
#[derive(Debug)]
pub(super) enum Standpoint {
    /// What it means outside.
    Unchanged,
    /// A file that is made.
    Draft(Arc<Member>),
    /// The file that has that name outside.
    From(PathBuf),
    /// Nothing.
    Gone,
}

impl Names {
    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.moves.is_empty() && self.removals.is_empty()
    }

    /// What a path, symbolic links resolved, means.
    pub(super) fn find(&self, path: &Path) -> Standpoint {
        if let Some(waiting) = self.drafts.iter().find(|waiting| waiting.target == path) {
            return Standpoint::Draft(Arc::clone(&waiting.member));
        }
        if let Some(found) = self.moves.iter().find(|found| found.to == path) {
            return Standpoint::From(found.from.clone());
        }
        let gone = self.moves.iter().any(|found| found.from == path)
            || self.removals.iter().any(|found| found.path == path);
        if gone { Standpoint::Gone } else { Standpoint::Unchanged }
    }

    /// Every name that changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let made = self.drafts.iter().map(|waiting| waiting.target.clone());
        let moved = self.moves.iter().flat_map(|found| [found.from.clone(), found.to.clone()]);
        made.chain(moved).chain(self.removals.iter().map(|removal| removal.path.clone()))
    }

    /// Drops the draft that waits for a name.
    pub(super) fn forget_draft(&mut self, target: &Path) {
        self.drafts.retain(|waiting| waiting.target != target);
    }

    pub(super) fn rename(
        &mut self,
        from: PathBuf,
        to: PathBuf,
        status: &DiskStatus,
        replaced: Option<&DiskStatus>,
    ) -> Result<()> {
        // One name changes once: chains of moves have no order in which each step is whole.
        for path in [&from, &to] {
            if !matches!(self.find(path), Standpoint::Unchanged) {
                let error = Error::new(ErrorKind::Unsupported, "rename", path, None);
                let told = format!("'{}' was made, moved or removed in the same transaction", path.display());
                return Err(error.saying(told));
            }
        }
        let (identity, replaced) = (Identity::of(status), replaced.map(Identity::of));
        self.moves.push(Move { from, to, identity, replaced });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: PathBuf, status: &DiskStatus) {
        match self.find(&path) {
            Standpoint::Draft(_) => self.forget_draft(&path),
            Standpoint::From(old) => {
                self.moves.retain(|found| found.to != path);
                self.removals.push(Removal { path: old, identity: Identity::of(status) });
            }
            Standpoint::Unchanged => {
                self.removals.push(Removal { path, identity: Identity::of(status) });
            }
            Standpoint::Gone => {}
        }
    }
}
