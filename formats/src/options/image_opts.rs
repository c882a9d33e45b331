//! `--image-opts`: `key=value,key=value`, commas doubled inside values.

use super::dict::{Dict, Scalar};
use crate::shown::shown_bytes;
use crate::{Error, Result};

/// What a text of options says, and what the reader should be warned of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageOpts {
    /// The options.
    pub options: Dict,
    /// Warnings, each perhaps of several lines.
    pub warnings: Vec<String>,
}

/// Reads a text of options. A first word without `=` is the value of `file`.
pub fn parse(text: &[u8]) -> Result<ImageOpts> {
    let mut parsed = ImageOpts::default();
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let name = rest.iter().take_while(|byte| !matches!(byte, b'=' | b',')).count();
        let assigned = rest.get(name) == Some(&b'=');
        if assigned || first {
            let key = if assigned { &rest[..name] } else { b"file" };
            let start = if assigned { name + 1 } else { 0 };
            let (value, used) = value(&rest[start..]);
            put(&mut parsed.options, key, &value)?;
            rest = &rest[start + used..];
        } else {
            flag(&mut parsed, &rest[..name]);
            rest = rest.get(name + 1..).unwrap_or_default();
        }
        first = false;
    }
    Ok(parsed)
}

/// The value at the start of `text`, up to a single comma, and how much of the text it took.
fn value(text: &[u8]) -> (Vec<u8>, usize) {
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte == b',' {
            if text.get(at) != Some(&b',') {
                break;
            }
            at += 1;
        }
        value.push(byte);
    }
    (value, at)
}

fn put(options: &mut Dict, key: &[u8], value: &[u8]) -> Result<()> {
    if key == b"id" && !is_identifier(value) {
        return Err(Error::invalid("Parameter 'id' expects an identifier")
            .with_hint("Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."));
    }
    options.put(key, Scalar::text(value));
    Ok(())
}

/// A name alone means `on`, and with `no` before it `off`.
fn flag(parsed: &mut ImageOpts, name: &[u8]) {
    if matches!(name, b"help" | b"?") {
        return;
    }
    let (key, value) = match name.strip_prefix(b"no") {
        Some(rest) => (rest, "off"),
        None => (name, "on"),
    };
    parsed.warnings.push(format!(
        "short-form boolean option '{}' deprecated\nPlease use {}={value} instead",
        shown_bytes(name),
        shown_bytes(key)
    ));
    parsed.options.put(key, Scalar::text(value));
}

/// Whether QEMU takes the text as a name for one of its objects.
pub(super) fn is_identifier(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<(&'static str, Option<Scalar>)> {
        let parsed = parse(text.as_bytes()).unwrap();
        ["file", "driver", "file.filename", "x", ""]
            .into_iter()
            .filter_map(|key| parsed.options.get(key).map(|value| (key, Some(value.clone()))))
            .collect()
    }

    #[test]
    fn keys_values_and_escapes() {
        let text = |text: &str| Some(Scalar::text(text));
        assert_eq!(options(""), []);
        assert_eq!(options("a,,b"), [("file", text("a,b"))]);
        assert_eq!(
            options("driver=raw,file.filename=a,,b,,"),
            [("driver", text("raw")), ("file.filename", text("a,b,"))]
        );
        assert_eq!(options("driver=raw,"), [("driver", text("raw"))]);
        assert_eq!(options(",driver=a=b"), [("file", text("")), ("driver", text("a=b"))]);
        assert_eq!(options("driver=raw,=y,driver=qcow2"), [("driver", text("qcow2")), ("", text("y"))]);
        assert_eq!(options("driver=raw,help,?"), [("driver", text("raw"))]);
    }

    #[test]
    fn a_bare_name_is_a_switch_with_a_warning() {
        let parsed = parse(b"driver=raw,x,nox").unwrap();
        assert_eq!(parsed.options.get("x"), Some(&Scalar::text("off")));
        assert_eq!(
            parsed.warnings,
            [
                "short-form boolean option 'x' deprecated\nPlease use x=on instead",
                "short-form boolean option 'nox' deprecated\nPlease use x=off instead"
            ]
        );
    }

    #[test]
    fn an_id_is_an_identifier() {
        assert!(parse(b"id=a-1._").is_ok());
        assert_eq!(parse(b"id=1a").unwrap_err().to_string(), "Parameter 'id' expects an identifier");
        assert!(parse(b"id=").is_err());
    }
}
