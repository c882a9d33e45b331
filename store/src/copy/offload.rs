//! Letting the kernel copy, where both sides are files that it can copy between.

use formats::engine::Turn;
use formats::error::ResultExt;
use formats::{Allocation, Result};
use journal::ErrorKind;

use super::plan::{Job, Piece};
use super::worker::{Action, Step, Worker};

impl Worker<'_> {
    /// Lets the kernel copy the pieces; what it does not is read and written.
    pub(super) fn offload(&mut self, job: &Job, turn: &mut Turn<'_>) -> Result<()> {
        let mut allocations = Vec::new();
        let step = Step { start: 0, len: job.len() as usize, action: Action::Store };
        turn.wait(|| self.put_in_turn(job, &step, &mut allocations))
            .context(|| format!("error while writing at byte {}", job.at))?;
        let mut fetched = false;
        for (start, allocation) in &allocations {
            let mut copied = copy_by_kernel(job, *start, allocation)?;
            if copied < allocation.len {
                if !fetched {
                    self.fetch(job)?;
                    fetched = true;
                }
                let bytes = &self.chunk[*start..*start + allocation.len as usize];
                allocation.disk.write_bulk_at(allocation.offset.0, bytes)?;
                copied = allocation.len;
            }
            debug_assert_eq!(copied, allocation.len);
            self.writer.link(allocation)?;
        }
        Ok(())
    }
}

/// Copies the pieces of a job that lie in an allocation; returns how many bytes from its start on
/// are there.
fn copy_by_kernel(job: &Job, start: usize, allocation: &Allocation) -> Result<u64> {
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
