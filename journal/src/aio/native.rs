//! Linux AIO, through its system calls.

use std::io;

use super::{Direction, Transfer};

/// `aio_context_t`.
#[derive(Debug)]
pub(super) struct Context {
    id: libc::c_ulong,
    pushed: Vec<Control>,
    events: Vec<Event>,
    /// Failures of the submission itself.
    refused: Vec<(usize, i64)>,
}

/// `struct iocb`: what the kernel is asked.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Control {
    /// Comes back in the event.
    data: u64,
    /// The key (kernel's) and the flags of `RWF_*`, in an order that depends on the byte order;
    /// both are 0.
    key_and_flags: [u32; 2],
    opcode: u16,
    priority: i16,
    descriptor: u32,
    address: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_descriptor: u32,
}

/// `struct io_event`: what the kernel answers.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Event {
    data: u64,
    control: u64,
    result: i64,
    result2: i64,
}

const _: () = assert!(size_of::<Control>() == 64 && size_of::<Event>() == 32);

/// `IOCB_CMD_PREAD`
const READ: u16 = 0;
/// `IOCB_CMD_PWRITE`
const WRITE: u16 = 1;

impl Context {
    pub(super) fn new(depth: usize) -> io::Result<Self> {
        let mut id: libc::c_ulong = 0;
        // SAFETY: the kernel writes the context's number to `id`, which outlives the call.
        check(unsafe { libc::syscall(libc::SYS_io_setup, depth as libc::c_long, &raw mut id) })?;
        let events = vec![Event::default(); depth];
        Ok(Self { id, pushed: Vec::with_capacity(depth), events, refused: Vec::new() })
    }

    pub(super) fn push(&mut self, slot: usize, transfer: Transfer) {
        self.pushed.push(Control {
            data: slot as u64,
            key_and_flags: [0; 2],
            opcode: match transfer.direction {
                Direction::Read => READ,
                Direction::Write => WRITE,
            },
            priority: 0,
            descriptor: transfer.descriptor as u32,
            address: transfer.address as u64,
            len: transfer.len as u64,
            offset: transfer.offset as i64,
            reserved: 0,
            flags: 0,
            event_descriptor: 0,
        });
    }

    pub(super) fn wait(&mut self, end: &mut impl FnMut(usize, i64)) -> io::Result<()> {
        self.submit()?;
        if !self.refused.is_empty() {
            for (slot, result) in self.refused.drain(..) {
                end(slot, result);
            }
            return Ok(());
        }
        let room = self.events.len() as libc::c_long;
        // SAFETY: the kernel writes at most `room` events to `events`, which has that many; the
        // null timeout means to wait for one.
        let got = retry(|| unsafe {
            let timeout = std::ptr::null_mut::<libc::timespec>();
            libc::syscall(
                libc::SYS_io_getevents,
                self.id,
                1 as libc::c_long,
                room,
                self.events.as_mut_ptr(),
                timeout,
            )
        })?;
        for event in &self.events[..got] {
            end(event.data as usize, event.result);
        }
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        let mut controls: Vec<*mut Control> = self.pushed.iter_mut().map(std::ptr::from_mut).collect();
        let mut next = 0;
        while next < controls.len() {
            let count = (controls.len() - next) as libc::c_long;
            // SAFETY: `count` pointers from `next` on point to controls that outlive the call (the
            // kernel copies them); the memory each names belongs to a slot that stays until its
            // event has come.
            let taken = retry(|| unsafe {
                libc::syscall(libc::SYS_io_submit, self.id, count, controls[next..].as_mut_ptr())
            });
            match taken {
                Ok(taken) => next += taken,
                // The first one is refused; the kernel has not begun the others.
                Err(error) => {
                    let code = error.raw_os_error().unwrap_or(libc::EIO);
                    self.refused.push((self.pushed[next].data as usize, -i64::from(code)));
                    next += 1;
                }
            }
        }
        self.pushed.clear();
        Ok(())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is this one's own, and is not used again. The call waits for what is
        // still on its way.
        unsafe {
            libc::syscall(libc::SYS_io_destroy, self.id);
        }
    }
}

fn check(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn retry(mut call: impl FnMut() -> libc::c_long) -> io::Result<usize> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
