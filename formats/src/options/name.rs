//! File names: protocols in them, and names relative to other names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The protocol before the first colon, if the name has one there and not a directory.
pub fn protocol(name: &OsStr) -> Option<&[u8]> {
    let bytes = name.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (bytes[end] == b':').then(|| &bytes[..end])
}

/// The text of `json:{…}` after its prefix.
pub fn json(name: &OsStr) -> Option<&[u8]> {
    name.as_bytes().strip_prefix(b"json:")
}

/// The name without the protocol that was found in it.
///
/// What is left must not look like a protocol again, so a colon in it is protected by `./`.
pub fn without_protocol(name: &OsStr) -> OsString {
    let Some(protocol) = protocol(name) else { return name.to_owned() };
    let rest = OsStr::from_bytes(&name.as_bytes()[protocol.len() + 1..]);
    if self::protocol(rest).is_some() {
        OsString::from_vec([b"./", rest.as_bytes()].concat())
    } else {
        rest.to_owned()
    }
}

/// Whether the name means the same wherever it stands.
pub fn is_absolute(name: &OsStr) -> bool {
    protocol(name).is_some() || name.as_bytes().first() == Some(&b'/')
}

/// What `name`, found in the image called `base`, means.
pub fn relative_to(base: &OsStr, name: &OsStr) -> OsString {
    if is_absolute(name) {
        return name.to_owned();
    }
    let base = base.as_bytes();
    let after_protocol = protocol(OsStr::from_bytes(base)).map_or(0, |protocol| protocol.len() + 1);
    let directory = base.iter().rposition(|byte| *byte == b'/').map_or(0, |place| place + 1);
    OsString::from_vec([&base[..directory.max(after_protocol)], name.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_ends_before_any_slash() {
        let found =
            |name: &'static str| protocol(OsStr::new(name)).map(|p| String::from_utf8_lossy(p).into_owned());
        assert_eq!(found("nbd:host:1").as_deref(), Some("nbd"));
        assert_eq!(found("nbd+unix:///x").as_deref(), Some("nbd+unix"));
        assert_eq!(found(":x").as_deref(), Some(""));
        assert_eq!(found("./a:b"), None);
        assert_eq!(found("/a:b"), None);
        assert_eq!(found("a"), None);
    }

    #[test]
    fn a_stripped_name_has_no_protocol() {
        let stripped = |name: &str| without_protocol(OsStr::new(name)).into_string().unwrap();
        assert_eq!(stripped("file:a"), "a");
        assert_eq!(stripped("file:/a:b"), "/a:b");
        assert_eq!(stripped("file:a:b"), "./a:b");
        assert_eq!(stripped("a"), "a");
    }

    #[test]
    fn names_are_relative_to_the_directory_of_the_base() {
        let full =
            |base: &str, name: &str| relative_to(OsStr::new(base), OsStr::new(name)).into_string().unwrap();
        assert_eq!(full("top.qcow2", "base"), "base");
        assert_eq!(full("d/top.qcow2", "base"), "d/base");
        assert_eq!(full("/d/e/top.qcow2", "../base"), "/d/e/../base");
        assert_eq!(full("/d/top.qcow2", "/base"), "/base");
        assert_eq!(full("/d/top.qcow2", "file:base"), "file:base");
        assert_eq!(full("nbd:x", "base"), "nbd:base");
    }
}
