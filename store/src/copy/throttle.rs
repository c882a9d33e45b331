//! A limit on bytes per second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Makes its callers wait so that together they stay under a rate.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    started: Instant,
    passed: Mutex<u64>,
}

impl Throttle {
    /// A throttle that begins now. A rate of 0 is no limit.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, started: Instant::now(), passed: Mutex::new(0) }
    }

    /// Returns when `bytes` more may pass.
    pub(super) fn pass(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let due = {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            let due = *passed as f64 / self.bytes_per_second as f64;
            *passed += bytes;
            Duration::from_secs_f64(due)
        };
        std::thread::sleep(due.saturating_sub(self.started.elapsed()));
    }
}
