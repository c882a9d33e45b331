//! Proof that the suite can fail: files that break one rule of the protocol each.
//!
//! They stand under the transaction, or between it and the formats, or under the recovery, and
//! make the program there do what it would do without the rule. The program itself has no switch
//! for that. A command with such files is no longer transactional, and the suite must say so.

use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use journal::{
    Allocate, Claim, Disk, DiskStatus, Draft, DraftOptions, Extent, Fs, Held, OpenOptions, Result, SimFs,
    StageNames, StagedFile, Zeroing,
};

use crate::meddle::is_journal;
use crate::subject::pattern;

/// A rule of the protocol, and so a way to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What is new is durable before the command ends.
    FilesAreSynced,
    /// What the new header refers to is durable before the header is written.
    DataBeforeHeader,
    /// The header is durable before the old state's space is given back, or the journal goes.
    HeaderBeforeRelease,
    /// A write that fails is an error.
    ErrorsAreTold,
    /// A name is durable before the command ends.
    NamesAreSynced,
    /// What the committed state consists of is not overwritten.
    ShadowIsElsewhere,
    /// The journal is durable before anything of it is carried out.
    JournalIsSynced,
    /// Every image of a change leads to the journal.
    JournalIsFound,
    /// Names that change are durable before the journal goes.
    NamesBeforeJournalGoes,
    /// A header waits for the commit.
    HeaderWaits,
    /// What is freed is not used again in the same transaction.
    FreedIsWithheld,
    /// What is freed and kept in the file is not used again in the same transaction either.
    RetiredIsWithheld,
    /// A journal is believed only if all of it is there.
    ChecksumsAreChecked,
    /// Recovery looks at what became of the files since.
    ChangesAreSeen,
}

/// Where a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// In the files that the transaction works on.
    Files,
    /// Between the formats and the transaction.
    Formats,
    /// In the recovery.
    Recovery,
}

impl Rule {
    /// Every rule, and scenarios in which breaking it must show.
    pub const ALL: [(Self, &str); 16] = [
        (Self::FilesAreSynced, "write/*"),
        (Self::DataBeforeHeader, "write/*"),
        (Self::HeaderBeforeRelease, "write/*"),
        (Self::HeaderBeforeRelease, "several/*"),
        (Self::ErrorsAreTold, "write/*"),
        (Self::NamesAreSynced, "create/*"),
        (Self::ShadowIsElsewhere, "write/*"),
        (Self::JournalIsSynced, "commit/*"),
        (Self::JournalIsSynced, "several/*"),
        (Self::JournalIsFound, "commit/*"),
        (Self::NamesBeforeJournalGoes, "mv/*"),
        (Self::HeaderWaits, "several/*"),
        (Self::FreedIsWithheld, "write/*"),
        (Self::RetiredIsWithheld, "again/*"),
        (Self::ChecksumsAreChecked, "commit/*"),
        (Self::ChangesAreSeen, "several/*"),
    ];

    /// Where it is broken.
    pub fn layer(self) -> Layer {
        match self {
            Self::HeaderWaits | Self::FreedIsWithheld | Self::RetiredIsWithheld => Layer::Formats,
            Self::ChecksumsAreChecked | Self::ChangesAreSeen => Layer::Recovery,
            _ => Layer::Files,
        }
    }
}

/// Files that break a rule.
#[derive(Debug)]
pub struct BrokenFs {
    inner: Arc<dyn Fs>,
    rule: Rule,
    /// How many directories were made durable.
    directories: AtomicUsize,
    /// The files of which [`Rule::ChangesAreSeen`] tells, whatever became of them.
    before: Option<SimFs>,
}

impl BrokenFs {
    /// Breaks a rule of these files.
    pub fn new(inner: Arc<dyn Fs>, rule: Rule) -> Self {
        Self { inner, rule, directories: AtomicUsize::new(0), before: None }
    }

    /// Files that look as they were, whatever became of them.
    pub fn blind(now: SimFs, before: SimFs) -> Self {
        Self { before: Some(before), ..Self::new(Arc::new(now), Rule::ChangesAreSeen) }
    }

    fn wrap(&self, disk: Arc<dyn Disk>, path: &Path) -> Result<Arc<dyn Disk>> {
        let flags = || AtomicBool::new(false);
        let is_journal = is_journal(path);
        let forges = is_journal && self.rule == Rule::ChecksumsAreChecked;
        let before = self.before.as_ref().and_then(|before| before.open(path, OpenOptions::WRITE).ok());
        Ok(Arc::new(BrokenDisk {
            forged: if forges { Some(forge(&*disk)?) } else { None },
            inner: disk,
            rule: self.rule,
            is_journal,
            before,
            owes_sync: flags(),
            is_flipped: flags(),
        }))
    }
}

impl Fs for BrokenFs {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        self.wrap(self.inner.open(path, options)?, path)
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        match &self.before {
            Some(before) => before.status(path),
            None => self.inner.status(path),
        }
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        let volatile = options.volatile || self.rule == Rule::NamesAreSynced;
        let inner = self.inner.draft(target, DraftOptions { volatile, ..options })?;
        Ok(Box::new(BrokenDraft { disk: self.wrap(inner.disk(), target)?, inner }))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        self.wrap(self.inner.create(path)?, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn link(&self, existing: &Path, name: &Path) -> Result<()> {
        match self.rule {
            Rule::JournalIsFound => Ok(()),
            _ => self.inner.link(existing, name),
        }
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.inner.unlink(path)
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        let number = self.directories.fetch_add(1, Ordering::SeqCst);
        match self.rule {
            Rule::NamesAreSynced => Ok(()),
            // The first directories are those of the journal and of what points to it.
            Rule::NamesBeforeJournalGoes if number >= 2 => Ok(()),
            _ => self.inner.sync_directory(directory),
        }
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
    is_journal: bool,
    /// What a journal says with all checksums made right.
    forged: Option<Vec<u8>>,
    /// What the file looks like.
    before: Option<Arc<dyn Disk>>,
    /// A sync was asked for and not made yet.
    owes_sync: AtomicBool,
    /// The header was written.
    is_flipped: AtomicBool,
}

impl BrokenDisk {
    fn sync_late(&self) -> Result<()> {
        if self.owes_sync.swap(false, Ordering::SeqCst) { self.inner.sync() } else { Ok(()) }
    }

    /// What is read.
    fn visible(&self) -> &Arc<dyn Disk> {
        self.before.as_ref().unwrap_or(&self.inner)
    }
}

impl Disk for BrokenDisk {
    fn len(&self) -> Result<u64> {
        self.visible().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let Some(forged) = &self.forged else { return self.visible().read_at(offset, buf) };
        let rest = forged.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match self.forged {
            Some(_) => self.read_at(offset, buf).map(drop),
            None => self.visible().read_exact_at(offset, buf),
        }
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let offset = match self.rule {
            // Into the middle of what is there.
            Rule::ShadowIsElsewhere if offset > 0 => offset / 2 / 512 * 512 + 512,
            _ => offset,
        };
        if let Some(before) = &self.before {
            before.write_vectored_at(offset, bufs)?;
        }
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
            Rule::JournalIsSynced if self.is_journal => Ok(()),
            Rule::HeaderBeforeRelease if !self.is_journal && self.is_flipped.load(Ordering::SeqCst) => Ok(()),
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

    fn release(&self, range: Range<u64>) -> Result<()> {
        match self.rule {
            // Somebody else gets it at once.
            Rule::FreedIsWithheld => self.inner.write_at(range.start, &pattern(80, range.end - range.start)),
            _ => self.inner.release(range),
        }
    }

    fn retire(&self, range: Range<u64>) {
        if self.rule != Rule::RetiredIsWithheld {
            self.inner.retire(range);
        }
    }

    fn withheld(&self) -> Vec<Range<u64>> {
        self.inner.withheld()
    }

    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        // Where there is no such view, what is written takes effect at once.
        if self.rule == Rule::HeaderWaits { None } else { self.inner.in_place() }
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }

    fn status(&self) -> Result<DiskStatus> {
        self.visible().status()
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        self.inner.lock(claim)
    }

    fn hold(&self) -> Result<Held> {
        self.inner.hold()
    }
}

/// A journal's bytes as they would be if whatever is there had been written so: what a program finds
/// that does not look at checksums. The format is told in `journal/FORMAT.md`.
fn forge(journal: &dyn Disk) -> Result<Vec<u8>> {
    const HEADER: usize = 64;
    const COMMIT: u32 = 6;
    let mut bytes = vec![0; journal.len()? as usize];
    let len = journal.read_at(0, &mut bytes)?;
    bytes.truncate(len);
    if len < HEADER {
        return Ok(bytes);
    }
    let mut chain = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&chain.to_le_bytes());
    let (mut at, mut frames) = (HEADER, 0_u64);
    while let Some(frame) = bytes.get(at..at + 12) {
        let number = |from: usize| u32::from_le_bytes(*frame[from..].first_chunk().unwrap_or(&[0; 4]));
        let (kind, end) = (number(0), at + 12 + number(4) as usize);
        if kind == 0 || end > bytes.len() {
            break;
        }
        if kind == COMMIT && end - at == 12 + 40 {
            let hash = blake3::hash(&bytes[..at]);
            bytes[at + 12..at + 20].copy_from_slice(&frames.to_le_bytes());
            bytes[at + 20..end].copy_from_slice(hash.as_bytes());
        }
        chain = crc32c::crc32c_append(chain, &bytes[at..at + 8]);
        chain = crc32c::crc32c_append(chain, &bytes[at + 12..end]);
        bytes[at + 8..at + 12].copy_from_slice(&chain.to_le_bytes());
        (at, frames) = (end, frames + 1);
    }
    Ok(bytes)
}
