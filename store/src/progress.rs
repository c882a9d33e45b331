//! How far an operation is.

use std::fmt::Debug;

/// Told how far an operation is, from any thread, often: it must cost next to nothing.
pub trait Progress: Debug + Sync {
    /// `done` of `total` units of work are done. `total` may change from call to call.
    fn set(&self, done: u64, total: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn set(&self, _done: u64, _total: u64) {}
}
