//! The configuration file of `blkdebug`: sections of assignments, line by line, as C's `sscanf` would
//! read them.

use super::super::dict::{Dict, Scalar};
use super::rules::Sections;
use crate::shown::shown_bytes;
use crate::{Error, Result};

/// A line is cut after that many bytes.
const MAX_LINE: usize = 1023;
/// No name is longer: of what goes on only the start is read.
const MAX_NAME: usize = 63;
/// No section has that many options: one of them is refused when the section ends.
const MAX_OPTIONS: usize = 100;

/// Reads a file.
pub(crate) fn parse(text: &[u8], sections: &mut Sections) -> Result<()> {
    let mut open: Option<(String, Dict)> = None;
    for line in text.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(MAX_LINE)) {
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        if matches!(line.first(), Some(b'\n' | b'#')) {
            continue;
        }
        if let Some(new) = section(line) {
            close(open.replace(new), sections)?;
            continue;
        }
        let (key, value) = assignment(line).ok_or_else(|| Error::invalid("parse error"))?;
        let (_, options) = open.as_mut().ok_or_else(|| Error::invalid("no group defined"))?;
        options.put(shown_bytes(key), Scalar::text(shown_bytes(value)));
        if options.entries().count() >= MAX_OPTIONS {
            break;
        }
    }
    close(open, sections)
}

fn close(section: Option<(String, Dict)>, sections: &mut Sections) -> Result<()> {
    section.map_or(Ok(()), |(name, options)| sections.put(&name, options))
}

/// `[NAME "ID"]` or `[NAME]`. What follows the last quote, or the name, does not count.
fn section(line: &[u8]) -> Option<(String, Dict)> {
    let inside = line.strip_prefix(b"[")?;
    let (name, rest) = word(inside, |byte| !byte.is_ascii_whitespace(), MAX_NAME);
    let id = quoted(rest, MAX_NAME).filter(|_| !name.is_empty());
    if let Some(id) = id {
        let mut options = Dict::default();
        options.put("id", Scalar::text(shown_bytes(id)));
        return Some((shown_bytes(name), options));
    }
    let (name, _) = cut(inside, |byte| byte != b']', MAX_NAME);
    (!name.is_empty()).then(|| (shown_bytes(name), Dict::default()))
}

/// `KEY = "VALUE"`. What is no quoted value is an empty one.
fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = word(line, |byte| !byte.is_ascii_whitespace(), MAX_NAME);
    if key.is_empty() {
        return None;
    }
    let value = without_space(rest).strip_prefix(b"=").and_then(|rest| quoted(rest, MAX_LINE));
    Some((key, value.unwrap_or_default()))
}

/// What stands in quotes after white space, if it is not empty. The last quote may be missing.
fn quoted(text: &[u8], most: usize) -> Option<&[u8]> {
    let inside = without_space(text).strip_prefix(b"\"")?;
    Some(cut(inside, |byte| byte != b'"', most).0).filter(|value| !value.is_empty())
}

/// The first word after white space, and what follows it.
fn word(text: &[u8], belongs: impl Fn(u8) -> bool, most: usize) -> (&[u8], &[u8]) {
    cut(without_space(text), belongs, most)
}

fn cut(text: &[u8], belongs: impl Fn(u8) -> bool, most: usize) -> (&[u8], &[u8]) {
    let len = text.iter().take(most).take_while(|byte| belongs(**byte)).count();
    text.split_at(len)
}

/// White space is what C's `isspace` takes for it.
fn without_space(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    text.get(start..).unwrap_or_default()
}
