//! The database: opened, brought to the current schema, used by one transaction at a time.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{CatalogError, Place, Result};

/// The steps from an empty database to the current schema, in order. What has been released is
/// never changed: a new schema is a new step.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// How SQLite's header says whose database it is: "txim".
const APPLICATION_ID: i64 = 0x7478_696d;

/// How long another process is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    pub(super) db: Connection,
    pub(super) place: Place,
}

impl Catalog {
    /// Opens the catalog, which is made if it does not exist.
    pub fn open(place: &Place) -> Result<Self> {
        place
            .make_directory()
            .map_err(|source| CatalogError::Spool { path: place.path().to_owned(), source })?;
        create_private(place)
            .map_err(|source| CatalogError::Spool { path: place.path().to_owned(), source })?;
        // One thread uses it, and a name is a name even if it begins with `file:`.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |source| CatalogError::Database { path: place.path().to_owned(), source };
        let db = Connection::open_with_flags(place.path(), flags).map_err(failed)?;
        let mut catalog = Self { db, place: place.clone() };
        catalog.prepare()?;
        Ok(catalog)
    }

    fn prepare(&mut self) -> Result<()> {
        // A rollback journal, not a log beside the database: it works on every filesystem that has
        // locks, and a reader needs to write nothing. Power loss may cost the newest events, at
        // worst the catalog, and no image.
        self.run(|db| {
            db.busy_timeout(PATIENCE)?;
            db.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")
        })?;
        let found = self.run(version)?;
        if found == Version::Current {
            return Ok(());
        }
        let path = || self.place.path().to_owned();
        match found {
            Version::Foreign => Err(CatalogError::Foreign(path())),
            Version::Newer(version) => Err(CatalogError::TooNew { path: path(), version }),
            Version::Current | Version::Older => self.write(migrate),
        }
    }

    /// Uses the database.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.db).map_err(|source| Failure::from(source).at(&self.place))
    }

    /// Changes the database, wholly or not at all.
    pub(super) fn write<T, E: Into<Failure>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let place = &self.place;
        let result = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction).map_err(Into::into)?;
            transaction.commit()?;
            Ok(value)
        })();
        result.map_err(|failure: Failure| failure.at(place))
    }
}

/// Makes an empty file, which SQLite takes for an empty database, that only its owner may read. One that
/// exists stays, and one that cannot be made is SQLite's to complain about.
#[expect(clippy::disallowed_methods, reason = "the catalog need not survive anything")]
fn create_private(place: &Place) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(place.path()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(drop),
    }
}

/// What goes wrong while the database is used.
#[derive(Debug)]
pub(super) enum Failure {
    Database(rusqlite::Error),
    Spool(io::Error),
}

impl Failure {
    fn at(self, place: &Place) -> CatalogError {
        let path = place.path().to_owned();
        match self {
            Self::Database(source) => CatalogError::Database { path, source },
            Self::Spool(source) => CatalogError::Spool { path, source },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Current,
    Older,
    Newer(i64),
    Foreign,
}

fn version(db: &Connection) -> rusqlite::Result<Version> {
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version")?;
    let is_ours = number("PRAGMA application_id")? == APPLICATION_ID;
    let is_empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    let current = MIGRATIONS.len() as i64;
    Ok(match version {
        _ if !is_ours && !is_empty => Version::Foreign,
        version if version == current => Version::Current,
        version if version > current => Version::Newer(version),
        _ => Version::Older,
    })
}

/// Takes the steps that are missing. Another process may have taken them meanwhile.
fn migrate(db: &Transaction<'_>) -> rusqlite::Result<()> {
    let done: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (number, step) in MIGRATIONS.iter().enumerate().skip(usize::try_from(done).unwrap_or(0)) {
        tracing::debug!(step = number + 1, "Migrates the catalog.");
        db.execute_batch(step)?;
    }
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", MIGRATIONS.len() as i64)
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_catalog_is_current_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(dir.path().join("new/catalog.sqlite"));
        for _ in 0..2 {
            let catalog = Catalog::open(&place).unwrap();
            assert_eq!(version(&catalog.db).unwrap(), Version::Current);
        }
    }

    #[test]
    fn each_step_leads_to_the_current_schema() {
        for done in 0..MIGRATIONS.len() {
            let dir = tempfile::tempdir().unwrap();
            let place = Place::at(dir.path().join("catalog.sqlite"));
            let db = Connection::open(place.path()).unwrap();
            for step in &MIGRATIONS[..done] {
                db.execute_batch(step).unwrap();
            }
            db.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
            db.pragma_update(None, "user_version", done as i64).unwrap();
            drop(db);
            let catalog = Catalog::open(&place).unwrap();
            assert_eq!(version(&catalog.db).unwrap(), Version::Current);
        }
    }

    #[test]
    fn databases_of_others_and_of_the_future_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = Place::at(dir.path().join("foreign"));
        Connection::open(foreign.path()).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
        assert!(matches!(Catalog::open(&foreign), Err(CatalogError::Foreign(_))));

        let newer = Place::at(dir.path().join("newer"));
        let catalog = Catalog::open(&newer).unwrap();
        catalog.db.pragma_update(None, "user_version", 1000).unwrap();
        drop(catalog);
        assert!(matches!(Catalog::open(&newer), Err(CatalogError::TooNew { version: 1000, .. })));
    }
}
