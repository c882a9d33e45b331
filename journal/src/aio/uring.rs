//! `io_uring`.

use std::fmt;
use std::io;

use io_uring::{IoUring, opcode, types};

use super::{Direction, Transfer};

/// A ring of at least as many entries as the queue has slots.
pub(super) struct Ring {
    ring: IoUring,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn new(depth: usize) -> io::Result<Self> {
        let entries = u32::try_from(depth.next_power_of_two()).map_err(io::Error::other)?;
        Ok(Self { ring: IoUring::new(entries)? })
    }

    pub(super) fn push(&mut self, slot: usize, transfer: Transfer) {
        let descriptor = types::Fd(transfer.descriptor);
        let len = u32::try_from(transfer.len).unwrap_or(u32::MAX);
        let entry = match transfer.direction {
            Direction::Read => {
                opcode::Read::new(descriptor, transfer.address, len).offset(transfer.offset).build()
            }
            Direction::Write => {
                opcode::Write::new(descriptor, transfer.address, len).offset(transfer.offset).build()
            }
        };
        let entry = entry.user_data(slot as u64);
        // SAFETY: the memory and the descriptor belong to a slot that stays until its completion
        // has come.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        // There are as many entries as slots, and a slot holds one transfer.
        debug_assert!(pushed.is_ok(), "the ring has an entry for every slot");
    }

    pub(super) fn wait(&mut self, end: &mut impl FnMut(usize, i64)) -> io::Result<()> {
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        for completion in self.ring.completion() {
            end(completion.user_data() as usize, i64::from(completion.result()));
        }
        Ok(())
    }
}
