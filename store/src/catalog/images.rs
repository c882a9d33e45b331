//! Images and what they need, in the database.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use formats::{Format, OpenContext};
use journal::Fs;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::db::nanoseconds;
use super::observe::{self, Identity, Need, Observation, Reading, Role};
use super::{Catalog, CatalogError, Result};

/// An image as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in this catalog.
    pub id: i64,
    /// Where it is: absolute, symbolic links resolved.
    pub path: PathBuf,
    /// Which file it was; `None` if nothing was there.
    pub identity: Option<Identity>,
    /// Its format; `None` if it is known only because an image names it.
    pub format: Option<String>,
    /// Bytes in its virtual disk.
    pub size: Option<u64>,
    /// The hash of its header.
    pub fingerprint: Option<[u8; 32]>,
    /// The digest of its content.
    pub digest: Option<[u8; 32]>,
    /// When it was last looked at, nanoseconds since 1970.
    pub seen: i64,
}

/// An image and a file that it needs, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Who needs it.
    pub overlay: i64,
    /// What for.
    pub role: Role,
    /// The file.
    pub base: i64,
    /// How the overlay names it.
    pub name: OsString,
    /// The format that the overlay says it has.
    pub format: Option<String>,
}

const COLUMNS: &str = "id, path, device, inode, born, format, size, fingerprint, digest, seen";

impl Entry {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index| row.get::<_, Option<i64>>(index);
        let identity = match (number(2)?, number(3)?, number(4)?) {
            (Some(device), Some(inode), Some(born)) => Some(Identity {
                device: device.cast_unsigned(),
                inode: inode.cast_unsigned(),
                born: born.cast_unsigned(),
            }),
            _ => None,
        };
        Ok(Self {
            id: row.get(0)?,
            path: path_of(row.get(1)?),
            identity,
            format: row.get(5)?,
            size: number(6)?.map(i64::cast_unsigned),
            fingerprint: row.get(7)?,
            digest: row.get(8)?,
            seen: row.get(9)?,
        })
    }
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

impl Catalog {
    /// Every image, by path.
    pub fn images(&self) -> Result<Vec<Entry>> {
        self.run(|db| entries(db, "TRUE ORDER BY path", []))
    }

    /// Everything that is needed by something.
    pub fn edges(&self) -> Result<Vec<Edge>> {
        self.run(|db| edges(db, "TRUE ORDER BY overlay, role DESC", []))
    }

    /// What an image needs.
    pub fn needs(&self, overlay: i64) -> Result<Vec<Edge>> {
        self.run(|db| edges(db, "overlay = ?1 ORDER BY role", [overlay]))
    }

    /// The images that say they need one of that number.
    pub fn overlays(&self, base: i64) -> Result<Vec<Entry>> {
        self.run(|db| entries(db, "id IN (SELECT overlay FROM edges WHERE base = ?1) ORDER BY path", [base]))
    }

    /// The image of that number.
    pub fn image(&self, id: i64) -> Result<Option<Entry>> {
        self.run(|db| Ok(entries(db, "id = ?1", [id])?.pop()))
    }

    /// The image at a path, however it is written; or the one that was there and is elsewhere now.
    pub fn find(&self, fs: &dyn Fs, path: &Path) -> Result<Entry> {
        let path = observe::resolve(fs, path)?;
        self.run(|db| by_path(db, &path))?.ok_or(CatalogError::Unknown(path))
    }

    /// Forgets an image. Its file is not touched, and what was done to it stays in the log.
    pub fn forget(&mut self, id: i64) -> Result<()> {
        self.write(|db| db.execute("DELETE FROM images WHERE id = ?1", [id])).map(drop)
    }

    /// Keeps the digest of an image's content.
    pub fn keep_digest(&mut self, id: i64, digest: &[u8; 32]) -> Result<()> {
        self.write(|db| db.execute("UPDATE images SET digest = ?2 WHERE id = ?1", params![id, digest]))
            .map(drop)
    }
}

fn entries(db: &Connection, condition: &str, params: impl Params) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM images WHERE {condition}");
    db.prepare_cached(&sql)?.query_map(params, Entry::from_row)?.collect()
}

fn edges(db: &Connection, condition: &str, params: impl Params) -> rusqlite::Result<Vec<Edge>> {
    let sql = format!("SELECT overlay, role, base, name, format FROM edges WHERE {condition}");
    let edge = |row: &Row<'_>| {
        Ok(Edge {
            overlay: row.get(0)?,
            role: Role::from_name(&row.get::<_, String>(1)?),
            base: row.get(2)?,
            name: OsString::from_vec(row.get(3)?),
            format: row.get(4)?,
        })
    };
    db.prepare_cached(&sql)?.query_map(params, edge)?.collect()
}

pub(super) fn by_path(db: &Connection, path: &Path) -> rusqlite::Result<Option<Entry>> {
    Ok(entries(db, "path = ?1", [bytes_of(path)])?.pop())
}

pub(super) fn by_identity(db: &Connection, identity: Identity) -> rusqlite::Result<Vec<Entry>> {
    let Identity { device, inode, born } = identity;
    let numbers = [device, inode, born].map(u64::cast_signed);
    entries(db, "device = ?1 AND inode = ?2 AND born = ?3", numbers)
}

/// Looks at what is at a path, as what it is known to be.
///
/// An error is one of the file's: whoever looks at many goes on with the next.
pub(super) fn look(
    db: &Connection,
    context: &OpenContext<'_>,
    path: &Path,
) -> rusqlite::Result<formats::Result<Option<Observation>>> {
    let known = by_path(db, path)?;
    let is_raw = known.as_ref().is_some_and(|entry| entry.format.as_deref() == Some(Format::Raw.name()));
    let observed = observe::observe(context, path, if is_raw { Reading::Raw } else { Reading::Probed });
    // A file that was made anew since may be anything.
    let replaced = match (&observed, known.and_then(|entry| entry.identity)) {
        (Ok(Some(new)), Some(old)) => is_raw && new.mark.identity != old,
        _ => false,
    };
    Ok(if replaced { observe::observe(context, path, Reading::Probed) } else { observed })
}

/// Enters what was found at a path; its number is returned.
pub(super) fn enter(db: &Connection, found: &Observation) -> rusqlite::Result<i64> {
    let id = row_for(db, found)?;
    let Identity { device, inode, born } = found.mark.identity;
    db.prepare_cached(
        "UPDATE images SET device = ?2, inode = ?3, born = ?4, format = ?5, size = ?6, fingerprint = ?7, \
         digest = NULL, seen = ?8 WHERE id = ?1",
    )?
    .execute(params![
        id,
        device.cast_signed(),
        inode.cast_signed(),
        born.cast_signed(),
        found.mark.format.name(),
        found.size.map(u64::cast_signed),
        found.mark.fingerprint,
        nanoseconds(SystemTime::now()),
    ])?;
    db.prepare_cached("DELETE FROM edges WHERE overlay = ?1")?.execute([id])?;
    for need in &found.needs {
        enter_need(db, id, need)?;
    }
    Ok(id)
}

fn enter_need(db: &Connection, overlay: i64, need: &Need) -> rusqlite::Result<()> {
    let base = named(db, &need.path)?;
    if need.format.as_deref() == Some(Format::Raw.name()) {
        // Whoever reads it through this overlay reads it so.
        db.execute("UPDATE images SET format = 'raw' WHERE id = ?1 AND format IS NULL", [base])?;
    }
    db.prepare_cached("INSERT INTO edges (overlay, role, base, name, format) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![overlay, need.role.name(), base, need.name.as_bytes(), need.format])?;
    Ok(())
}

/// The number of the image at a path, which is entered by its name if need be.
fn named(db: &Connection, path: &Path) -> rusqlite::Result<i64> {
    let path = bytes_of(path);
    let known = db
        .prepare_cached("SELECT id FROM images WHERE path = ?1")?
        .query_row([path], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    db.prepare_cached("INSERT INTO images (path, seen) VALUES (?1, 0)")?.execute([path])?;
    Ok(db.last_insert_rowid())
}

/// The row for what was found: that of its path, and where a file has moved there, with the history
/// of the row that it had.
fn row_for(db: &Connection, found: &Observation) -> rusqlite::Result<i64> {
    let id = named(db, &found.path)?;
    for old in by_identity(db, found.mark.identity)? {
        let has_moved = old.id != id && old.path.symlink_metadata().is_err();
        if has_moved {
            db.execute("UPDATE touched SET image = ?1 WHERE image = ?2", [id, old.id])?;
            db.execute("UPDATE edges SET base = ?1 WHERE base = ?2", [id, old.id])?;
            db.execute("DELETE FROM images WHERE id = ?1", [old.id])?;
        }
    }
    Ok(id)
}

/// Looks at the images that are known only because others name them; those that are there are
/// returned.
pub(super) fn complete(db: &Connection, context: &OpenContext<'_>) -> rusqlite::Result<Vec<PathBuf>> {
    let mut tried = HashSet::new();
    let mut found = Vec::new();
    // Each may name others.
    loop {
        let mut named = entries(db, "device IS NULL", [])?;
        named.retain(|entry| tried.insert(entry.id));
        if named.is_empty() {
            return Ok(found);
        }
        for entry in named {
            match look(db, context, &entry.path)? {
                Ok(Some(observation)) => {
                    enter(db, &observation)?;
                    found.push(entry.path);
                }
                Ok(None) => {}
                Err(error) => {
                    let path = entry.path.display();
                    tracing::debug!(%path, error = %error.report(), "An image cannot be looked at.");
                }
            }
        }
    }
}

/// Enters that nothing is at these paths any more. What others need stays known by its name.
pub(super) fn vanish<'a>(
    db: &Connection,
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> rusqlite::Result<()> {
    for path in paths {
        let path = bytes_of(path);
        db.execute("DELETE FROM edges WHERE overlay IN (SELECT id FROM images WHERE path = ?1)", [path])?;
        db.execute(
            "UPDATE images SET device = NULL, inode = NULL, born = NULL, size = NULL, fingerprint = NULL, \
             digest = NULL WHERE path = ?1",
            [path],
        )?;
    }
    db.execute(
        "DELETE FROM images WHERE device IS NULL AND NOT EXISTS (SELECT 1 FROM edges WHERE base = images.id)",
        [],
    )?;
    Ok(())
}

/// Whether a path is at or below one of these directories.
pub(super) fn is_below(path: &OsStr, directory: &Path) -> bool {
    Path::new(path).starts_with(directory)
}
