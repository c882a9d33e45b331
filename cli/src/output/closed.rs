//! Whether standard output was closed when the program was started.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of a closed standard stream, so that no
//! image can get its number. Output would then vanish without an error; so look before that.

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Run by the C library before the runtime starts.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: asks for the flags of a descriptor number, which changes nothing.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    CLOSED.store(flags == -1, Ordering::Relaxed);
}

/// Whether there was no standard output to begin with.
pub(super) fn at_start() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
