//! JSON as QEMU prints it: key order, spacing and escapes, byte for byte.
//!
//! QEMU keeps an object in a hash table of 512 buckets and prints it bucket by bucket, so the order
//! of keys is neither alphabetic nor the order of insertion. Programs compare this text.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::shown;

/// Several lines, indented by four spaces: what the commands print.
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    print(&mut text, value, Some(0));
    text
}

/// One line: what stands in `json:{...}` file names.
pub fn compact(value: &Value) -> String {
    let mut text = String::new();
    print(&mut text, value, None);
    text
}

/// The text of `bytes`, as a string of a [`Value`]: every malformed sequence becomes one U+FFFD.
///
/// A sequence is a lead byte with the continuation bytes it announces. Surrogates, non-characters
/// and overlong forms are malformed, but for the two-byte form of NUL.
pub fn text(bytes: &[u8]) -> String {
    let text = decoded(bytes);
    if text.chars().any(shown::stands_for_byte) { shown::shown_bytes(text.as_bytes()) } else { text }
}

fn decoded(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    while let Some((character, rest)) = decode(bytes) {
        text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        bytes = rest;
    }
    text
}

/// The first character, if it is well-formed, and what follows it; `None` at the end.
fn decode(bytes: &[u8]) -> Option<(Option<char>, &[u8])> {
    let (&lead, rest) = bytes.split_first()?;
    // How many continuation bytes the lead announces, its payload, and the least that needs so many.
    let (announced, payload, least) = match lead {
        0x00..0x80 => (0, lead, 0),
        0xC0..0xE0 => (1, lead & 0x1F, 0x80),
        0xE0..0xF0 => (2, lead & 0x0F, 0x800),
        0xF0..0xF8 => (3, lead & 0x07, 0x1_0000),
        0xF8..0xFC => (4, lead & 0x03, 0x20_0000),
        0xFC..0xFE => (5, lead & 0x01, 0x400_0000),
        _ => return Some((None, rest)),
    };
    let present = rest.iter().take(announced).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    let (continuation, rest) = rest.split_at(present);
    let point =
        continuation.iter().fold(u32::from(payload), |point, byte| point << 6 | u32::from(byte & 0x3F));
    let proper = point >= least || (point == 0 && announced == 1);
    let is_character = !(0xFDD0..=0xFDEF).contains(&point) && point & 0xFFFE != 0xFFFE;
    let well_formed = present == announced && proper && is_character;
    Some((char::from_u32(point).filter(|_| well_formed), rest))
}

/// `indent` is the depth of the line, or `None` for one line.
fn print(text: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::String(string) => quote(text, string),
        Value::Array(items) => {
            list(text, ['[', ']'], items, indent, print);
        }
        Value::Object(map) => {
            list(text, ['{', '}'], &in_order(map), indent, |text, (key, value), indent| {
                quote(text, key);
                text.push_str(": ");
                print(text, value, indent);
            });
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

fn list<T>(
    text: &mut String,
    brackets: [char; 2],
    items: &[T],
    indent: Option<usize>,
    mut print: impl FnMut(&mut String, &T, Option<usize>),
) {
    text.push(brackets[0]);
    let inner = indent.map(|depth| depth + 1);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(if indent.is_some() { "," } else { ", " });
        }
        line_break(text, inner);
        print(text, item, inner);
    }
    line_break(text, indent);
    text.push(brackets[1]);
}

fn line_break(text: &mut String, indent: Option<usize>) {
    if let Some(depth) = indent {
        text.push('\n');
        text.extend(std::iter::repeat_n("    ", depth));
    }
}

/// The entries bucket by bucket; within a bucket the newest comes first.
pub fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().rev().collect();
    entries.sort_by_key(|(key, _)| bucket(key));
    entries
}

/// The bucket of a key in QEMU's hash table.
pub(crate) fn bucket(key: &str) -> u32 {
    let seed = 0x238F_13AF_u32.wrapping_mul(key.len() as u32);
    let mixed = key
        .bytes()
        .enumerate()
        .fold(seed, |hash, (index, byte)| hash.wrapping_add(u32::from(byte) << (index * 5 % 24)));
    mixed.wrapping_mul(1_103_515_243).wrapping_add(12345) % 512
}

/// A string in quotes. A name in it, as [`shown`] has it, is printed as the text of its bytes.
fn quote(text: &mut String, string: &str) {
    match string.chars().any(shown::stands_for_byte) {
        true => quote_plain(text, &decoded(&shown::printed(string.as_bytes()))),
        false => quote_plain(text, string),
    }
}

/// A string in quotes, in ASCII: anything else is escaped as UTF-16 in upper-case hexadecimal.
fn quote_plain(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\x08' => text.push_str("\\b"),
            '\x0C' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04X}");
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_come_in_the_order_of_the_hash_table() {
        let value = json!({
            "filename": "a.qcow2", "format": "qcow2", "dirty-flag": false, "virtual-size": 1,
            "actual-size": 2, "cluster-size": 3, "backing-filename": "b", "full-backing-filename": "b",
            "backing-filename-format": "raw", "format-specific": {"type": "qcow2", "data": {}},
            "snapshots": [], "children": [],
        });
        let keys: Vec<&str> = in_order(value.as_object().expect("an object"))
            .into_iter()
            .map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "children",
                "backing-filename-format",
                "snapshots",
                "virtual-size",
                "filename",
                "cluster-size",
                "format",
                "actual-size",
                "format-specific",
                "full-backing-filename",
                "backing-filename",
                "dirty-flag"
            ]
        );
    }

    #[test]
    fn containers_are_spaced_as_qemu_spaces_them() {
        let value = json!([{ "children": [], "data": {}, "name": "x" }, 1, true, null]);
        let printed = "[\n    {\n        \"name\": \"x\",\n        \"children\": [\n        ],\n        \"data\": {\n        }\n    },\n    1,\n    true,\n    null\n]";
        assert_eq!(pretty(&value), printed);
        assert_eq!(compact(&value), r#"[{"name": "x", "children": [], "data": {}}, 1, true, null]"#);
    }

    #[test]
    fn strings_are_ascii() {
        let string = "a\u{1}\u{7f}é\u{fffd}\"\\/\t😀\0";
        assert_eq!(compact(&json!(string)), r#""a\u0001\u007F\u00E9\uFFFD\"\\/\t\uD83D\uDE00\u0000""#);
    }

    #[test]
    fn malformed_sequences_become_one_replacement_each() {
        let bytes = b"\x80abc\xe9\xe2\x82\xf0\x9f\x98a\xc1\xbf\xf5\x80\x80\x80\xf4\x90\x80\x80\xe0\x80\xaf\xef\xbf\xbe\xfe\xc3";
        let r = "\u{fffd}";
        assert_eq!(text(bytes), format!("{r}abc{r}{r}{r}a{r}{r}{r}{r}{r}{r}{r}"));
        assert_eq!(text(b"\xc0\x80\xed\xa0\x80\xc3\xa9"), format!("\0{r}\u{e9}"));
    }
}
