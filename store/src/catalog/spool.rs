//! Events that wait to be absorbed by the catalog.
//!
//! A command that changes an image appends one line here, which costs it next to nothing. Whoever
//! opens the catalog to read it enters the lines into the database first.
//!
//! Writers share a lock on the file. An absorber takes the lock for itself and gives the file another
//! name, so that writers begin a new one; it removes the file when its events are in the database. An
//! event whose line is torn by a power loss is skipped, and one that is met twice is known by its
//! key.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::Place;
use super::event::Spooled;

/// A spool that is longer is absorbed by the command that made it so.
const FULL: u64 = 1 << 20;

/// How often a writer tries to share the file, and how long it waits in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// How full the spool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    Low,
    Full,
}

/// Appends an event.
pub(super) fn append(place: &Place, event: &Spooled) -> io::Result<Fill> {
    // A line before it that was torn ends here.
    let mut line = b"\n".to_vec();
    serde_json::to_writer(&mut line, event)?;
    line.push(b'\n');
    let path = place.spool();
    for _ in 0..TRIES {
        let mut file = match open(&path, Access::Append) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                place.make_directory()?;
                open(&path, Access::Append)?
            }
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) if is_at(&file, &path) => {
                file.write_all(&line)?;
                return Ok(if file.metadata()?.len() > FULL { Fill::Full } else { Fill::Low });
            }
            // Renamed meanwhile: the next one is at the path.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process keeps the spool locked"))
}

/// A spool that was taken from the writers, for one absorber alone.
#[derive(Debug)]
pub(super) struct Taken(File);

impl Taken {
    /// Takes the spool, or what an absorber left that was killed; `None` if there is neither.
    ///
    /// The caller holds the database's lock, so nobody else takes meanwhile.
    pub(super) fn take(place: &Place) -> io::Result<Option<Self>> {
        let left = place.absorbing();
        if let Some(file) = open_existing(&left)? {
            file.lock()?;
            if is_at(&file, &left) {
                return Ok(Some(Self(file)));
            }
        }
        let Some(spool) = open_existing(&place.spool())? else { return Ok(None) };
        spool.lock()?;
        rename(&place.spool(), &left)?;
        Ok(Some(Self(spool)))
    }

    /// The events in it.
    pub(super) fn events(&self) -> impl Iterator<Item = io::Result<Spooled>> {
        let lines = BufReader::new(&self.0).split(b'\n');
        lines.filter(|line| !line.as_ref().is_ok_and(Vec::is_empty)).filter_map(|line| match line {
            Err(error) => Some(Err(error)),
            Ok(line) => {
                let event = serde_json::from_slice(&line);
                let torn = |error: &_| tracing::debug!(%error, "An event in the spool is torn.");
                event.inspect_err(torn).ok().map(Ok)
            }
        })
    }

    /// Forgets it: the events are in the database.
    #[expect(clippy::disallowed_methods, reason = "the spool need not survive anything")]
    pub(super) fn forget(self, place: &Place) -> io::Result<()> {
        std::fs::remove_file(place.absorbing())
    }
}

#[expect(clippy::disallowed_methods, reason = "the spool need not survive anything")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match open(path, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file is still the one of that name.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = std::fs::metadata(path).map(identity).ok();
    there.is_some() && file.metadata().map(identity).ok() == there
}

enum Access {
    Read,
    Append,
}

#[expect(clippy::disallowed_methods, reason = "the spool need not survive anything")]
fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match access {
        Access::Read => options.read(true),
        Access::Append => options.append(true).create(true).mode(0o600),
    };
    options.open(path)
}
