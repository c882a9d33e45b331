//! Local time.

use std::mem::MaybeUninit;

/// `2026-11-22 14:29:58` in local time, for seconds since 1970.
pub(super) fn local(seconds: impl Into<libc::time_t>) -> String {
    let seconds = seconds.into();
    let mut broken_down = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid, and the result is written through the second.
    let done = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
    if done.is_null() {
        return seconds.to_string();
    }
    // SAFETY: `localtime_r` succeeded, so it has filled the structure.
    let tm = unsafe { broken_down.assume_init() };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        i64::from(tm.tm_year) + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    )
}

/// The same for nanoseconds since 1970.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> String {
    local(nanoseconds / 1_000_000_000)
}
