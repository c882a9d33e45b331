//! Bytes and words as people read them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Two digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A command line that a shell would take apart into these words.
pub(crate) fn quoted(words: &[OsString]) -> Vec<u8> {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(&b' ')
}

fn quote(word: &OsStr) -> Vec<u8> {
    let bytes = word.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return bytes.to_vec();
    }
    let inner = bytes.split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]);
    [b"'", &inner[..], b"'"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["a-b=c", "d e", "", "it's", "$x"].map(OsString::from);
        assert_eq!(String::from_utf8(quoted(&words)).unwrap(), r"a-b=c 'd e' '' 'it'\''s' '$x'");
    }
}
