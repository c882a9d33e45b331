//! What a command did, as it is remembered.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use formats::shown::{printed, shown};
use formats::{Format, OpenContext, PermissiveGate};
use journal::Fs;
use serde::{Deserialize, Serialize};

use super::db::nanoseconds;
use super::observe::{Identity, Mark};
use super::{Catalog, Place, Result, spool};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did what it was asked.
    Done,
    /// It failed, and its images are as they were.
    Failed,
    /// A signal ended it, and its images are as they were.
    Interrupted,
    /// It was killed, and recovery finished it later.
    Recovered,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Recovered => "recovered",
        }
    }
}

/// A command that changed images, or tried to.
#[derive(Debug)]
pub struct Event<'a> {
    /// The command line, the program's name first.
    pub command: &'a [OsString],
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// How.
    pub ending: Ending,
    /// Its exit code.
    pub code: u8,
    /// Why it failed; empty if it did not.
    pub message: &'a str,
    /// The images that it changed, by their paths with symbolic links resolved.
    pub changed: &'a [PathBuf],
}

/// Remembers an event, in the catalog that the environment names.
///
/// It costs one append to a file. Whatever goes wrong costs the event and nothing else.
pub fn record(fs: &dyn Fs, event: &Event<'_>) {
    let Some(place) = Place::from_environment().filter(|_| !event.changed.is_empty()) else { return };
    if let Err(error) = record_at(fs, &place, event) {
        tracing::warn!(catalog = %place.path().display(), %error, "The catalog cannot be written.");
    }
}

/// The same in a catalog of the caller's choice.
pub fn record_at(fs: &dyn Fs, place: &Place, event: &Event<'_>) -> Result<()> {
    let written = spool::append(place, &Spooled::from_event(fs, event))
        .map_err(|source| super::CatalogError::Spool { path: place.path().to_owned(), source })?;
    if written == spool::Fill::Full {
        Catalog::open(place)?.absorb(&OpenContext { fs, gate: &PermissiveGate, secrets: None })?;
    }
    Ok(())
}

/// An event as it lies in the spool. Names are text from which their bytes come back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spooled {
    /// No other event has it.
    pub(super) key: String,
    pub(super) started: i64,
    pub(super) ended: i64,
    directory: String,
    command: Vec<String>,
    pub(super) outcome: String,
    pub(super) code: u8,
    pub(super) message: String,
    images: Vec<SpooledImage>,
}

/// An image as the command left it.
#[derive(Debug, Serialize, Deserialize)]
struct SpooledImage {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<SpooledMark>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SpooledMark {
    device: u64,
    inode: u64,
    born: u64,
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<[u8; 32]>,
}

impl Spooled {
    fn from_event(fs: &dyn Fs, event: &Event<'_>) -> Self {
        let started = nanoseconds(event.started);
        Self {
            key: format!("{started:x}-{:x}", std::process::id()),
            started,
            ended: nanoseconds(event.ended),
            directory: shown(std::env::current_dir().unwrap_or_default().as_os_str()),
            command: event.command.iter().map(|word| shown(&without_secrets(word))).collect(),
            outcome: event.ending.name().to_owned(),
            code: event.code,
            message: event.message.to_owned(),
            images: event.changed.iter().map(|path| SpooledImage::of(fs, path)).collect(),
        }
    }

    pub(super) fn directory(&self) -> Vec<u8> {
        printed(self.directory.as_bytes())
    }

    /// The words, a NUL after each.
    pub(super) fn command(&self) -> Vec<u8> {
        let words = self.command.iter().map(|word| printed(word.as_bytes()));
        words.flat_map(|word| word.into_iter().chain([0])).collect()
    }

    /// The images, and what each was when the command ended.
    pub(super) fn images(&self) -> impl Iterator<Item = (PathBuf, Option<Mark>)> {
        self.images.iter().map(|image| {
            let path = OsString::from_vec(printed(image.path.as_bytes()));
            (path.into(), image.mark.as_ref().and_then(SpooledMark::mark))
        })
    }
}

impl SpooledImage {
    fn of(fs: &dyn Fs, path: &Path) -> Self {
        let mark = Mark::of(fs, path).ok().flatten();
        Self { path: shown(path.as_os_str()), mark: mark.map(SpooledMark::from) }
    }
}

impl From<Mark> for SpooledMark {
    fn from(mark: Mark) -> Self {
        let Identity { device, inode, born } = mark.identity;
        Self { device, inode, born, format: mark.format.name().to_owned(), fingerprint: mark.fingerprint }
    }
}

impl SpooledMark {
    fn mark(&self) -> Option<Mark> {
        let format = Format::ALL.into_iter().find(|format| format.name() == self.format)?;
        let identity = Identity { device: self.device, inode: self.inode, born: self.born };
        Some(Mark { identity, format, fingerprint: self.fingerprint })
    }
}

/// A word of a command line without the secret that an object definition may have in it.
fn without_secrets(word: &OsStr) -> OsString {
    let bytes = word.as_bytes();
    let find = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text);
    if find(b"secret").is_none() {
        return word.to_owned();
    }
    let Some(end) = ["data=", "\"data\""].iter().find_map(|key| Some(find(key.as_bytes())? + key.len()))
    else {
        return word.to_owned();
    };
    OsString::from_vec([&bytes[..end], b"***"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_remembered() {
        let hidden = |word: &str| without_secrets(OsStr::new(word)).into_string().unwrap();
        assert_eq!(hidden("secret,id=s,data=abc"), "secret,id=s,data=***");
        assert_eq!(hidden("--object=secret,data=a,,bc,id=s"), "--object=secret,data=***");
        assert_eq!(hidden(r#"{"qom-type":"secret","data":"abc"}"#), r#"{"qom-type":"secret","data"***"#);
        assert_eq!(hidden("secret,id=s,file=f"), "secret,id=s,file=f");
        assert_eq!(hidden("data=abc"), "data=abc");
    }
}
