//! A file that a transaction changes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::overlay::{Bytes, Overlay, Run};
use super::shared::Shared;
use crate::lock::{Foreign, find_conflict};
use crate::log::MAX_PATCH;
use crate::{
    Allocate, Claim, Disk, DiskStatus, Error, ErrorKind, Extent, ExtentKind, RangeSet, Result, Zeroing,
};

/// A replacement shorter than this is held in memory; a longer one waits in the journal.
const HELD_AT_MOST: usize = 16 << 10;

/// A file that a transaction changes, however many handles it has.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    /// Symbolic links resolved.
    pub(super) path: PathBuf,
    /// The file itself. Its locks are kept until the transaction is over.
    pub(super) inner: Arc<dyn Disk>,
    pub(super) standing: Standing,
    /// What the file was when the transaction met it.
    pub(super) before: DiskStatus,
    pub(super) state: RwLock<State>,
    /// Whether anything was written to the file itself.
    written: AtomicBool,
    /// The transaction's count of changes when this file's last one was made.
    changed_last: AtomicU64,
}

/// How a file stands to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Others know it: what they may look at is replaced at the commit.
    Known,
    /// Nobody knows it yet.
    Draft,
}

/// What a file is going to be.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) overlay: Overlay,
    /// The length that it is going to have, if not the one it has.
    pub(super) len: Option<u64>,
    pub(super) released: RangeSet,
    /// What nobody refers to after the commit, and stays in the file.
    pub(super) retired: RangeSet,
    /// Holes that space was reserved for.
    reserved: RangeSet,
    /// The transaction's count of changes when this file's last replacement was made.
    pub(super) replaced_last: u64,
    /// What each living handle claims.
    claims: BTreeMap<u64, Claim>,
    /// Everything that any handle claimed.
    claimed: Option<Claim>,
}

impl State {
    /// Whether a range is replaced in any part, or lies beyond a length that is.
    pub(super) fn replaces(&self, range: Range<u64>) -> bool {
        self.len.is_some_and(|len| range.end > len) || self.overlay.touches(range)
    }

    /// Whether the file is replaced in any part.
    pub(super) fn is_replaced(&self) -> bool {
        !self.overlay.is_empty() || self.len.is_some()
    }
}

impl Member {
    pub(super) fn new(
        shared: &Arc<Shared>,
        path: PathBuf,
        inner: Arc<dyn Disk>,
        standing: Standing,
    ) -> Result<Self> {
        let before = inner.status()?;
        let (shared, state, written) = (Arc::clone(shared), RwLock::default(), AtomicBool::new(false));
        Ok(Self { shared, path, inner, standing, before, state, written, changed_last: AtomicU64::new(0) })
    }

    /// Counts a change, of bytes or of the name.
    pub(super) fn count_change(&self) -> u64 {
        let count = self.shared.count_change();
        self.changed_last.store(count, Ordering::SeqCst);
        count
    }

    /// The transaction's count of changes when this file's last one was made; 0 if there was none.
    pub(super) fn changed_last(&self) -> u64 {
        self.changed_last.load(Ordering::SeqCst)
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything was written to the file itself.
    pub(super) fn is_written(&self) -> bool {
        self.written.load(Ordering::SeqCst)
    }

    /// The file, to be written to where nobody looks.
    pub(super) fn to_write(&self) -> Result<&Arc<dyn Disk>> {
        self.shared.check()?;
        self.written.store(true, Ordering::SeqCst);
        self.count_change();
        Ok(&self.inner)
    }

    pub(super) fn len(&self) -> Result<u64> {
        match self.state().len {
            Some(len) => Ok(len),
            None => self.inner.len(),
        }
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.shared.check()?;
        let state = self.state();
        if !state.is_replaced() {
            return self.inner.read_at(offset, buf);
        }
        let len = match state.len {
            Some(len) => len,
            None => self.inner.len()?,
        };
        let end = len.min(offset.saturating_add(buf.len() as u64));
        if end <= offset {
            return Ok(0);
        }
        for run in state.overlay.runs(offset..end) {
            let to = &mut buf[(run.range.start - offset) as usize..(run.range.end - offset) as usize];
            match run.bytes {
                Some(bytes) => bytes.read(0, to)?,
                None => self.inner.read_padded(run.range.start, to)?,
            }
        }
        Ok((end - offset) as usize)
    }

    pub(super) fn extent_at(&self, offset: u64) -> Result<Extent> {
        let state = self.state();
        if !state.is_replaced() {
            return self.inner.extent_at(offset);
        }
        let len = match state.len {
            Some(len) => len,
            None => self.inner.len()?,
        };
        if offset >= len {
            return Ok(Extent { kind: ExtentKind::Hole, end: u64::MAX });
        }
        let runs = state.overlay.runs(offset..len);
        let Some(run) = runs.into_iter().next() else { return self.inner.extent_at(offset) };
        let end = run.range.end;
        Ok(match run.bytes {
            Some(Bytes::Zero) => Extent { kind: ExtentKind::Hole, end },
            Some(_) => Extent { kind: ExtentKind::Data, end },
            None => {
                let extent = self.inner.extent_at(offset)?;
                Extent { end: extent.end.min(end), ..extent }
            }
        })
    }

    /// Replaces bytes at the commit.
    pub(super) fn replace(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.shared.check()?;
        if bytes.len() <= HELD_AT_MOST {
            return self.put(offset, bytes.len() as u64, Bytes::held(bytes));
        }
        let mut at = offset;
        for (len, stored) in self.shared.store_payload(&self.path, bytes)? {
            self.put(at, len, stored)?;
            at += len;
        }
        Ok(())
    }

    /// Replaces bytes at the commit with such that are read then.
    pub(super) fn put(&self, offset: u64, len: u64, bytes: Bytes) -> Result<()> {
        if offset + len > self.len()? {
            self.put_len(offset + len)?;
        }
        self.shared.keep_sources(&self.inner, offset..offset + len)?;
        let mut state = self.state_mut();
        state.overlay.put(offset, len, bytes);
        state.replaced_last = self.count_change();
        Ok(())
    }

    /// Reads what is to be copied from a range of `source` into the journal.
    pub(super) fn keep_bytes_of(&self, source: &Arc<dyn Disk>, range: Range<u64>) -> Result<()> {
        let copied: Vec<_> = self.state().overlay.copied_from(source, range).collect();
        for Run { range, bytes } in copied {
            let mut at = range.start;
            while at < range.end {
                let mut buf = vec![0; (range.end - at).min(MAX_PATCH) as usize];
                if let Some(bytes) = &bytes {
                    bytes.read(at - range.start, &mut buf)?;
                }
                self.replace(at, &buf)?;
                at += buf.len() as u64;
            }
        }
        Ok(())
    }

    /// Makes a range zeroes at the commit: where it is data now.
    pub(super) fn put_zeroes(&self, range: Range<u64>) -> Result<()> {
        let len = self.len()?;
        let mut at = range.start;
        while at < range.end.min(len) {
            let extent = self.extent_at(at)?;
            let end = extent.end.min(range.end).min(len);
            if extent.kind == ExtentKind::Data {
                self.put(at, end - at, Bytes::Zero)?;
            }
            at = end;
        }
        if range.end > len {
            self.put_len(range.end)?;
        }
        Ok(())
    }

    /// Changes the length at the commit.
    pub(super) fn put_len(&self, len: u64) -> Result<()> {
        let (old, own) = (self.len()?, self.inner.len()?);
        self.shared.keep_sources(&self.inner, len..u64::MAX)?;
        let mut state = self.state_mut();
        if len < old {
            state.overlay.cut_out(len..u64::MAX);
        } else if old < own {
            // What had been cut off must not come back.
            state.overlay.put(old, len.min(own) - old, Bytes::Zero);
        }
        state.len = Some(len);
        state.replaced_last = self.count_change();
        Ok(())
    }

    /// Gives a range back after the commit. What was to be put there is not: recovery would look for it in
    /// vain once the space is gone.
    pub(super) fn release(&self, range: Range<u64>) {
        let mut state = self.state_mut();
        state.overlay.cut_out(range.clone());
        state.released.insert(range);
    }

    /// Takes what a handle claims, along with what the others of this transaction have claimed.
    ///
    /// Two living handles of one command may be in each other's way just as two programs would.
    pub(super) fn claim(&self, handle: u64, claim: Claim) -> Result<()> {
        let mut state = self.state_mut();
        let has = |set: crate::Permissions, number: u8| set.bits() >> number & 1 == 1;
        let conflict = find_conflict(claim, |foreign, number| {
            let others = state.claims.iter().filter(|(other, _)| **other != handle);
            Ok(others.map(|(_, claim)| claim).any(|other| match foreign {
                Foreign::Using => has(other.using, number),
                Foreign::Denying => has(other.denying, number),
            }))
        })?;
        if let Some(complaint) = conflict {
            return Err(Error::new(ErrorKind::Locked, complaint, &self.path, None));
        }
        let claimed = match state.claimed {
            Some(before) => {
                Claim { using: before.using | claim.using, denying: before.denying | claim.denying }
            }
            None => claim,
        };
        self.inner.lock(claimed)?;
        state.claimed = Some(claimed);
        state.claims.insert(handle, claim);
        Ok(())
    }

    /// Fails as long as a handle of this transaction uses the file.
    pub(super) fn require_unused(&self) -> Result<()> {
        if self.state().claims.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Locked, "Failed to get \"write\" lock", &self.path, None))
    }

    /// The ranges of at least so many bytes that are to be filled from files.
    pub(super) fn bulk(&self, least: u64) -> Vec<Range<u64>> {
        let state = self.state();
        let pieces = state.overlay.pieces();
        let bulk =
            pieces.filter(|(_, piece)| piece.len >= least && matches!(piece.bytes, Bytes::InFile { .. }));
        bulk.map(|(offset, piece)| offset..offset + piece.len).collect()
    }

    /// Reserves space for what is going to be put somewhere, also past the end.
    pub(super) fn reserve(&self, range: Range<u64>) -> Result<()> {
        self.shared.check()?;
        let mut at = range.start;
        while at < range.end {
            let extent = self.inner.extent_at(at)?;
            let end = extent.end.min(range.end);
            if extent.kind == ExtentKind::Hole {
                self.state_mut().reserved.insert(at..end);
            }
            at = end;
        }
        self.inner.allocate(range, Allocate::KeepLength)
    }

    /// Puts the file back as it was met, as far as others can see it.
    pub(super) fn roll_back(&self) -> Result<()> {
        let State { reserved, .. } = std::mem::take(&mut *self.state_mut());
        if self.standing == Standing::Draft {
            return Ok(());
        }
        let len = self.before.len;
        let reaches = reserved.iter().next_back().is_some_and(|range| range.end > len);
        if reaches || (self.is_written() && self.inner.len()? > len) {
            // Space past the end goes too, even if the length stays.
            self.inner.set_len(len)?;
        }
        if reserved.is_empty() || self.inner.status()?.allocated <= self.before.allocated {
            return Ok(());
        }
        for range in reserved.iter().filter(|range| range.start < len) {
            match self.inner.zero(range.start..range.end.min(len), Zeroing::Unmap) {
                Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets a handle; what it had locked stays locked.
    pub(super) fn forget(&self, handle: u64) {
        self.state_mut().claims.remove(&handle);
    }

    /// Bytes that the file takes on the filesystem beyond what it took when it was met, and that
    /// wait to be put into it.
    pub(super) fn space(&self) -> Result<u64> {
        let now = self.inner.status()?.allocated;
        let before = if self.standing == Standing::Known { self.before.allocated } else { 0 };
        let waiting = self.state().overlay.pieces().map(|(_, piece)| piece.len).sum::<u64>();
        Ok(now.saturating_sub(before) + waiting)
    }
}
