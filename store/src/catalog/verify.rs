//! Whether images still are what the catalog remembers.

use std::path::Path;

use formats::{Format, OpenContext, OpenFlags};
use journal::Fs;

use super::observe::Mark;
use super::{Catalog, Entry, Result};
use crate::ops::digest;
use crate::{ImageName, Progress};

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is what it was.
    Same,
    /// It is known by its name only: nobody has looked at it.
    Unknown,
    /// Nothing is there.
    Missing,
    /// Another file is there.
    Replaced,
    /// Its header is another.
    HeaderChanged,
    /// Its content is another.
    ContentChanged,
    /// It cannot be looked at.
    Unreadable(String),
}

impl State {
    /// As it is told.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Replaced => "replaced",
            Self::HeaderChanged => "header-changed",
            Self::ContentChanged => "content-changed",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Compares an image's identity and header with what the catalog remembers.
pub fn state(fs: &dyn Fs, entry: &Entry) -> State {
    let Some(identity) = entry.identity else { return State::Unknown };
    match Mark::of(fs, &entry.path) {
        Err(error) => State::Unreadable(error.report()),
        Ok(None) => State::Missing,
        Ok(Some(mark)) if mark.identity != identity => State::Replaced,
        // What a guest writes into a raw image is its own affair, even if it looks like a header.
        Ok(Some(_)) if entry.format.as_deref() == Some(Format::Raw.name()) => State::Same,
        Ok(Some(mark)) if mark.fingerprint != entry.fingerprint => State::HeaderChanged,
        Ok(Some(_)) => State::Same,
    }
}

impl Catalog {
    /// Compares an image's content with the digest that the catalog remembers; if it remembers none,
    /// this one is kept.
    pub fn compare_digest(
        &mut self,
        context: &OpenContext<'_>,
        entry: &Entry,
        progress: &dyn Progress,
    ) -> Result<State> {
        let hash = match content(context, &entry.path, entry.format.clone(), progress) {
            Ok(hash) => hash,
            Err(error) => return Ok(State::Unreadable(error.report())),
        };
        match entry.digest {
            Some(known) if known != hash => Ok(State::ContentChanged),
            Some(_) => Ok(State::Same),
            None => {
                self.keep_digest(entry.id, &hash)?;
                Ok(State::Same)
            }
        }
    }
}

fn content(
    context: &OpenContext<'_>,
    path: &Path,
    format: Option<String>,
    progress: &dyn Progress,
) -> formats::Result<[u8; 32]> {
    let image = ImageName::File { name: path.into(), format }.open(context, OpenFlags::READ)?;
    Ok(*digest::digest(&image, progress)?.as_bytes())
}
