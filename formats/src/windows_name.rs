//! Names of files as Windows writes them into images.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::options::name::protocol;
use crate::{Error, Result};

/// Longer names are not written, in units of UTF-16: Windows has none.
const MAX_UNITS: usize = 1024;

/// Text in UTF-16, up to its first zero.
pub(crate) fn decode(units: impl Iterator<Item = u16>) -> String {
    let units = units.take_while(|&unit| unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The same from bytes, the low one of each unit first.
pub(crate) fn decode_bytes(bytes: &[u8]) -> String {
    decode(bytes.chunks_exact(2).filter_map(|unit| unit.try_into().ok().map(u16::from_le_bytes)))
}

/// A relative name.
pub(crate) fn with_slashes(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").map(str::to_owned).unwrap_or(name)
}

/// An absolute name. That of another machine's drive or share means nothing here as a whole, so the file is
/// looked for beside the image.
pub(crate) fn absolute(name: &str) -> String {
    let slashed = name.replace('\\', "/");
    match slashed.starts_with('/') && !slashed.starts_with("//") {
        true => slashed,
        false => base_name(name),
    }
}

/// A name to be written into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WindowsName {
    /// It counts from the image's directory.
    Relative(String),
    /// It has all directories.
    Absolute(String),
}

impl WindowsName {
    /// The name of a file as it is here.
    pub(crate) fn new(name: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(name).ok().filter(|text| !text.contains(['\\', '\0']));
        let is_file = protocol(OsStr::from_bytes(name)).is_none();
        let text =
            text.filter(|text| is_file && !text.is_empty() && text.encode_utf16().count() <= MAX_UNITS);
        let text = text.ok_or_else(|| {
            let shown = String::from_utf8_lossy(name);
            Error::invalid(format!("'{shown}' is no file name that an image of this format can have"))
        })?;
        let with_backslashes = text.replace('/', "\\");
        Ok(match text {
            _ if text.starts_with('/') => Self::Absolute(with_backslashes),
            _ if text.starts_with("./") || text.starts_with("../") => Self::Relative(with_backslashes),
            _ => Self::Relative(format!(".\\{with_backslashes}")),
        })
    }

    /// The name.
    pub(crate) fn text(&self) -> &str {
        let (Self::Relative(text) | Self::Absolute(text)) = self;
        text
    }

    /// Its last part.
    pub(crate) fn last(&self) -> String {
        base_name(self.text())
    }

    /// What is to be asked for to get at the file from here.
    pub(crate) fn here(&self) -> String {
        match self {
            Self::Relative(text) => with_slashes(text),
            Self::Absolute(text) => absolute(text),
        }
    }
}

/// Text in UTF-16, the low byte of each unit first.
pub(crate) fn encode_bytes(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The last part of an absolute name.
fn base_name(name: &str) -> String {
    name.rsplit(['\\', '/']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_only_windows_understands() {
        assert_eq!(with_slashes(r".\base.vhd"), "base.vhd");
        assert_eq!(with_slashes(r"..\disks\base.vhd"), "../disks/base.vhd");
        assert_eq!(base_name(r"C:\disks\base.vhd"), "base.vhd");
        assert_eq!(base_name("base.vhd"), "base.vhd");
        assert_eq!(decode("base\0rest".encode_utf16()), "base");
        assert_eq!(decode_bytes(b"a\0b\0c"), "ab");
    }

    #[test]
    fn names_that_are_written_are_read_back() {
        for name in ["base.vhd", "../disks/base.vhd", "a/b.vhd", "/var/disks/base.vhd", "\u{e4}\u{1f600}.vhd"]
        {
            let written = WindowsName::new(name.as_bytes()).unwrap();
            assert!(!written.text().contains('/'));
            assert_eq!(written.here(), name);
            assert_eq!(decode_bytes(&encode_bytes(written.text())), written.text());
        }
        assert_eq!(WindowsName::new(b"./a/b").unwrap(), WindowsName::Relative(r".\a\b".to_owned()));
        assert_eq!(WindowsName::new(b"./a/b").unwrap().last(), "b");
        for name in [&b""[..], b"a\\b", b"\xff", b"json:{}", b"nbd:host:1", b"a\0", &[b'a'; 1025]] {
            assert!(WindowsName::new(name).is_err());
        }
        assert_eq!(absolute(r"\\server\share\base.vhd"), "base.vhd");
    }
}
