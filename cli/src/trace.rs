//! What is told while the work goes on: notices for everyone, and with `-T` what happens inside.
//!
//! The events are those of `tracing`; a pattern is compared with an event's target, the path of the
//! module that reports it (`formats::qcow2::open`). `*` stands for any text, and a leading `-`
//! turns what it matches off again.

use std::ffi::OsStr;
use std::fmt::{Debug, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::notice;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::program::{Program, stderr_line};
use crate::report::Failure;

/// What `-T` asked for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    patterns: Vec<String>,
    file: Option<PathBuf>,
    /// Patterns that can match nothing.
    unknown: Vec<String>,
}

impl Trace {
    /// Takes one value of `-T`: `[[enable=]PATTERN][,events=FILE][,file=FILE]`.
    pub(crate) fn add(&mut self, value: &OsStr) -> Result<(), Failure> {
        if matches!(value.as_bytes(), b"help" | b"?") {
            return Err(Failure::answer(CRATES.map(|name| format!("{name}::*\n")).concat()));
        }
        for (index, item) in value.as_bytes().split(|&byte| byte == b',').enumerate() {
            let (key, text) = match item.iter().position(|&byte| byte == b'=') {
                Some(at) => (&item[..at], &item[at + 1..]),
                None if index == 0 => (&b"enable"[..], item),
                None => (item, &b""[..]),
            };
            match key {
                b"enable" => self.enable(String::from_utf8_lossy(text).into_owned()),
                b"events" => self.add_listed(Path::new(OsStr::from_bytes(text)))?,
                b"file" => self.file = Some(PathBuf::from(OsStr::from_bytes(text))),
                other => {
                    let name = String::from_utf8_lossy(other);
                    return Err(Failure::message(format!("Invalid parameter '{name}'")));
                }
            }
        }
        Ok(())
    }

    fn enable(&mut self, pattern: String) {
        let crate_name = pattern.split("::").next().unwrap_or_default();
        if !pattern.contains('*') && !CRATES.contains(&crate_name) {
            self.unknown.push(pattern.clone());
        }
        self.patterns.push(pattern);
    }

    /// Takes the patterns that a file lists, one a line; `#` begins a comment.
    fn add_listed(&mut self, path: &Path) -> Result<(), Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::message(format!("{}: {}", path.display(), journal::reason(&error))))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.patterns.extend(lines.map(str::to_owned));
        Ok(())
    }

    /// Begins to report: notices in any case, and what was asked for.
    pub(crate) fn start(self, program: &Program) -> Result<(), Failure> {
        for pattern in &self.unknown {
            program.complain(format!("warning: trace event '{pattern}' does not exist").as_bytes());
        }
        let writer = match &self.file {
            None => BoxMakeWriter::new(std::io::stderr),
            Some(path) => BoxMakeWriter::new(Mutex::new(create(path)?)),
        };
        let is_notice = |metadata: &Metadata<'_>| {
            [notice::TARGET, notice::ERROR, notice::WARNING].contains(&metadata.target())
        };
        let notices = Notices { program: program.name() }.with_filter(filter_fn(is_notice));
        let lines = (!self.patterns.is_empty()).then(|| {
            let wanted = move |metadata: &Metadata<'_>| is_wanted(&self.patterns, metadata.target());
            tracing_subscriber::fmt::layer()
                .with_writer(writer)
                .with_ansi(false)
                .with_filter(filter_fn(wanted))
        });
        // It fails only where a subscriber was set before, and nothing sets one before this.
        let _ =
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(notices).with(lines));
        Ok(())
    }
}

/// Prints notices on standard error, the warnings behind the program's name.
struct Notices {
    program: &'static str,
}

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = match event.metadata().target() {
            notice::WARNING => format!("{}: warning: ", self.program),
            notice::ERROR => format!("{}: ", self.program),
            _ => String::new(),
        };
        event.record(&mut Message(&mut line));
        stderr_line(line.as_bytes());
    }
}

/// Adds an event's message to a line.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// Who has events.
const CRATES: [&str; 4] = ["journal", "formats", "store", "tximg"];

#[expect(clippy::disallowed_methods, reason = "a log of this run, which need not survive anything")]
fn create(path: &Path) -> Result<std::fs::File, Failure> {
    std::fs::File::create(path).map_err(|error| {
        Failure::message(format!("Error opening logfile {}: {}", path.display(), journal::reason(&error)))
    })
}

/// The last pattern that matches decides.
fn is_wanted(patterns: &[String], target: &str) -> bool {
    patterns.iter().fold(false, |wanted, pattern| match pattern.strip_prefix('-') {
        Some(off) => wanted && !matches(off, target),
        None => wanted || matches(pattern, target),
    })
}

/// Whether `text` is what `pattern` says, where `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| &tail[at..]).chain([""]).any(|end| matches(rest, end))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_pattern_decides() {
        let patterns = ["formats::*".to_owned(), "-formats::q*2".to_owned()];
        assert!(is_wanted(&patterns, "formats::raw"));
        assert!(!is_wanted(&patterns, "formats::qcow2"));
        assert!(!is_wanted(&patterns, "journal"));
        assert!(is_wanted(&["*".to_owned()], "journal"));
    }

    #[test]
    fn values_are_taken_apart() {
        let mut trace = Trace::default();
        assert!(trace.add(OsStr::new("formats*,file=/tmp/x")).is_ok());
        assert!(trace.add(OsStr::new("enable=store*")).is_ok());
        assert_eq!(trace.patterns, ["formats*", "store*"]);
        assert_eq!(trace.file, Some(PathBuf::from("/tmp/x")));
        assert_eq!(
            trace.add(OsStr::new("a,foo=bar")).err().map(|failure| failure.text()),
            Some("Invalid parameter 'foo'".to_owned())
        );
    }
}
