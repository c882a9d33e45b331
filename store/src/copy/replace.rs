//! Writing into an image what it will not see any more when another image is put behind it.

use formats::engine::{Status, is_zero, layer_status, status, status_above};
use formats::{Image, Result};

use super::failure::Doing;
use super::plan::{Job, Piece, PieceKind};
use super::worker::{Action, Step, Worker};
use super::{Beneath, Copy, Replacement};

impl Replacement<'_> {
    /// What stands at an offset of the image on top, for at most `len` bytes: data where old and
    /// new have to be compared, else something that stays as it is.
    pub(super) fn piece(&self, copy: &Copy<'_>, top: &Image, at: u64, len: u64) -> Result<Piece> {
        let stays = |len| Piece { len, kind: PieceKind::Beneath, host: None };
        let own = copy.tell(Doing::Asking, at, layer_status(top, at, len))?;
        if own.allocated {
            return Ok(stays(own.len));
        }
        let shared = self.image.filter(|_| self.is_in_chain);
        let old = copy.tell(Doing::Reading, at, status_above(top, shared, at, own.len))?;
        if shared.is_some() && !old.allocated {
            return Ok(stays(old.len));
        }
        let new = copy.tell(Doing::Comparing, at, self.status(at, old.len))?;
        let zero = old.zero && new.as_ref().is_none_or(|new| new.zero);
        let len = new.map_or(old.len, |new| new.len);
        Ok(if zero { stays(len) } else { Piece { kind: PieceKind::Data, ..stays(len) } })
    }

    /// What the new image has; nothing means zeroes.
    fn status(&self, at: u64, len: u64) -> Result<Option<Status>> {
        match self.image {
            Some(image) if at < image.virtual_size() => status(image, at, len).map(Some),
            _ => Ok(None),
        }
    }
}

impl Worker<'_> {
    /// Whether the target is its own source, and only what would change is written.
    pub(super) fn replaces(&self) -> bool {
        matches!(self.copy.beneath, Beneath::Replaced(_))
    }

    /// Reads what the new image shows where the chunk has to be compared with it; elsewhere they
    /// are made equal.
    pub(super) fn fetch_other(&mut self, job: &Job) -> Result<()> {
        self.other.ensure_len(self.chunk.len());
        let mut start = 0;
        for piece in &job.pieces {
            let end = start + piece.len as usize;
            let bytes = &mut self.other[start..end];
            match (piece.kind, &mut self.other_reader) {
                (PieceKind::Data, Some(reader)) => {
                    let at = job.at + start as u64;
                    self.copy.tell(Doing::Comparing, at, reader.read(at, bytes))?;
                }
                (PieceKind::Data, None) => bytes.fill(0),
                _ => bytes.copy_from_slice(&self.chunk[start..end]),
            }
            start = end;
        }
        Ok(())
    }

    /// Whether a part of the chunk shows the same in the new image.
    pub(super) fn is_same(&self, start: usize, len: usize) -> bool {
        self.replaces() && self.chunk[start..start + len] == self.other[start..start + len]
    }

    /// What must be written of a chunk that is not compressed: the units that differ.
    pub(super) fn differing(&self, job: &Job) -> Vec<Step> {
        let (len, unit) = (job.len() as usize, self.unit as usize);
        let mut steps: Vec<Step> = Vec::new();
        for start in (0..len).step_by(unit) {
            let len = unit.min(len - start);
            if self.is_same(start, len) {
                continue;
            }
            let action = if is_zero(&self.chunk[start..start + len]) { Action::Zero } else { Action::Store };
            match steps.last_mut() {
                Some(last) if last.action == action && last.start + last.len == start => last.len += len,
                _ => steps.push(Step { start, len, action }),
            }
        }
        steps
    }
}
