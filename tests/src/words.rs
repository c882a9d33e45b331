//! Splits a line into arguments, as a shell without expansions would.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Splits at spaces; single quotes keep spaces, `\xNN` is a byte, and `''` is an empty argument.
pub fn split(line: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut bytes = line.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' | b'\n' if !quoted => words.extend(word.take().map(OsString::from_vec)),
            b'\\' if bytes.peek() == Some(&b'x') => {
                bytes.next();
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                let value = u8::from_str_radix(&digits, 16);
                word.get_or_insert_default().push(value.expect("two hexadecimal digits follow \\x"));
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    assert!(!quoted, "a quote is not closed in: {line}");
    words.extend(word.map(OsString::from_vec));
    words
}

/// Puts arguments together so that a shell takes them apart again.
pub fn join<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> String {
    let quote = |word: S| {
        let word = word.as_ref().to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%^".contains(c);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{word}'") }
    };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_bytes() {
        let words = split("a 'b c' '' d\\x20e");
        assert_eq!(words, ["a", "b c", "", "d e"].map(OsString::from));
        assert_eq!(join(&words), "a 'b c' '' 'd e'");
    }
}
