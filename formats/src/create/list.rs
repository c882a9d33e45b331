//! `-o a=b,c=d`: the text of option lists, before anything in it has a meaning.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::{Error, Result};

/// All `-o` lists of a command, one after another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionList {
    text: Vec<u8>,
}

/// `name=value`, or a name alone: `on`, or `off` after `no`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name.
    pub name: Vec<u8>,
    /// The value, its doubled commas undone.
    pub value: Vec<u8>,
}

/// An item as it is written.
enum Written {
    Pair(Item),
    Flag(Vec<u8>),
}

impl OptionList {
    /// Adds the value of one `-o`.
    pub fn add(&mut self, list: &OsStr) -> Result<()> {
        let list = list.as_bytes();
        if !is_valid(list) {
            return Err(Error::invalid(format!("Invalid option list: {}", String::from_utf8_lossy(list))));
        }
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        self.text.extend_from_slice(list);
        Ok(())
    }

    /// Whether `help` or `?` stands in it.
    pub fn asks_for_help(&self) -> bool {
        self.written().any(|item| matches!(item, Written::Flag(name) if name == b"help" || name == b"?"))
    }

    /// Its items in their order.
    pub fn items(&self) -> impl Iterator<Item = Item> + '_ {
        self.written().map(|item| match item {
            Written::Pair(item) => item,
            Written::Flag(name) => match name.strip_prefix(b"no") {
                Some(name) => Item { name: name.to_vec(), value: b"off".to_vec() },
                None => Item { name, value: b"on".to_vec() },
            },
        })
    }

    fn written(&self) -> impl Iterator<Item = Written> + '_ {
        let mut rest = &self.text[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b',')).unwrap_or(rest.len());
            let name = rest[..end].to_vec();
            if rest.get(end) != Some(&b'=') {
                rest = rest.get(end + 1..).unwrap_or_default();
                return Some(Written::Flag(name));
            }
            let (value, after) = take_value(&rest[end + 1..]);
            rest = after.unwrap_or_default();
            Some(Written::Pair(Item { name, value }))
        })
    }
}

/// A value up to the next single comma, and what stands behind that comma.
fn take_value(text: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b',' {
            if text.get(at + 1) != Some(&b',') {
                return (value, Some(&text[at + 1..]));
            }
            at += 1;
        }
        value.push(byte);
        at += 1;
    }
    (value, None)
}

/// Whether a list has no empty item, so that lists can be joined.
fn is_valid(list: &[u8]) -> bool {
    let mut rest = Some(list);
    while let Some(text) = rest {
        let (item, after) = take_value(text);
        if item.is_empty() || item.starts_with(b",") {
            return false;
        }
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> OptionList {
        let mut list = OptionList::default();
        for text in texts {
            list.add(OsStr::new(text)).unwrap();
        }
        list
    }

    fn items(texts: &[&str]) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        list(texts).items().map(|item| (text(item.name), text(item.value))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lists_are_joined_and_commas_undoubled() {
        assert_eq!(items(&["a=1,b=x,,y", "c"]), pairs(&[("a", "1"), ("b", "x,y"), ("c", "on")]));
        assert_eq!(items(&["nocow"]), pairs(&[("cow", "off")]));
        assert_eq!(items(&["a,,b=1"]), pairs(&[("a", "on"), ("", "on"), ("b", "1")]));
        assert_eq!(items(&["a=b=c"]), pairs(&[("a", "b=c")]));
        assert_eq!(items(&["a=x,,"]), pairs(&[("a", "x,")]));
        assert_eq!(items(&["=x"]), pairs(&[("", "x")]));
    }

    #[test]
    fn empty_items_are_refused() {
        for text in ["", ",", "a=1,", ",a=1", "a,,,", ",,a"] {
            let error = OptionList::default().add(OsStr::new(text)).unwrap_err();
            assert_eq!(error.report(), format!("Invalid option list: {text}"));
        }
    }

    #[test]
    fn help_is_a_flag() {
        assert!(list(&["help"]).asks_for_help());
        assert!(list(&["a=1", "?"]).asks_for_help());
        assert!(!list(&["help=on"]).asks_for_help());
        assert!(!list(&["a=help", "nohelp"]).asks_for_help());
    }
}
