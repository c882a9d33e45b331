//! The same work on several threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};

/// Enough for any reader or codec.
const STACK: usize = 1 << 20;

/// Runs `work` on this thread and on up to `threads - 1` others, and waits for all of them.
///
/// A thread that cannot be started, in a small address space for example, is left out: the work
/// must share itself among whoever comes.
pub(crate) fn run(threads: usize, work: impl Fn() + Sync) {
    scope(|scope| {
        for _ in 1..threads {
            if Builder::new().stack_size(STACK).spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}

/// What a mutex guards. A thread that panicked with it ends the operation anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
