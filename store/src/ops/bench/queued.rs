//! Requests through an asynchronous interface of the kernel.

use formats::engine::Reader;
use formats::{Allocation, Error, GuestOffset, Image, Result, Target, Writer};
use journal::AlignedBuf;
use journal::aio::{Completion, Direction, Interface, Queue};

use super::{Action, Request, carry_out, flush, pattern_of};

pub(super) fn run(image: &Image, request: &Request, interface: Interface) -> Result<()> {
    let queue = Queue::new(interface, request.in_flight()?, request.size, pattern_of(request.action))?;
    let free = (0..queue.depth()).rev().collect();
    let linked = (0..queue.depth()).map(|_| None).collect();
    let mut ordinary = AlignedBuf::new(request.size);
    ordinary.fill(pattern_of(request.action));
    let reader = Reader::new(image);
    Submitter { image, request, queue, free, linked, reader, ordinary, begun: 0, done: 0 }.run()
}

struct Submitter<'a> {
    image: &'a Image,
    request: &'a Request,
    queue: Queue,
    /// Slots without a request.
    free: Vec<usize>,
    /// What a slot's writing request puts into the metadata when it has ended.
    linked: Vec<Option<Allocation>>,
    reader: Reader<'a>,
    /// The memory of requests that do not go through the queue.
    ordinary: AlignedBuf,
    begun: u64,
    done: u64,
}

impl Submitter<'_> {
    fn run(mut self) -> Result<()> {
        let mut ended = Vec::new();
        while self.done < self.request.count {
            while self.begun < self.request.count
                && self.request.drained_before(self.begun) <= self.done
                && let Some(slot) = self.free.pop()
            {
                self.begin(slot)?;
            }
            self.queue.wait(&mut ended).map_err(|error| lost(&error))?;
            for completion in ended.drain(..) {
                self.end(completion)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, slot: usize) -> Result<()> {
        let at = self.request.place(self.begun, self.image.virtual_size());
        self.begun += 1;
        if self.start(slot, at)? {
            return Ok(());
        }
        carry_out(self.image, &mut self.reader, self.request.action, at, &mut self.ordinary)?;
        self.free.push(slot);
        self.count()
    }

    /// Lets the kernel carry the request out, if it is one run of plain bytes in one file.
    fn start(&mut self, slot: usize, at: u64) -> Result<bool> {
        let len = self.request.size as u64;
        if at.checked_add(len).is_none_or(|end| end > self.image.virtual_size()) {
            return Ok(false);
        }
        match (self.request.action, self.image.driver().writer()) {
            (Action::Read, _) => {
                let mapping = self.image.driver().map(GuestOffset(at), len)?;
                let Target::Data { disk, offset, .. } = mapping.target else { return Ok(false) };
                Ok(mapping.len == len && self.queue.start(slot, Direction::Read, &disk, offset.0))
            }
            (Action::Write { .. }, Some(writer)) if is_granular(writer, at, len) => {
                let allocation = writer.prepare(GuestOffset(at), len)?;
                let whole = allocation.len == len;
                if whole && self.queue.start(slot, Direction::Write, &allocation.disk, allocation.offset.0) {
                    self.linked[slot] = Some(allocation);
                    return Ok(true);
                }
                Ok(false)
            }
            (Action::Write { .. }, _) => Ok(false),
        }
    }

    fn end(&mut self, completion: Completion) -> Result<()> {
        completion.result.map_err(|error| lost(&error))?;
        if let (Some(allocation), Some(writer)) =
            (self.linked[completion.slot].take(), self.image.driver().writer())
        {
            writer.link(&allocation)?;
        }
        self.free.push(completion.slot);
        self.count()
    }

    fn count(&mut self) -> Result<()> {
        self.done += 1;
        if self.request.flushes_after(self.done) { flush(self.image) } else { Ok(()) }
    }
}

fn is_granular(writer: &dyn Writer, at: u64, len: u64) -> bool {
    let unit = writer.granularity();
    at.is_multiple_of(unit) && len.is_multiple_of(unit)
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(formats::ErrorKind::Io, journal::reason(error))
}
