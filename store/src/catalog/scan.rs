//! Looking for images in directories.

use std::fs::FileType;
use std::path::{Path, PathBuf};

use formats::{Format, OpenContext};
use rusqlite::Connection;

use super::images::{complete, enter, is_below, look, vanish};
use super::observe::{self, Mark};
use super::{Catalog, CatalogError, Result};

/// Images that are entered in one go: others wait for the database meanwhile.
const BATCH: usize = 256;

/// Names of files that are images although nothing in them says so.
const RAW_NAMES: [&str; 2] = ["raw", "img"];

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// The images, in the order in which they were met.
    pub found: Vec<PathBuf>,
    /// Images that the catalog knew and that are no longer there.
    pub gone: Vec<PathBuf>,
    /// What could not be looked at, and why.
    pub failed: Vec<(PathBuf, String)>,
}

impl Catalog {
    /// Looks at every image in and below the directory and enters it. Symbolic links are not
    /// followed.
    ///
    /// Files that look like nothing are images if they are called `.raw` or `.img`, or if an image
    /// names them.
    pub fn scan(&mut self, context: &OpenContext<'_>, directory: &Path) -> Result<ScanReport> {
        let root = observe::resolve(context.fs, directory)?;
        let mut report = ScanReport::default();
        let mut batch = Vec::new();
        let mut directories = vec![root.clone()];
        let mut is_root = true;
        while let Some(directory) = directories.pop() {
            let entries = match list(&directory) {
                Err(source) if is_root => {
                    return Err(CatalogError::Unreadable { path: directory, source });
                }
                Err(error) => {
                    report.failed.push((directory, journal::reason(&error)));
                    continue;
                }
                Ok(entries) => entries,
            };
            is_root = false;
            for (path, kind) in entries {
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() {
                    batch.push(path);
                }
                if batch.len() == BATCH {
                    self.enter_files(context, std::mem::take(&mut batch), &mut report)?;
                }
            }
        }
        self.enter_files(context, batch, &mut report)?;
        // What looks like nothing is an image if one of these names it.
        let named = self.write(|db| complete(db, context))?;
        report.found.extend(named.into_iter().filter(|path| is_below(path.as_os_str(), &root)));
        self.clear(context, &root, &mut report)?;
        Ok(report)
    }

    fn enter_files(
        &mut self,
        context: &OpenContext<'_>,
        files: Vec<PathBuf>,
        report: &mut ScanReport,
    ) -> Result<()> {
        self.write(|db| {
            for path in files {
                match enter_file(db, context, &path)? {
                    Ok(true) => report.found.push(path),
                    Ok(false) => {}
                    Err(error) => report.failed.push((path, error.report())),
                }
            }
            Ok::<_, rusqlite::Error>(())
        })
    }

    /// Takes images out of the catalog that were below the directory and are gone.
    fn clear(&mut self, context: &OpenContext<'_>, root: &Path, report: &mut ScanReport) -> Result<()> {
        let gone: Vec<PathBuf> = self
            .images()?
            .into_iter()
            .filter(|image| image.identity.is_some() && is_below(image.path.as_os_str(), root))
            .filter(|image| matches!(context.fs.status(&image.path), Ok(None)))
            .map(|image| image.path)
            .collect();
        self.write(|db| vanish(db, &gone))?;
        report.gone.extend(gone);
        Ok(())
    }
}

/// The entries of a directory, by name.
fn list(directory: &Path) -> std::io::Result<Vec<(PathBuf, FileType)>> {
    let mut entries = std::fs::read_dir(directory)?
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(entries)
}

/// Enters a file if it is an image.
fn enter_file(
    db: &Connection,
    context: &OpenContext<'_>,
    path: &Path,
) -> rusqlite::Result<formats::Result<bool>> {
    let mark = match Mark::of(context.fs, path) {
        Err(error) => return Ok(Err(error)),
        Ok(None) => return Ok(Ok(false)),
        Ok(Some(mark)) => mark,
    };
    let is_called_raw = path.extension().is_some_and(|it| RAW_NAMES.iter().any(|name| it == *name));
    if mark.format == Format::Raw && !is_called_raw && super::images::by_path(db, path)?.is_none() {
        return Ok(Ok(false));
    }
    Ok(match look(db, context, path)? {
        Err(error) => Err(error),
        Ok(None) => Ok(false),
        Ok(Some(found)) => {
            enter(db, &found)?;
            Ok(true)
        }
    })
}
