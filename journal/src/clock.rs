//! Local time.

use std::mem::MaybeUninit;

/// A moment as the clock on the wall and the calendar have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: i32,
    /// The day of the month, from 1.
    pub day: i32,
    /// The hour.
    pub hour: i32,
    /// The minute.
    pub minute: i32,
    /// The second.
    pub second: i32,
}

impl LocalTime {
    /// Seconds since 1970 in local time, if there is such a year.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        let seconds: libc::time_t = seconds;
        let mut broken_down = MaybeUninit::<libc::tm>::uninit();
        // SAFETY: both pointers are valid, and the result is written through the second.
        let done = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
        if done.is_null() {
            return None;
        }
        // SAFETY: `localtime_r` succeeded, so it has filled the structure.
        let tm = unsafe { broken_down.assume_init() };
        Some(Self {
            year: i64::from(tm.tm_year) + 1900,
            month: tm.tm_mon + 1,
            day: tm.tm_mday,
            hour: tm.tm_hour,
            minute: tm.tm_min,
            second: tm.tm_sec,
        })
    }
}
