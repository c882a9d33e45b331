//! Transfers that the kernel carries out while this process does something else.
//!
//! For measuring what these interfaces can do; ordinary work uses [`Disk`]'s own methods from
//! several threads. A [`Queue`] owns the memory of its transfers, so nothing is freed under the
//! kernel's hands, and dropping it waits for what is still on its way.

mod native;
mod uring;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use crate::{AlignedBuf, Disk, Error, Result};

/// An interface of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Linux AIO, `io_submit`: asynchronous only for files opened past the page cache.
    Native,
    /// `io_uring`.
    Uring,
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the disk into the slot.
    Read,
    /// From the slot to the disk.
    Write,
}

/// A transfer that has ended.
#[derive(Debug)]
pub struct Completion {
    /// The slot, free again.
    pub slot: usize,
    /// Whether all bytes were transferred (for a read: all up to the file's end).
    pub result: io::Result<()>,
}

/// Transfers on their way, each in a slot with memory of its own.
#[derive(Debug)]
pub struct Queue {
    backend: Backend,
    slots: Vec<Slot>,
    in_flight: usize,
}

#[derive(Debug)]
enum Backend {
    Native(native::Context),
    Uring(uring::Ring),
}

#[derive(Debug)]
struct Slot {
    buffer: AlignedBuf,
    /// The transfer in this slot, and the disk that it keeps open.
    transfer: Option<(Transfer, Arc<dyn Disk>)>,
}

/// What a backend is told.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    direction: Direction,
    descriptor: RawFd,
    offset: u64,
    address: *mut u8,
    len: usize,
}

// SAFETY: the address points into the buffer of the slot that holds the transfer; it is only ever
// handed to the kernel.
unsafe impl Send for Transfer {}
// SAFETY: nothing is reached through a shared reference to it.
unsafe impl Sync for Transfer {}

impl Queue {
    /// A queue of `depth` slots, each with `len` bytes, all `fill`.
    pub fn new(interface: Interface, depth: usize, len: usize, fill: u8) -> Result<Self> {
        let depth = depth.clamp(1, MAX_DEPTH);
        let failed = |error| Error::os("set up asynchronous transfers for", Path::new("image"), None, error);
        let backend = match interface {
            Interface::Native => Backend::Native(native::Context::new(depth).map_err(failed)?),
            Interface::Uring => Backend::Uring(uring::Ring::new(depth).map_err(failed)?),
        };
        let slot = |_| {
            let mut buffer = AlignedBuf::new(len);
            if fill != 0 {
                buffer.fill(fill);
            }
            Slot { buffer, transfer: None }
        };
        Ok(Self { backend, slots: (0..depth).map(slot).collect(), in_flight: 0 })
    }

    /// How many transfers can be on their way at a time.
    pub fn depth(&self) -> usize {
        self.slots.len()
    }

    /// How many are.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts a transfer of the slot's whole memory at `offset`; it begins at the next
    /// [`Queue::wait`] at the latest. `false`: the disk has no such way for this range, use its
    /// own methods.
    ///
    /// # Panics
    ///
    /// If the slot is in use.
    pub fn start(&mut self, slot: usize, direction: Direction, disk: &Arc<dyn Disk>, offset: u64) -> bool {
        let place = &mut self.slots[slot];
        assert!(place.transfer.is_none(), "a slot holds one transfer at a time");
        let Some(descriptor) = disk.transfer_descriptor(offset, place.buffer.len()) else { return false };
        let transfer = Transfer {
            direction,
            descriptor: descriptor.as_raw_fd(),
            offset,
            address: place.buffer.as_mut_ptr(),
            len: place.buffer.len(),
        };
        place.transfer = Some((transfer, Arc::clone(disk)));
        self.in_flight += 1;
        match &mut self.backend {
            Backend::Native(context) => context.push(slot, transfer),
            Backend::Uring(ring) => ring.push(slot, transfer),
        }
        true
    }

    /// Begins what was started and waits until at least one transfer has ended.
    pub fn wait(&mut self, ended: &mut Vec<Completion>) -> io::Result<()> {
        if self.in_flight == 0 {
            return Ok(());
        }
        let slots = &mut self.slots;
        let in_flight = &mut self.in_flight;
        let mut end = |slot: usize, result: i64| {
            let Some((transfer, _)) = slots.get_mut(slot).and_then(|slot| slot.transfer.take()) else {
                return;
            };
            *in_flight -= 1;
            ended.push(Completion { slot, result: outcome(transfer, result) });
        };
        match &mut self.backend {
            Backend::Native(context) => context.wait(&mut end),
            Backend::Uring(ring) => ring.wait(&mut end),
        }
    }
}

/// More than this is never on its way at a time.
const MAX_DEPTH: usize = 4096;

fn outcome(transfer: Transfer, result: i64) -> io::Result<()> {
    match (usize::try_from(result), transfer.direction) {
        (Err(_), _) => Err(io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO))),
        (Ok(_), Direction::Read) => Ok(()),
        (Ok(written), Direction::Write) if written == transfer.len => Ok(()),
        (Ok(_), Direction::Write) => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

impl Drop for Queue {
    /// Waits: the kernel may still write into the slots.
    fn drop(&mut self) {
        let mut ended = Vec::new();
        while self.in_flight > 0 {
            if self.wait(&mut ended).is_err() {
                // Nothing is known of the rest. Memory that is never freed cannot be overwritten.
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a foreign hand makes the files")]
mod tests {
    use super::*;
    use crate::{Fs, OpenOptions, RealFs};

    fn round_trip(interface: Interface) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        std::fs::write(&path, vec![7; 3 * 4096]).unwrap();
        let disk = RealFs.open(&path, OpenOptions::WRITE).unwrap();
        let mut queue = Queue::new(interface, 2, 4096, 9).unwrap();
        let mut ended = Vec::new();
        assert!(queue.start(0, Direction::Write, &disk, 4096));
        assert!(queue.start(1, Direction::Read, &disk, 8192));
        while queue.in_flight() > 0 {
            queue.wait(&mut ended).unwrap();
        }
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|completion| completion.result.is_ok()));
        assert!(queue.slots[1].buffer.iter().all(|&byte| byte == 7));
        let expected = [[7; 4096], [9; 4096], [7; 4096]].concat();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }

    #[test]
    fn native_transfers_move_bytes() {
        round_trip(Interface::Native);
    }

    #[test]
    fn uring_transfers_move_bytes() {
        round_trip(Interface::Uring);
    }

    #[test]
    fn a_failure_comes_back_with_its_slot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        std::fs::write(&path, b"x").unwrap();
        let disk = RealFs.open(&path, OpenOptions::READ).unwrap();
        for interface in [Interface::Native, Interface::Uring] {
            let mut queue = Queue::new(interface, 1, 512, 0).unwrap();
            let mut ended = Vec::new();
            assert!(queue.start(0, Direction::Write, &disk, 0));
            queue.wait(&mut ended).unwrap();
            let error = ended.pop().unwrap().result.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
    }
}
