//! Many workers, one order.
//!
//! Jobs are handed out in order to a few threads. Each does its slow work at once and its ordered
//! work (choosing host space, appending) when its turn comes, so that the result does not depend
//! on who was faster.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Runs jobs on `threads` threads until `next` has no more or one fails; the first failure in job
/// order is returned.
///
/// `state` makes what a thread keeps from job to job. `work` does one job; what must happen in
/// order it does after [`Turn::wait`].
pub fn run_ordered<J, S>(
    threads: usize,
    next: impl FnMut() -> Result<Option<J>> + Send,
    state: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S, J, &mut Turn<'_>) -> Result<()> + Sync,
) -> Result<()>
where
    J: Send,
{
    let queue = Mutex::new(Queue { next, handed_out: 0 });
    let order = Order::default();
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(|| run_worker(&queue, &order, &state, &work));
        }
        run_worker(&queue, &order, &state, &work);
    });
    match lock(&order.state).failure.take() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

struct Queue<N> {
    next: N,
    handed_out: u64,
}

fn run_worker<J, S, N>(
    queue: &Mutex<Queue<N>>,
    order: &Order,
    state: &(impl Fn() -> Result<S> + Sync),
    work: &(impl Fn(&mut S, J, &mut Turn<'_>) -> Result<()> + Sync),
) where
    N: FnMut() -> Result<Option<J>>,
{
    // A panic below would leave the others waiting for this worker's turn for ever.
    let _guard = StopOnPanic(order);
    let mut state = match state() {
        Ok(state) => state,
        Err(error) => return order.fail(0, error),
    };
    while !order.stopped() {
        let (place, job) = {
            let mut queue = lock(queue);
            let place = queue.handed_out;
            queue.handed_out += 1;
            (place, (queue.next)())
        };
        let result = match job {
            Ok(None) => return,
            Ok(Some(job)) => {
                let mut turn = Turn { order, place, taken: false };
                work(&mut state, job, &mut turn).and_then(|()| turn.finish())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            return order.fail(place, error);
        }
    }
}

/// A job's place in the order.
#[derive(Debug)]
pub struct Turn<'a> {
    order: &'a Order,
    place: u64,
    taken: bool,
}

impl Turn<'_> {
    /// Waits until every earlier job has had its turn, and runs `ordered` before any later one.
    pub fn wait<T>(&mut self, ordered: impl FnOnce() -> Result<T>) -> Result<T> {
        self.order.wait_for(self.place)?;
        let result = ordered()?;
        self.taken = true;
        self.order.advance();
        Ok(result)
    }

    fn finish(&mut self) -> Result<()> {
        if self.taken { Ok(()) } else { self.wait(|| Ok(())) }
    }
}

#[derive(Debug, Default)]
struct Order {
    state: Mutex<OrderState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct OrderState {
    current: u64,
    stopped: bool,
    failure: Option<(u64, Error)>,
}

impl Order {
    fn stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    fn wait_for(&self, place: u64) -> Result<()> {
        let mut state = lock(&self.state);
        while state.current != place && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // The failure that stopped the others is the one that is reported, not this one.
        if state.current == place { Ok(()) } else { Err(Error::invalid("Stopped by an earlier failure")) }
    }

    fn advance(&self) {
        lock(&self.state).current += 1;
        self.changed.notify_all();
    }

    fn fail(&self, place: u64, error: Error) {
        let mut state = lock(&self.state);
        if !state.stopped || state.failure.as_ref().is_some_and(|(first, _)| place < *first) {
            state.failure = Some((place, error));
        }
        state.stopped = true;
        self.changed.notify_all();
    }
}

struct StopOnPanic<'a>(&'a Order);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).stopped = true;
            self.0.changed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn numbers(until: u64) -> impl FnMut() -> Result<Option<u64>> + Send {
        let mut numbers = 0..until;
        move || Ok(numbers.next())
    }

    #[test]
    fn turns_come_in_order_however_long_the_work_takes() {
        let seen = Mutex::new(Vec::new());
        run_ordered(
            4,
            numbers(200),
            || Ok(()),
            |(), job, turn| {
                std::thread::sleep(Duration::from_micros(job * 7919 % 300));
                turn.wait(|| {
                    seen.lock().unwrap().push(job);
                    Ok(())
                })
            },
        )
        .unwrap();
        assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_job_without_ordered_work_does_not_stop_the_rest() {
        let done = AtomicUsize::new(0);
        run_ordered(
            3,
            numbers(100),
            || Ok(()),
            |(), job, turn| {
                done.fetch_add(1, Ordering::Relaxed);
                if job % 2 == 0 { turn.wait(|| Ok(())) } else { Ok(()) }
            },
        )
        .unwrap();
        assert_eq!(done.into_inner(), 100);
    }

    #[test]
    fn the_earliest_failure_is_reported_and_nobody_waits_for_ever() {
        for threads in [1, 2, 5] {
            let error = run_ordered(
                threads,
                numbers(1000),
                || Ok(()),
                |(), job, turn| {
                    turn.wait(|| if job >= 50 { Err(Error::invalid(format!("job {job}"))) } else { Ok(()) })
                },
            )
            .unwrap_err();
            assert_eq!(error.to_string(), "job 50");
        }
    }
}
