//! Proof that the suite can fail: files that break one rule of the protocol each.
//!
//! A command that runs on such files is no longer transactional, and the suite must say so.

use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{
    Allocate, Claim, Disk, DiskStatus, Draft, DraftOptions, Extent, Fs, Held, OpenOptions, Result,
    StageNames, StagedFile, Zeroing,
};

/// A rule of the protocol, and so a way to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What is new is durable before the command ends.
    FilesAreSynced,
    /// What the new header refers to is durable before the header is written.
    DataBeforeHeader,
    /// The header is durable before the old state's space is given back.
    HeaderBeforeRelease,
    /// A write that fails is an error.
    ErrorsAreTold,
    /// A name is durable before the command ends.
    NamesAreSynced,
    /// What the committed state consists of is not overwritten.
    ShadowIsElsewhere,
}

impl Rule {
    /// Every rule, and scenarios in which breaking it must show.
    pub const ALL: [(Self, &str); 6] = [
        (Self::FilesAreSynced, "write/*"),
        (Self::DataBeforeHeader, "write/*"),
        (Self::HeaderBeforeRelease, "write/*"),
        (Self::ErrorsAreTold, "write/*"),
        (Self::NamesAreSynced, "create/*"),
        (Self::ShadowIsElsewhere, "write/*"),
    ];
}

/// Files that break a rule.
#[derive(Debug)]
pub struct BrokenFs {
    inner: Arc<dyn Fs>,
    rule: Rule,
}

impl BrokenFs {
    /// Breaks a rule of these files.
    pub fn new(inner: Arc<dyn Fs>, rule: Rule) -> Self {
        Self { inner, rule }
    }

    fn wrap(&self, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        let flags = || AtomicBool::new(false);
        Arc::new(BrokenDisk { inner: disk, rule: self.rule, owes_sync: flags(), is_flipped: flags() })
    }
}

impl Fs for BrokenFs {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        Ok(self.wrap(self.inner.open(path, options)?))
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        self.inner.status(path)
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        let volatile = options.volatile || self.rule == Rule::NamesAreSynced;
        let inner = self.inner.draft(target, DraftOptions { volatile, ..options })?;
        Ok(Box::new(BrokenDraft { disk: self.wrap(inner.disk()), inner }))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.inner.unlink(path)
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        if self.rule == Rule::NamesAreSynced {
            return Ok(());
        }
        self.inner.sync_directory(directory)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.inner.resolve(path)
    }
}

#[derive(Debug)]
struct BrokenDraft {
    inner: Box<dyn Draft>,
    disk: Arc<dyn Disk>,
}

impl Draft for BrokenDraft {
    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn target(&self) -> &Path {
        self.inner.target()
    }

    fn is_atomic(&self) -> bool {
        self.inner.is_atomic()
    }

    fn publish(self: Box<Self>) -> Result<()> {
        self.inner.publish()
    }

    fn stage_names(&self) -> Option<StageNames> {
        self.inner.stage_names()
    }

    fn stage(self: Box<Self>, names: &StageNames) -> Result<StagedFile> {
        self.inner.stage(names)
    }
}

#[derive(Debug)]
struct BrokenDisk {
    inner: Arc<dyn Disk>,
    rule: Rule,
    /// A sync was asked for and not made yet.
    owes_sync: AtomicBool,
    /// The header was written.
    is_flipped: AtomicBool,
}

impl BrokenDisk {
    fn sync_late(&self) -> Result<()> {
        if self.owes_sync.swap(false, Ordering::SeqCst) { self.inner.sync() } else { Ok(()) }
    }
}

impl Disk for BrokenDisk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_exact_at(offset, buf)
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let offset = match self.rule {
            // Into the middle of what is there.
            Rule::ShadowIsElsewhere if offset > 0 => offset / 2 / 512 * 512 + 512,
            _ => offset,
        };
        let written = self.inner.write_vectored_at(offset, bufs);
        if offset == 0 {
            self.is_flipped.store(true, Ordering::SeqCst);
        }
        if self.rule == Rule::DataBeforeHeader && offset == 0 {
            self.sync_late()?;
        }
        if self.rule == Rule::ErrorsAreTold { Ok(()) } else { written }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        match self.rule {
            Rule::FilesAreSynced => Ok(()),
            Rule::HeaderBeforeRelease if self.is_flipped.load(Ordering::SeqCst) => Ok(()),
            Rule::DataBeforeHeader if !self.is_flipped.load(Ordering::SeqCst) => {
                self.owes_sync.store(true, Ordering::SeqCst);
                Ok(())
            }
            _ => self.inner.sync(),
        }
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        self.inner.allocate(range, how)
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        self.inner.zero(range, how)
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        self.inner.copy_from(offset, source, source_offset, len)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }

    fn status(&self) -> Result<DiskStatus> {
        self.inner.status()
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        self.inner.lock(claim)
    }

    fn hold(&self) -> Result<Held> {
        self.inner.hold()
    }
}
