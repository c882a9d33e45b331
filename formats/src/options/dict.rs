//! Block options as a flat dictionary: dotted keys, scalar values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::json;
use crate::shown::{shown, shown_bytes};

/// A value of a block option.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number too large for [`Scalar::Integer`].
    Unsigned(u64),
    /// A number with a fraction or an exponent.
    Double(f64),
    /// A text, which need not be UTF-8 where it comes from a command line.
    Text(OsString),
    /// `{}` or `[]`
    Empty,
}

impl Scalar {
    /// A text value.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(OsStr::from_bytes(text.as_ref()).to_owned())
    }

    /// The value if it is a text.
    pub fn as_text(&self) -> Option<&OsStr> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as the text that an option parser reads; `None` for what is no single value.
    pub fn spelled(&self) -> Option<String> {
        match self {
            Self::Null | Self::Empty => None,
            Self::Bool(true) => Some("on".to_owned()),
            Self::Bool(false) => Some("off".to_owned()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Unsigned(number) => Some(number.to_string()),
            Self::Double(number) => Some(number.to_string()),
            Self::Text(text) => Some(shown(text)),
        }
    }
}

impl From<&Scalar> for serde_json::Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(switch) => (*switch).into(),
            Scalar::Integer(number) => (*number).into(),
            Scalar::Unsigned(number) => (*number).into(),
            // A whole number is printed as one, however it was written.
            Scalar::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => (*number as i64).into(),
            Scalar::Double(number) => (*number).into(),
            Scalar::Text(text) => json::text(text.as_bytes()).into(),
            Scalar::Empty => Self::Object(serde_json::Map::new()),
        }
    }
}

/// Block options: each key once, in the order in which they were put.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dict {
    entries: Vec<(Vec<u8>, Scalar)>,
}

impl Dict {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Scalar> {
        self.position(key.as_bytes()).map(|place| &self.entries[place].1)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Those of the keys that are there, with their values.
    pub(super) fn spelled(&self, keys: &[&'static str]) -> Vec<(&'static str, Scalar)> {
        keys.iter().filter_map(|key| self.get(key).map(|value| (*key, value.clone()))).collect()
    }

    /// All keys with their values, in the order in which they were put.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], &Scalar)> {
        self.entries.iter().map(|(key, value)| (key.as_slice(), value))
    }

    /// Puts a value under a key, in place of what was there.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: Scalar) {
        let key = key.into();
        match self.position(&key) {
            Some(place) => self.entries[place].1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes a key; its value is returned.
    pub fn take(&mut self, key: &str) -> Option<Scalar> {
        self.position(key.as_bytes()).map(|place| self.entries.remove(place).1)
    }

    /// Removes what has that key, as it is told; it is returned.
    pub(super) fn split_off(&mut self, shown: &str) -> Self {
        let is_it = |(key, _): &(Vec<u8>, Scalar)| shown_bytes(key) == shown;
        let (found, rest) = std::mem::take(&mut self.entries).into_iter().partition(is_it);
        self.entries = rest;
        Self { entries: found }
    }

    /// Removes a key if its value is a text, which is returned.
    pub fn take_text(&mut self, key: &str) -> Option<OsString> {
        match self.get(key) {
            Some(Scalar::Text(_)) => match self.take(key) {
                Some(Scalar::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Removes everything under `<name>.`; the keys returned are without that prefix.
    pub fn take_subtree(&mut self, name: &str) -> Self {
        let prefix = format!("{name}.").into_bytes();
        let (below, rest) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition::<Vec<_>, _>(|(key, _)| key.starts_with(&prefix));
        self.entries = rest;
        let strip = |(key, value): (Vec<u8>, Scalar)| (key[prefix.len()..].to_vec(), value);
        Self { entries: below.into_iter().map(strip).collect() }
    }

    /// Puts everything from `other` whose key is not here yet.
    pub fn join(&mut self, other: Self) {
        for (key, value) in other.entries {
            if self.position(&key).is_none() {
                self.entries.push((key, value));
            }
        }
    }

    /// Puts the entries of `child` back under `<name>.`; one with an empty key under `name` itself.
    pub fn put_subtree(&mut self, name: &str, child: Self) {
        for (key, value) in child.entries {
            let dot: &[u8] = if key.is_empty() { b"" } else { b"." };
            self.put([name.as_bytes(), dot, &key].concat(), value);
        }
    }

    /// The key that QEMU would meet first, if any is left.
    pub fn first_key(&self) -> Option<String> {
        let keys = self.entries.iter().rev().map(|(key, _)| shown_bytes(key));
        // Within a bucket the latest comes first, and `min_by_key` keeps the first of equals.
        keys.min_by_key(|key| json::bucket(key))
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(other, _)| other == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_taken_with_its_prefix_cut_off() {
        let mut dict = Dict::default();
        dict.put("file.filename", Scalar::text("a"));
        dict.put("filename", Scalar::text("b"));
        dict.put("file", Scalar::text("c"));
        let file = dict.take_subtree("file");
        assert_eq!(file.get("filename"), Some(&Scalar::text("a")));
        assert!(dict.has("file") && dict.has("filename") && !dict.has("file.filename"));
    }

    #[test]
    fn joining_does_not_overwrite() {
        let mut dict = Dict::default();
        dict.put("driver", Scalar::text("raw"));
        let mut other = Dict::default();
        other.put("driver", Scalar::text("qcow2"));
        other.put("size", Scalar::Integer(1));
        dict.join(other);
        assert_eq!(dict.take_text("driver"), Some("raw".into()));
        assert_eq!(dict.take("size"), Some(Scalar::Integer(1)));
        assert!(dict.is_empty());
    }
}
