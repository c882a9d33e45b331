//! Numbers on the command line, and sizes for people.

use std::ffi::OsStr;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use formats::numbers::{NumberError, parse_size, parse_u64};

use crate::report::Failure;

/// The largest size or offset that QEMU can count.
pub(crate) const MAX_SIZE: u64 = i64::MAX as u64;

/// The bounds of a number that must fit C's `int`.
pub(crate) const MAX_INT: u64 = i32::MAX as u64;

/// A size: bytes with an optional fraction and suffix. `what` names it in complaints.
pub(crate) fn size(text: &OsStr, what: &str, bounds: RangeInclusive<u64>) -> Result<u64, Failure> {
    bounded(text, what, bounds, parse_size)
}

/// A number of things: a plain integer, decimal, hexadecimal (`0x`) or octal (`0`).
pub(crate) fn count(text: &OsStr, what: &str, bounds: RangeInclusive<u64>) -> Result<u64, Failure> {
    bounded(text, what, bounds, parse_u64)
}

fn bounded(
    text: &OsStr,
    what: &str,
    bounds: RangeInclusive<u64>,
    parse: fn(&str) -> Result<u64, NumberError>,
) -> Result<u64, Failure> {
    match text.to_str().ok_or(NumberError::Syntax).and_then(parse) {
        Ok(value) if bounds.contains(&value) => Ok(value),
        Ok(_) | Err(NumberError::Range) => Err(Failure::message(format!(
            "Invalid {what} specified. Must be between {} and {}.",
            bounds.start(),
            bounds.end()
        ))),
        Err(NumberError::Syntax) => {
            let message = [b"Invalid ", what.as_bytes(), b" specified: '", text.as_bytes(), b"'."].concat();
            Err(Failure::message(std::ffi::OsString::from_vec(message)))
        }
    }
}

/// A size for people, with three significant digits: `1.5 GiB`.
///
/// The next unit begins at 1000 of the former one, not at 1024.
pub(crate) fn human(bytes: u64) -> String {
    const PREFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    // Where the binary exponent of bytes × 1.024 passes a multiple of ten.
    let exponent = (bytes as f64 / (1000.0 / 1024.0)).log2().floor().max(0.0);
    let unit = ((exponent / 10.0) as usize).min(PREFIXES.len() - 1);
    let value = bytes as f64 / (1u64 << (unit * 10)) as f64;
    format!("{} {}B", three_digits(value), PREFIXES[unit])
}

/// A number as C's `%0.3g` prints it, for 0 and for what lies between 0.1 and 10000.
fn three_digits(value: f64) -> String {
    let scientific = format!("{value:.2e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: usize = match exponent.parse::<i32>() {
        Ok(exponent) if exponent >= 3 => {
            let mut text = trim_zeroes(mantissa).to_owned();
            let _ = write!(text, "e+{exponent:02}");
            return text;
        }
        Ok(exponent) => usize::try_from(2 - exponent).unwrap_or(0),
        Err(_) => 2,
    };
    trim_zeroes(&format!("{value:.exponent$}")).to_owned()
}

fn trim_zeroes(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(result: Result<u64, Failure>) -> String {
        result.map_or_else(|failure| failure.text(), |value| value.to_string())
    }

    #[test]
    fn bounds_and_syntax_are_complained_of_as_qemu_img_does() {
        let size = |text: &str| complaint(size(OsStr::new(text), "image size", 0..=MAX_SIZE));
        let range = "Invalid image size specified. Must be between 0 and 9223372036854775807.";
        assert_eq!(size("1.5k"), "1536");
        assert_eq!(size("9223372036854775807"), "9223372036854775807");
        assert_eq!(size("8E"), range);
        assert_eq!(size("-1"), range);
        assert_eq!(size("1kb"), "Invalid image size specified: '1kb'.");
        assert_eq!(size(""), "Invalid image size specified: ''.");
        let count = |text: &str| complaint(count(OsStr::new(text), "number of coroutines", 1..=16));
        assert_eq!(count("010"), "8");
        assert_eq!(count("1k"), "Invalid number of coroutines specified: '1k'.");
        assert_eq!(count("17"), "Invalid number of coroutines specified. Must be between 1 and 16.");
        assert_eq!(count("-18446744073709551615"), "1");
    }

    #[test]
    fn sizes_are_printed_as_qemu_img_prints_them() {
        let cases = [
            (0, "0 B"),
            (512, "512 B"),
            (999, "999 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (10752, "10.5 KiB"),
            (102400, "100 KiB"),
            (200704, "196 KiB"),
            (1023488, "1e+03 KiB"),
            (1024000, "0.977 MiB"),
            (1047552, "0.999 MiB"),
            (1048064, "1 MiB"),
            (123457024, "118 MiB"),
            (1234567890432, "1.12 TiB"),
            (5368709120, "5 GiB"),
            (1 << 50, "1 PiB"),
            (1 << 60, "1 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
