//! Waiting for images that others have locked.
//!
//! QEMU never waits for a lock, and two commands that each hold what the other waits for would wait for
//! ever. So a command that meets one gives everything back, and begins again a little later.

use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before the second attempt; each time it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long a command waits for locks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// As `--lock-timeout` says, or none at all.
    pub(crate) fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        Self { until: now.checked_add(timeout).unwrap_or(now), pause: FIRST_PAUSE }
    }

    /// Whether there is time for another attempt.
    pub(crate) fn lasts(&self) -> bool {
        Instant::now() < self.until
    }

    /// Waits a little.
    pub(crate) fn pause(&mut self) {
        let left = self.until.saturating_duration_since(Instant::now());
        tracing::debug!(?left, "Waits for a lock.");
        thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
