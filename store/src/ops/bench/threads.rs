//! Requests through blocking calls from threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use formats::engine::Reader;
use formats::{Error, Image, Result};
use journal::AlignedBuf;

use crate::workers::{self, lock};

use super::{Action, Request, carry_out, flush, pattern_of};

/// More threads than this are never begun.
const MAX_THREADS: usize = 64;

pub(super) fn run(image: &Image, request: &Request) -> Result<()> {
    let threads = request.in_flight()?.min(MAX_THREADS);
    let pool = Pool::new(image, request);
    workers::run(threads, || pool.work());
    pool.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure.map_or(Ok(()), Err)
}

struct Pool<'a> {
    image: &'a Image,
    request: &'a Request,
    size: u64,
    next: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// Held by a writer where one request's unit may be another's too.
    writing: Mutex<()>,
    shares_units: bool,
}

#[derive(Default)]
struct State {
    done: u64,
    /// Up to which number of done requests everything is flushed.
    flushed: u64,
    failure: Option<Error>,
}

impl<'a> Pool<'a> {
    fn new(image: &'a Image, request: &'a Request) -> Self {
        // A raw file takes any range as it is; elsewhere a request may be a part of a cluster.
        let shares_units = image.driver().writer().is_some_and(|writer| writer.granularity() > 1);
        Self {
            image,
            request,
            size: image.virtual_size(),
            next: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
            writing: Mutex::new(()),
            shares_units,
        }
    }

    fn work(&self) {
        let mut reader = Reader::new(self.image);
        let mut buffer = AlignedBuf::new(self.request.size);
        buffer.fill(pattern_of(self.request.action));
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.request.count || !self.may_begin(number) {
                return;
            }
            let result = self.carry_out(&mut reader, number, &mut buffer);
            if !self.finish(result) {
                return;
            }
        }
    }

    fn carry_out(&self, reader: &mut Reader<'_>, number: u64, buffer: &mut [u8]) -> Result<()> {
        let at = self.request.place(number, self.size);
        let writes = self.request.action != Action::Read;
        let _alone = (writes && self.shares_units).then(|| lock(&self.writing));
        carry_out(self.image, reader, self.request.action, at, buffer)
    }

    /// Waits for a flush that must come before the request; `false` if something has failed.
    fn may_begin(&self, number: u64) -> bool {
        let barrier = self.request.drained_before(number);
        let mut state = lock(&self.state);
        while state.flushed < barrier && state.failure.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failure.is_none()
    }

    /// Counts a request, and flushes if one is due; `false` if something has failed.
    fn finish(&self, result: Result<()>) -> bool {
        let done = {
            let mut state = lock(&self.state);
            state.done += 1;
            state.done
        };
        let due = self.request.flushes_after(done);
        let result = result.and_then(|()| if due { flush(self.image) } else { Ok(()) });
        let mut state = lock(&self.state);
        if due {
            state.flushed = state.flushed.max(done);
        }
        if let Err(error) = result {
            state.failure.get_or_insert(error);
        }
        self.changed.notify_all();
        state.failure.is_none()
    }
}
