//! Local time.

use journal::LocalTime;

/// `2026-11-22 14:29:58` in local time, for seconds since 1970.
pub(super) fn local(seconds: impl Into<i64>) -> String {
    let seconds = seconds.into();
    match LocalTime::from_seconds(seconds) {
        None => seconds.to_string(),
        Some(LocalTime { year, month, day, hour, minute, second }) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
    }
}

/// The same for nanoseconds since 1970.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> String {
    local(nanoseconds / 1_000_000_000)
}
