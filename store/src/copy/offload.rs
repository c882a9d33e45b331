//! Letting the kernel copy, where both sides are files that it can copy between.

use formats::engine::Turn;
use formats::{Allocation, Result};
use journal::ErrorKind;

use super::Method;
use super::failure::Doing;
use super::plan::{Job, Piece, PieceKind};
use super::worker::{Action, Step, Worker};

impl Worker<'_> {
    /// What is done with a chunk whose data the kernel can be asked to copy: all of it is plain
    /// bytes of a file, in whole units of the target.
    pub(super) fn offloadable(&self, job: &Job) -> Option<Vec<Step>> {
        if self.copy.method != Method::Offload {
            return None;
        }
        let at_end = job.at + job.len() == self.copy.target.virtual_size();
        let aligned = |at: usize| (at as u64).is_multiple_of(self.unit) || (at_end && at as u64 == job.len());
        let mut steps = Vec::new();
        let mut start = 0;
        for piece in &job.pieces {
            let len = piece.len as usize;
            let action = match piece.kind {
                PieceKind::Data if piece.host.is_some() => Some(Action::Store),
                PieceKind::Data => return None,
                PieceKind::Zero if self.zeroes_are_there() => None,
                PieceKind::Zero if self.copy.min_sparse == 0 => return None,
                PieceKind::Zero => Some(Action::Zero),
                PieceKind::Beneath => None,
            };
            if let Some(action) = action {
                if !aligned(start) || !aligned(start + len) {
                    return None;
                }
                steps.push(Step { start, len, action });
            }
            start += len;
        }
        Some(steps)
    }

    /// Lets the kernel copy the pieces; what it does not is read and written.
    pub(super) fn offload(&mut self, job: &Job, steps: &[Step], turn: &mut Turn<'_>) -> Result<()> {
        let allocations = self.prepare(job, steps, turn)?;
        let mut fetched = false;
        for (start, allocation) in &allocations {
            let copied =
                self.copy.tell(Doing::Writing, allocation.at.0, copy_by_kernel(job, *start, allocation))?;
            if copied < allocation.len {
                if !fetched {
                    self.fetch(job)?;
                    fetched = true;
                }
                let bytes = &self.chunk[*start..*start + allocation.len as usize];
                let written = allocation.disk.write_bulk_at(allocation.offset.0, bytes);
                self.copy.tell(Doing::Writing, allocation.at.0, written)?;
            }
            self.writer.link(allocation)?;
        }
        Ok(())
    }
}

/// Copies the pieces of a job that lie in an allocation; returns how many bytes from its start on
/// are there.
pub(super) fn copy_by_kernel(job: &Job, start: usize, allocation: &Allocation) -> Result<u64> {
    let (alloc_start, alloc_end) = (start as u64, start as u64 + allocation.len);
    let mut piece_start = 0;
    let mut done = 0;
    for Piece { len, host, .. } in &job.pieces {
        let (from, to) = (piece_start.max(alloc_start), (piece_start + len).min(alloc_end));
        if let (Some((disk, offset)), true) = (host, from < to) {
            let (mut source, mut target, mut left) =
                (offset.0 + (from - piece_start), allocation.offset.0 + (from - alloc_start), to - from);
            while left > 0 {
                let copied = match allocation.disk.copy_from(target, &**disk, source, left) {
                    Ok(0) => return Ok(done),
                    Ok(copied) => copied,
                    Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(done),
                    Err(error) => return Err(error.into()),
                };
                (source, target, left, done) =
                    (source + copied, target + copied, left - copied, done + copied);
            }
        }
        piece_start += len;
    }
    Ok(done)
}
