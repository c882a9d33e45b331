//! Options with their meaning: each known to the format, its value read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::list::OptionList;
use super::spec::{OptionKind, OptionSpec, OptionTable};
use crate::numbers::{NumberError, parse_size, parse_u64};
use crate::{Error, Result};

/// The options of an image to be made.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    table: OptionTable,
    given: Vec<Given>,
}

#[derive(Debug, Clone)]
struct Given {
    spec: &'static OptionSpec,
    text: Vec<u8>,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Text,
    Flag(bool),
    Number(u64),
}

/// What is said of a size that is none.
const SIZE_HINT: &str =
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.";

impl OptionTable {
    /// Reads an option list.
    pub fn parse(&self, list: &OptionList) -> Result<CreateOptions> {
        let mut options = CreateOptions::new(self.clone());
        for item in list.items() {
            options.set(&String::from_utf8_lossy(&item.name), item.value)?;
        }
        Ok(options)
    }
}

impl CreateOptions {
    /// No option given.
    pub fn new(table: OptionTable) -> Self {
        Self { table, given: Vec::new() }
    }

    /// Sets an option as if it were given in a list; what was given before is forgotten.
    pub fn set(&mut self, name: &str, text: impl Into<Vec<u8>>) -> Result<()> {
        self.table.admit_own(name);
        let spec =
            self.table.find(name).ok_or_else(|| Error::invalid(format!("Invalid parameter '{name}'")))?;
        let text = text.into();
        let value = parse_value(spec, &text)?;
        self.unset(name);
        self.given.push(Given { spec, text, value });
        Ok(())
    }

    /// Sets the size of the virtual disk in bytes.
    pub fn set_size(&mut self, size: u64) -> Result<()> {
        self.set("size", size.to_string())
    }

    /// Names the backing file and its format; what is `None` stays as it is.
    pub fn set_backing(&mut self, name: Option<&OsStr>, format: Option<&OsStr>) -> Result<()> {
        if name.is_some() && format == Some(OsStr::new(self.table.format().name())) {
            self.table.admit_parent();
        }
        for (option, text, what) in
            [("backing_file", name, "Backing file"), ("backing_fmt", format, "Backing file format")]
        {
            let Some(text) = text else { continue };
            if !self.knows(option) {
                let format = self.table.format();
                return Err(Error::unsupported(format!("{what} not supported for file format '{format}'")));
            }
            self.set(option, text.as_bytes())?;
        }
        Ok(())
    }

    /// Forgets an option.
    pub fn unset(&mut self, name: &str) {
        self.given.retain(|given| given.spec.name != name);
    }

    fn find(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.spec.name == name)
    }

    /// Whether the option was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether the format has such an option.
    pub fn knows(&self, name: &str) -> bool {
        self.table.find(name).is_some()
    }

    /// An option's text, or its default.
    pub fn text(&self, name: &str) -> Option<&[u8]> {
        let default = || self.table.find(name).and_then(|spec| spec.default).map(str::as_bytes);
        self.find(name).map(|given| given.text.as_slice()).or_else(default)
    }

    /// Whether a flag is on.
    pub fn flag(&self, name: &str) -> bool {
        match self.find(name).map(|given| given.value) {
            Some(Value::Flag(on)) => on,
            _ => self.text(name) == Some(b"on"),
        }
    }

    /// A number or size, or its default.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.find(name).map(|given| given.value) {
            Some(Value::Number(number)) => Some(number),
            _ => std::str::from_utf8(self.text(name)?).ok()?.parse().ok(),
        }
    }

    /// The size of the virtual disk in bytes.
    pub fn size(&self) -> Option<u64> {
        self.number("size")
    }

    /// What is told before an image is made.
    pub fn announcement(&self, filename: &[u8], format: &str) -> Vec<u8> {
        let mut line = [b"Formatting '", filename, b"', fmt=", format.as_bytes()].concat();
        for spec in self.table.specs() {
            let Some(text) = self.text(spec.name) else { continue };
            line.push(b' ');
            line.extend_from_slice(spec.name.as_bytes());
            line.push(b'=');
            match self.find(spec.name).map(|given| given.value) {
                // Larger numbers than a signed one can hold are told as if they were negative.
                Some(Value::Number(number)) => {
                    line.extend_from_slice(number.cast_signed().to_string().as_bytes())
                }
                Some(Value::Text) => line.extend(text.iter().flat_map(|byte| match byte {
                    b',' => vec![b',', b','],
                    other => vec![*other],
                })),
                Some(Value::Flag(_)) | None => line.extend_from_slice(text),
            }
        }
        line
    }
}

fn parse_value(spec: &OptionSpec, text: &[u8]) -> Result<Value> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    let name = spec.name;
    let text = std::str::from_utf8(text);
    match spec.kind {
        OptionKind::Text => Ok(Value::Text),
        OptionKind::Flag => match text {
            Ok("on" | "yes" | "true" | "y") => Ok(Value::Flag(true)),
            Ok("off" | "no" | "false" | "n") => Ok(Value::Flag(false)),
            _ => Err(Error::invalid(format!("Parameter '{name}' expects 'on' or 'off'"))),
        },
        OptionKind::Number => match text.map_err(|_| NumberError::Syntax).and_then(parse_u64) {
            Ok(number) => Ok(Value::Number(number)),
            Err(NumberError::Syntax) => Err(Error::invalid(format!("Parameter '{name}' expects a number"))),
            Err(NumberError::Range) => {
                Err(Error::invalid(format!("Value '{}' is too large for parameter '{name}'", shown())))
            }
        },
        OptionKind::Size => match text.map_err(|_| NumberError::Syntax).and_then(parse_size) {
            Ok(number) => Ok(Value::Number(number)),
            Err(NumberError::Syntax) => {
                let message = format!("Parameter '{name}' expects a non-negative number below 2^64");
                Err(Error::invalid(message).with_hint(SIZE_HINT))
            }
            Err(NumberError::Range) => {
                Err(Error::invalid(format!("Value '{}' is out of range for parameter '{name}'", shown())))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    fn parse(format: Format, text: &str) -> Result<CreateOptions> {
        let mut list = OptionList::default();
        list.add(OsStr::new(text)).unwrap();
        OptionTable::for_file(format).parse(&list)
    }

    #[test]
    fn the_last_one_counts_and_is_told_in_the_formats_order() {
        let options =
            parse(Format::Qcow2, "lazy_refcounts=yes,cluster_size=64k,cluster_size=128k,data_file=a,,b")
                .unwrap();
        assert!(options.flag("lazy_refcounts") && !options.flag("extended_l2"));
        assert_eq!(options.number("cluster_size"), Some(131_072));
        assert_eq!(options.number("refcount_bits"), Some(16));
        let line = String::from_utf8(options.announcement(b"x", "qcow2")).unwrap();
        assert_eq!(
            line,
            "Formatting 'x', fmt=qcow2 cluster_size=131072 extended_l2=off compression_type=zlib data_file=a,,b lazy_refcounts=yes refcount_bits=16"
        );
    }

    #[test]
    fn numbers_are_told_with_their_sign() {
        let mut options = parse(Format::Raw, "extent_size_hint=8E").unwrap();
        options.set_size(1024).unwrap();
        let line = String::from_utf8(options.announcement(b"x", "raw")).unwrap();
        assert_eq!(line, "Formatting 'x', fmt=raw size=1024 extent_size_hint=-9223372036854775808");
    }

    #[test]
    fn what_is_wrong_is_said_in_the_known_words() {
        let report = |text| parse(Format::Qcow2, text).unwrap_err().report();
        assert_eq!(report("foo=1"), "Invalid parameter 'foo'");
        assert_eq!(report("nocow"), "Invalid parameter 'cow'");
        assert_eq!(report("lazy_refcounts=ON"), "Parameter 'lazy_refcounts' expects 'on' or 'off'");
        assert_eq!(report("refcount_bits=x"), "Parameter 'refcount_bits' expects a number");
        assert_eq!(
            report("refcount_bits=18446744073709551616"),
            "Value '18446744073709551616' is too large for parameter 'refcount_bits'"
        );
        assert_eq!(report("cluster_size=-1"), "Value '-1' is out of range for parameter 'cluster_size'");
        let error = parse(Format::Qcow2, "cluster_size=64kb").unwrap_err();
        assert_eq!(error.report(), "Parameter 'cluster_size' expects a non-negative number below 2^64");
        assert!(error.hint().is_some());
    }
}
