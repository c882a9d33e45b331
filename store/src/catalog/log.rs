//! What was done to images: events, absorbed and read again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use formats::OpenContext;
use rusqlite::{Connection, Row, params};

use super::event::Spooled;
use super::images::{by_identity, by_path, bytes_of, complete, enter, look, vanish};
use super::observe::Mark;
use super::spool::Taken;
use super::{Catalog, Result, db};

/// How many events are kept.
const MAX_EVENTS: i64 = 100_000;

/// A command that changed images, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number in this catalog, ascending in time.
    pub id: i64,
    /// When it began, nanoseconds since 1970.
    pub started: i64,
    /// When it ended.
    pub ended: i64,
    /// In which directory it ran.
    pub directory: OsString,
    /// Its words, the program's name first; secrets are left out.
    pub command: Vec<OsString>,
    /// How it ended: `done`, `failed`, `interrupted`, `recovered`.
    pub outcome: String,
    /// Its exit code.
    pub code: u8,
    /// Why it failed.
    pub message: String,
    /// The images that it changed.
    pub images: Vec<TouchedImage>,
}

/// An image that a command changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchedImage {
    /// Where it was then.
    pub path: PathBuf,
    /// Where it is now, if the catalog knows that it has moved.
    pub now: Option<PathBuf>,
}

impl Catalog {
    /// Enters the events that wait in the spool, and looks at the images that they changed.
    pub fn absorb(&mut self, context: &OpenContext<'_>) -> Result<()> {
        let place = self.place.clone();
        // Two files at most: one that was left, and the one since.
        for _ in 0..2 {
            let taken = self.write(|db| {
                let taken = Taken::take(&place)?;
                if let Some(taken) = &taken {
                    enter_events(db, context, taken)?;
                }
                Ok::<_, db::Failure>(taken)
            })?;
            let Some(taken) = taken else { break };
            // Only now it is certain that the events are in the database.
            if let Err(error) = taken.forget(&place) {
                tracing::warn!(%error, "The catalog's spool cannot be removed.");
            }
        }
        Ok(())
    }

    /// What was done, newest first; to one image only, if it is named.
    ///
    /// An image is found by its path, now or then, and by where it has moved from.
    pub fn log(&self, fs: &dyn journal::Fs, image: Option<&std::path::Path>) -> Result<Vec<LogEntry>> {
        let path = image.map(|path| super::observe::resolve(fs, path)).transpose()?;
        self.run(|db| {
            let mut entries = match &path {
                None => db
                    .prepare(&select("TRUE"))?
                    .query_map([], entry)?
                    .collect::<rusqlite::Result<Vec<_>>>()?,
                Some(path) => db
                    .prepare(&select(
                        "id IN (SELECT txn FROM touched WHERE path = ?1 OR image = \
                         (SELECT id FROM images WHERE path = ?1))",
                    ))?
                    .query_map([bytes_of(path)], entry)?
                    .collect::<rusqlite::Result<Vec<_>>>()?,
            };
            for entry in &mut entries {
                entry.images = touched(db, entry.id)?;
            }
            Ok(entries)
        })
    }
}

fn select(condition: &str) -> String {
    format!(
        "SELECT id, started, ended, directory, command, outcome, code, message FROM transactions \
         WHERE {condition} ORDER BY started DESC, id DESC"
    )
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    let command: Vec<u8> = row.get(4)?;
    let mut words: Vec<OsString> =
        command.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    words.pop();
    Ok(LogEntry {
        id: row.get(0)?,
        started: row.get(1)?,
        ended: row.get(2)?,
        directory: OsString::from_vec(row.get(3)?),
        command: words,
        outcome: row.get(5)?,
        code: row.get(6)?,
        message: row.get(7)?,
        images: Vec::new(),
    })
}

fn touched(db: &Connection, id: i64) -> rusqlite::Result<Vec<TouchedImage>> {
    let sql = "SELECT touched.path, images.path FROM touched LEFT JOIN images ON images.id = touched.image \
               WHERE txn = ?1 ORDER BY touched.path";
    let image = |row: &Row<'_>| {
        let path: PathBuf = OsString::from_vec(row.get(0)?).into();
        let now: Option<Vec<u8>> = row.get(1)?;
        let now = now.map(|now| PathBuf::from(OsString::from_vec(now))).filter(|now| *now != path);
        Ok(TouchedImage { path, now })
    };
    db.prepare_cached(sql)?.query_map([id], image)?.collect()
}

/// Enters what was spooled.
fn enter_events(
    db: &Connection,
    context: &OpenContext<'_>,
    taken: &Taken,
) -> std::result::Result<(), db::Failure> {
    let mut batch = Batch { db, changed: BTreeMap::new(), touched: Vec::new() };
    for event in taken.events() {
        batch.add(&event?)?;
    }
    batch.enter_images(context)?;
    batch.connect()?;
    let sql = "DELETE FROM transactions WHERE id <= (SELECT max(id) FROM transactions) - ?1";
    db.execute(sql, [MAX_EVENTS])?;
    Ok(())
}

/// Events that are entered together.
struct Batch<'a> {
    db: &'a Connection,
    /// The images, as the last command left each.
    changed: BTreeMap<PathBuf, Option<Mark>>,
    /// By event: its images, as it left them.
    touched: Vec<(i64, PathBuf, Option<Mark>)>,
}

impl Batch<'_> {
    fn add(&mut self, event: &Spooled) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO transactions \
                   (key, started, ended, directory, command, outcome, code, message) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let entered = self.db.prepare_cached(sql)?.execute(params![
            event.key,
            event.started,
            event.ended,
            event.directory(),
            event.command(),
            event.outcome,
            event.code,
            event.message,
        ])?;
        if entered == 0 {
            return Ok(());
        }
        let id = self.db.last_insert_rowid();
        for (path, mark) in event.images() {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO touched (txn, path) VALUES (?1, ?2)")?
                .execute(params![id, bytes_of(&path)])?;
            self.changed.insert(path.clone(), mark.clone());
            self.touched.push((id, path, mark));
        }
        Ok(())
    }

    /// Looks at the images. What exists comes first: a file that has moved takes its history along.
    fn enter_images(&self, context: &OpenContext<'_>) -> rusqlite::Result<()> {
        let mut gone = Vec::new();
        for (path, mark) in &self.changed {
            match look(self.db, context, path)? {
                Ok(Some(mut found)) => {
                    // What it is like now may not be what the command left.
                    if let Some(mark) = mark.as_ref().filter(|mark| mark.identity == found.mark.identity) {
                        found.mark.fingerprint = mark.fingerprint;
                    }
                    enter(self.db, &found)?;
                }
                Ok(None) => gone.push(path),
                Err(error) => {
                    tracing::debug!(path = %path.display(), error = %error.report(), "Not looked at.");
                }
            }
        }
        vanish(self.db, gone)?;
        complete(self.db, context).map(drop)
    }

    /// Connects the events with the images that are known now.
    fn connect(&self) -> rusqlite::Result<()> {
        for (event, path, mark) in &self.touched {
            let mut image = by_path(self.db, path)?;
            if let (None, Some(mark)) = (&image, mark) {
                image = by_identity(self.db, mark.identity)?.pop();
            }
            if let Some(image) = image {
                self.db
                    .prepare_cached("UPDATE touched SET image = ?3 WHERE txn = ?1 AND path = ?2")?
                    .execute(params![event, bytes_of(path), image.id])?;
            }
        }
        Ok(())
    }
}
