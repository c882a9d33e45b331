//! Numbers and sizes as QEMU's options write them.

/// Why a text is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It is not written as a number.
    Syntax,
    /// It is a number, but negative or above 2^64 − 1.
    Range,
}

/// A size in bytes: decimal with an optional fraction and suffix (`B`, `k`, `M`, `G`, `T`, `P`, `E`,
/// powers of 1024, either case), or hexadecimal without either.
pub fn parse_size(text: &str) -> Result<u64, NumberError> {
    let (sign, digits) = split_sign(text);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return if sign == Sign::Minus { Err(NumberError::Syntax) } else { parse_digits(sign, hex, 16) };
    }
    let (whole, rest) = digits.split_at(digits.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, suffix) = split_fraction(whole, rest)?;
    let value = match (whole.is_empty(), suffix) {
        (true, _) => 0,
        // Trailing text makes even a number out of range a matter of syntax.
        (false, "") => parse_digits(sign, whole, 10)?,
        (false, _) => parse_digits(sign, whole, 10).map_err(|_| NumberError::Syntax)?,
    };
    let unit = unit_of(suffix)?;
    if sign == Sign::Minus || (unit == 1 && fraction != 0.0) {
        return Err(NumberError::Syntax);
    }
    scale(value, fraction, unit)
}

/// An unsigned number as C reads it: decimal, `0x` hexadecimal or `0` octal, wrapping where negative.
pub fn parse_u64(text: &str) -> Result<u64, NumberError> {
    let (sign, digits) = split_sign(text);
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    let value = parse_digits(Sign::Plus, digits, radix)?;
    Ok(if sign == Sign::Minus { value.wrapping_neg() } else { value })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// The sign and what follows it, after leading white space.
fn split_sign(text: &str) -> (Sign, &str) {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    match text.strip_prefix('-') {
        Some(rest) => (Sign::Minus, rest),
        None => (Sign::Plus, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn parse_digits(sign: Sign, digits: &str, radix: u32) -> Result<u64, NumberError> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    let value = u64::from_str_radix(digits, radix).map_err(|_| NumberError::Range)?;
    if sign == Sign::Minus { Err(NumberError::Range) } else { Ok(value) }
}

/// The fraction after `whole`, and the suffix after that.
fn split_fraction<'a>(whole: &str, rest: &'a str) -> Result<(f64, &'a str), NumberError> {
    let Some(tail) = rest.strip_prefix('.') else {
        return if whole.is_empty() { Err(NumberError::Syntax) } else { Ok((0.0, rest)) };
    };
    let count = tail.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 && whole.is_empty() {
        return Err(NumberError::Syntax);
    }
    let fraction = format!("0.{}0", &tail[..count]).parse().map_err(|_| NumberError::Syntax)?;
    Ok((fraction, &tail[count..]))
}

fn unit_of(suffix: &str) -> Result<u64, NumberError> {
    match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => Ok(1),
        "k" => Ok(1 << 10),
        "m" => Ok(1 << 20),
        "g" => Ok(1 << 30),
        "t" => Ok(1 << 40),
        "p" => Ok(1 << 50),
        "e" => Ok(1 << 60),
        _ => Err(NumberError::Syntax),
    }
}

fn scale(value: u64, fraction: f64, unit: u64) -> Result<u64, NumberError> {
    // At most 1.0 × 2^60, so the conversions are exact enough and cannot overflow.
    let part = (fraction * unit as f64 + 0.5) as u64;
    value.checked_mul(unit).and_then(|bytes| bytes.checked_add(part)).ok_or(NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::NumberError::{Range, Syntax};
    use super::*;

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        let cases: &[(&str, Result<u64, NumberError>)] = &[
            ("0", Ok(0)),
            ("010", Ok(10)),
            ("+5", Ok(5)),
            (" 5", Ok(5)),
            ("5 ", Err(Syntax)),
            ("1b", Ok(1)),
            ("1K", Ok(1024)),
            ("1kk", Err(Syntax)),
            ("1kb", Err(Syntax)),
            ("1.5T", Ok(1_649_267_441_664)),
            ("0.1k", Ok(102)),
            ("0.3M", Ok(314_573)),
            (".5k", Ok(512)),
            ("1.", Ok(1)),
            ("1.k", Ok(1024)),
            ("1.0b", Ok(1)),
            ("1.5", Err(Syntax)),
            (".", Err(Syntax)),
            (".k", Err(Syntax)),
            ("k", Err(Syntax)),
            ("", Err(Syntax)),
            ("1e3", Err(Syntax)),
            ("1.5e1k", Err(Syntax)),
            ("1.9999999999999999999999k", Ok(2048)),
            ("0x10", Ok(16)),
            ("0XAE", Ok(174)),
            ("0x10k", Err(Syntax)),
            ("0x", Err(Syntax)),
            ("0x1.8", Err(Syntax)),
            ("-0", Err(Range)),
            ("-1", Err(Range)),
            ("-1k", Err(Syntax)),
            ("-0x1", Err(Syntax)),
            ("-.5k", Err(Syntax)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(Range)),
            ("99999999999999999999k", Err(Syntax)),
            ("16E", Err(Range)),
            ("15.99999999999999999999E", Err(Range)),
            ("inf", Err(Syntax)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let cases: &[(&str, Result<u64, NumberError>)] = &[
            ("16", Ok(16)),
            ("0x10", Ok(16)),
            ("010", Ok(8)),
            ("08", Err(Syntax)),
            ("-1", Ok(u64::MAX)),
            ("-0", Ok(0)),
            (" 5", Ok(5)),
            ("5 ", Err(Syntax)),
            ("- 5", Err(Syntax)),
            ("", Err(Syntax)),
            ("18446744073709551616", Err(Range)),
            ("-18446744073709551616", Err(Range)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_u64(text), *expected, "{text:?}");
        }
    }
}
