//! Files that are made inside a transaction.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::file::Member;
use super::names::{Names, Waiting};
use super::shared::lock;
use crate::{Disk, Draft, Error, ErrorKind, Result, StageNames, StagedFile};

/// A draft whose publication waits for the commit.
#[derive(Debug)]
pub(super) struct TransactionDraft {
    inner: Box<dyn Draft>,
    member: Arc<Member>,
    disk: Arc<dyn Disk>,
    names: Arc<Mutex<Names>>,
}

impl TransactionDraft {
    pub(super) fn new(
        inner: Box<dyn Draft>,
        member: Arc<Member>,
        disk: Arc<dyn Disk>,
        names: Arc<Mutex<Names>>,
    ) -> Self {
        Self { inner, member, disk, names }
    }
}

impl Draft for TransactionDraft {
    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    fn target(&self) -> &Path {
        self.inner.target()
    }

    fn is_atomic(&self) -> bool {
        self.inner.is_atomic()
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let Self { inner: draft, member, names, .. } = *self;
        let target = member.path.clone();
        let mut names = lock(&names);
        names.forget_draft(&target);
        names.drafts.push(Waiting { target, draft, member });
        Ok(())
    }

    fn stage_names(&self) -> Option<StageNames> {
        None
    }

    /// A transaction is not made inside another one.
    fn stage(self: Box<Self>, _names: &StageNames) -> Result<StagedFile> {
        Err(Error::new(ErrorKind::Unsupported, "stage", self.inner.target(), None))
    }
}
