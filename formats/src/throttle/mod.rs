//! Throttle groups: limits on what passes through all nodes of a group together.
//!
//! ```text
//!   request ──► each limit's bucket: does more stand in it than may? ──► wait ──► put it in
//! ```
//!
//! A bucket loses as much a second as its limit allows. A request waits for those before it, and not for
//! itself, as in QEMU.

mod disk;
mod limits;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use disk::ThrottledDisk;
use limits::Limit;
pub use limits::Limits;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// It reads.
    In,
    /// It writes.
    Out,
}

/// A group and what has passed through it.
#[derive(Debug)]
pub struct ThrottleGroup {
    limits: Limits,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    levels: [Level; 6],
    seen: Instant,
}

/// What stands in a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Of what the rate lets out.
    sum: f64,
    /// Of what the rate of bursts lets out.
    burst: f64,
}

impl ThrottleGroup {
    /// A group through which nothing has passed.
    pub fn new(limits: Limits) -> Self {
        let buckets = Buckets { levels: [Level::default(); 6], seen: Instant::now() };
        Self { limits, buckets: Mutex::new(buckets) }
    }

    /// Whether everything may pass at once.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.limits.is_empty()
    }

    /// Returns when a request may pass.
    pub(crate) fn pass(&self, passing: Passing, len: u64) {
        if self.is_unlimited() {
            return;
        }
        while let Some(wait) = self.try_pass(passing, len) {
            std::thread::sleep(wait);
        }
    }

    /// Lets a request pass, or says how long it has to wait at least.
    fn try_pass(&self, passing: Passing, len: u64) -> Option<Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(buckets.seen).as_secs_f64();
        buckets.seen = now;
        let counted = self.counted(passing, len);
        let mut wait = 0.0_f64;
        for ((limit, level), amount) in self.limits.each.iter().zip(&mut buckets.levels).zip(counted) {
            level.leak(limit, elapsed);
            if amount > 0.0 {
                wait = wait.max(level.wait(limit));
            }
        }
        if wait > 0.0 {
            // A sleep of no time at all would be none.
            return Some(
                Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX).max(Duration::from_micros(50)),
            );
        }
        for (level, amount) in buckets.levels.iter_mut().zip(counted) {
            level.sum += amount;
            level.burst += amount;
        }
        None
    }

    /// What a request counts in each bucket.
    fn counted(&self, passing: Passing, len: u64) -> [f64; 6] {
        let bytes = len as f64;
        let requests = match self.limits.request_size {
            size if size > 0 && len > size => bytes / size as f64,
            _ => 1.0,
        };
        match passing {
            Passing::In => [bytes, bytes, 0.0, requests, requests, 0.0],
            Passing::Out => [bytes, 0.0, bytes, requests, 0.0, requests],
        }
    }
}

impl Level {
    fn leak(&mut self, limit: &Limit, seconds: f64) {
        self.sum = (self.sum - limit.rate as f64 * seconds).max(0.0);
        self.burst = (self.burst - limit.burst as f64 * seconds).max(0.0);
    }

    /// Seconds until no more stands in the bucket than may: what a tenth of a second lets out, or a burst.
    fn wait(&self, limit: &Limit) -> f64 {
        let (rate, burst) = (limit.rate as f64, limit.burst as f64);
        if limit.rate == 0 {
            return 0.0;
        }
        if limit.burst == 0 {
            return ((self.sum - rate / 10.0) / rate).max(0.0);
        }
        let seconds = ((self.sum - burst * limit.burst_seconds as f64) / rate).max(0.0);
        if limit.burst_seconds > 1 && seconds == 0.0 {
            return ((self.burst - burst / 10.0) / burst).max(0.0);
        }
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_for_those_before_them() {
        let limits = Limits::new([(&b"limits.bps-read"[..], &b"1000000"[..])].into_iter());
        let group = ThrottleGroup::new(limits.unwrap_or_default());
        assert_eq!(group.try_pass(Passing::In, 500_000), None);
        let wait = group.try_pass(Passing::In, 1).unwrap_or_default();
        assert!(wait > Duration::from_millis(200) && wait <= Duration::from_millis(400), "{wait:?}");
        assert_eq!(group.try_pass(Passing::Out, 500_000), None);
    }

    #[test]
    fn bursts_pass_at_once_and_long_requests_count_as_several() {
        let pairs = [("x-iops-total", "2"), ("x-iops-total-max", "10"), ("x-iops-size", "1000")];
        let limits = Limits::new(pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())));
        let group = ThrottleGroup::new(limits.unwrap_or_default());
        assert_eq!(group.try_pass(Passing::In, 9000), None);
        assert_eq!(group.try_pass(Passing::Out, 5000), None);
        let wait = group.try_pass(Passing::In, 1).unwrap_or_default();
        assert!(wait > Duration::from_secs(1) && wait <= Duration::from_secs(2), "{wait:?}");
    }
}
