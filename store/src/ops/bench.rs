//! `bench`: how fast requests to an image are.
//!
//! Requests go round the image at a fixed step. Through threads, each request is an ordinary read
//! or write of the engine. Through an asynchronous interface of the kernel, one thread keeps the
//! requests on their way that the metadata lets go straight to a file; the others it carries out
//! itself.

mod queued;
mod threads;

use std::time::{Duration, Instant};

use formats::engine::{self, Reader, Write};
use formats::{Durability, Error, ErrorKind, Image, Result};
use journal::aio::Interface;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many requests.
    pub count: u64,
    /// How many at a time.
    pub depth: usize,
    /// Where the first one starts.
    pub offset: u64,
    /// Bytes in each.
    pub size: usize,
    /// From one start to the next.
    pub step: u64,
    /// What each does.
    pub action: Action,
    /// How they reach the kernel.
    pub path: Path,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads.
    Read,
    /// Writes.
    Write {
        /// The byte that is written.
        pattern: u8,
        /// When to flush, if at all.
        flush: Option<Flush>,
    },
}

/// When to flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// After so many requests, counted back from the last.
    pub interval: u64,
    /// What happens to requests meanwhile.
    pub meanwhile: Meanwhile,
}

/// What happens to requests while a flush is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// All are awaited before the flush, none begins before its end.
    Drain,
    /// They go on.
    Continue,
}

/// How requests reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Blocking calls from threads.
    Threads,
    /// An asynchronous interface.
    Queue(Interface),
}

/// Sends the requests; returns how long they took. What was written is durable afterwards.
pub fn run(image: &Image, request: &Request) -> Result<Duration> {
    let started = Instant::now();
    match request.path {
        Path::Threads => threads::run(image, request)?,
        Path::Queue(interface) => queued::run(image, request, interface)?,
    }
    let took = started.elapsed();
    if request.action != Action::Read {
        flush(image)?;
    }
    Ok(took)
}

/// Memory for requests in flight is at most this, as long as that is room for one.
const MAX_MEMORY: usize = 512 << 20;

impl Request {
    /// How many requests can be in flight at a time.
    fn in_flight(&self) -> Result<usize> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let affordable = (MAX_MEMORY / self.size.max(1)).max(1);
        let in_flight = self.depth.min(count).min(affordable);
        // The buffers themselves cannot fail gracefully.
        match Vec::<u8>::new().try_reserve_exact(in_flight * self.size) {
            Ok(()) => Ok(in_flight),
            Err(_) => Err(Error::new(ErrorKind::TooLarge, "Cannot allocate memory")),
        }
    }

    /// Where the request of that number starts: they go round the image.
    fn place(&self, number: u64, size: u64) -> u64 {
        match (number, size) {
            (0, _) => self.offset,
            (_, 0) => 0,
            _ => {
                let far = u128::from(self.offset) + u128::from(number) * u128::from(self.step);
                (far % u128::from(size)) as u64
            }
        }
    }

    /// Whether a flush follows when so many requests are done.
    fn flushes_after(&self, done: u64) -> bool {
        self.flush().is_some_and(|flush| (self.count - done).is_multiple_of(flush.interval))
    }

    /// How many requests must be done and flushed before the one of that number begins.
    fn drained_before(&self, number: u64) -> u64 {
        match self.flush() {
            Some(Flush { interval, meanwhile: Meanwhile::Drain }) => {
                let first = self.count % interval;
                number.checked_sub(first).map_or(0, |past| number - past % interval)
            }
            _ => 0,
        }
    }

    fn flush(&self) -> Option<Flush> {
        match self.action {
            Action::Read => None,
            Action::Write { flush, .. } => flush.filter(|flush| flush.interval > 0),
        }
    }
}

/// Carries out one request by ordinary means. The buffer holds the pattern of a writing request.
fn carry_out(
    image: &Image,
    reader: &mut Reader<'_>,
    action: Action,
    at: u64,
    buffer: &mut [u8],
) -> Result<()> {
    if at.checked_add(buffer.len() as u64).is_none_or(|end| end > image.virtual_size()) {
        return Err(Error::new(ErrorKind::Io, "Input/output error"));
    }
    match action {
        Action::Read => reader.read(at, buffer),
        Action::Write { .. } => engine::write(image, at, Write::Data(buffer)),
    }
}

fn flush(image: &Image) -> Result<()> {
    match image.driver().writer() {
        Some(writer) => writer.commit(Durability::Durable),
        None => Ok(()),
    }
}

fn pattern_of(action: Action) -> u8 {
    match action {
        Action::Read => 0,
        Action::Write { pattern, .. } => pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(offset: u64, step: u64) -> Request {
        let flush = Flush { interval: 4, meanwhile: Meanwhile::Drain };
        Request {
            count: 10,
            depth: 2,
            offset,
            size: 512,
            step,
            action: Action::Write { pattern: 1, flush: Some(flush) },
            path: Path::Threads,
        }
    }

    #[test]
    fn requests_go_round_the_image_but_the_first_stays_where_it_is() {
        let request = request(5000, 512);
        let places: Vec<u64> = (0..3).map(|number| request.place(number, 1024)).collect();
        assert_eq!(places, [5000, (5000 + 512) % 1024, (5000 + 1024) % 1024]);
        assert_eq!(request.place(3, 0), 0);
    }

    #[test]
    fn flushes_are_counted_back_from_the_end() {
        let request = request(0, 512);
        let after: Vec<u64> = (1..=10).filter(|&done| request.flushes_after(done)).collect();
        assert_eq!(after, [2, 6, 10]);
        let before: Vec<u64> = (0..10).map(|number| request.drained_before(number)).collect();
        assert_eq!(before, [0, 0, 2, 2, 2, 2, 6, 6, 6, 6]);
    }
}
