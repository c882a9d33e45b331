//! Being asked to stop.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells a transaction that its user wants it to stop.
pub trait Interrupt: Debug + Send + Sync {
    /// From now on there is something to roll back: a request must be noticed rather than end the
    /// process.
    fn arm(&self) {}

    /// Whether there was a request.
    fn is_requested(&self) -> bool;
}

impl Interrupt for AtomicBool {
    fn is_requested(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}
