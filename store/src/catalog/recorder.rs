//! Notes which files a command changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use journal::{Access, Disk, DiskStatus, Draft, DraftOptions, Fs, OpenOptions, Result};

use crate::workers::lock;

/// A tree of files that remembers which ones it was asked to make, open for writing, rename or
/// remove.
#[derive(Debug)]
pub struct Recorder<'a> {
    inner: &'a dyn Fs,
    changed: Mutex<Vec<PathBuf>>,
}

impl<'a> Recorder<'a> {
    /// A recorder over these files.
    pub fn new(inner: &'a dyn Fs) -> Self {
        Self { inner, changed: Mutex::default() }
    }

    /// What was changed so far, in the order in which it was begun.
    pub fn changed_paths(&self) -> Vec<PathBuf> {
        lock(&self.changed).clone()
    }

    fn note(&self, path: &Path) {
        let mut changed = lock(&self.changed);
        if !changed.iter().any(|known| known == path) {
            changed.push(path.to_owned());
        }
    }
}

impl Fs for Recorder<'_> {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        let disk = self.inner.open(path, options)?;
        if options.access == Access::Write {
            self.note(path);
        }
        Ok(disk)
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        self.inner.status(path)
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        let draft = self.inner.draft(target, options)?;
        self.note(target);
        Ok(draft)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        let disk = self.inner.create(path)?;
        self.note(path);
        Ok(disk)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.rename(from, to)?;
        self.note(from);
        self.note(to);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.inner.unlink(path)?;
        self.note(path);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        self.inner.sync_directory(directory)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.inner.resolve(path)
    }
}
