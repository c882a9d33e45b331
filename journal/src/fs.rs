//! Names: the only place that makes, publishes or removes them.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Disk, DiskStatus, Result};

/// A tree of names and the files behind them: the real one, or a simulated one.
pub trait Fs: Debug + Send + Sync {
    /// Opens an existing file.
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>>;

    /// What stands at `path` (links followed), or `None` if nothing does.
    ///
    /// The file is not opened, so the length of a device and the direct alignment are not told.
    fn status(&self, path: &Path) -> Result<Option<DiskStatus>>;

    /// Begins a new file that will stand at `target`.
    ///
    /// Where the target can be replaced by a name change, the draft is invisible until
    /// [`Draft::publish`] and the old content stays until then. Where it cannot (a device, a file
    /// with other hard links, a directory that cannot be written), the draft *is* the target,
    /// emptied at once, and [`Draft::is_atomic`] is false.
    ///
    /// An existing target must not be in use: its write lock is taken first and held by the
    /// draft.
    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>>;

    /// Makes an empty file at `path`, where nothing may stand. Neither it nor its name is durable
    /// yet. Only its owner may read it.
    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>>;

    /// Gives the file at `from` the name `to`, in place of what has it. Both are in the same
    /// filesystem. Not durable yet.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Gives the file at `existing` one more name, which must be free. Both are in the same
    /// filesystem. Not durable yet.
    fn link(&self, existing: &Path, name: &Path) -> Result<()>;

    /// Takes a name away. Not durable yet.
    fn unlink(&self, path: &Path) -> Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> Result<()>;

    /// Removes a name durably.
    fn remove(&self, path: &Path) -> Result<()> {
        self.unlink(path)?;
        self.sync_directory(directory_of(path))
    }

    /// The path with symbolic links resolved, as far as it exists.
    fn resolve(&self, path: &Path) -> Result<PathBuf>;
}

/// A file that is being made. Dropping it unpublished leaves the target as it was.
pub trait Draft: Debug + Send + Sync {
    /// The file's bytes.
    fn disk(&self) -> Arc<dyn Disk>;

    /// Where it will stand, as the caller named it.
    fn target(&self) -> &Path;

    /// Whether the target keeps its old content until [`Draft::publish`].
    fn is_atomic(&self) -> bool;

    /// Makes the bytes durable, gives the file its name, and makes the name durable.
    fn publish(self: Box<Self>) -> Result<()>;

    /// The names that a draft has before and after it is published in two steps, symbolic links
    /// resolved; `None` for one that is not atomic.
    fn stage_names(&self) -> Option<StageNames>;

    /// Makes the bytes durable and gives the file its hidden name, so that it can be published by a
    /// [`Fs::rename`] even if this process ends. Only for an atomic draft.
    ///
    /// The hidden name is not durable yet, and stays until it is renamed or unlinked.
    fn stage(self: Box<Self>, names: &StageNames) -> Result<StagedFile>;
}

/// Two names in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageNames {
    /// The hidden name of a file that is not published.
    pub hidden: PathBuf,
    /// The name that it is to have.
    pub target: PathBuf,
}

/// A draft that waits for its publication under a hidden name.
#[derive(Debug)]
pub struct StagedFile {
    /// The file.
    pub disk: Arc<dyn Disk>,
    /// What has the name now; it stays open for its locks.
    pub old: Option<Arc<dyn Disk>>,
}

/// The directory that a path's last name stands in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How to open an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOptions {
    /// Reading only, or writing too.
    pub access: Access,
    /// What the page cache may do for this handle.
    pub caching: Caching,
    /// What the name may lead to.
    pub following: Following,
}

impl OpenOptions {
    /// For reading, through the page cache.
    pub const READ: Self =
        Self { access: Access::Read, caching: Caching::Cached, following: Following::Links };
    /// For reading and writing, through the page cache.
    pub const WRITE: Self = Self { access: Access::Write, ..Self::READ };
}

/// What a name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// Anything: symbolic links are followed.
    Links,
    /// Only what has that name itself; nobody waits for the other end of a FIFO.
    Nothing,
}

/// What a handle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// What the page cache may do for a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Everything; bulk writes may go past it.
    Cached,
    /// Nothing: every transfer goes past it (`O_DIRECT`), bounced where unaligned.
    Direct,
}

/// How to begin a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DraftOptions {
    /// Ask the filesystem for no copy-on-write on this file (btrfs), best effort.
    pub nocow: bool,
    /// Extent size hint in bytes (XFS), best effort.
    pub extent_size_hint: Option<u64>,
    /// Skip every `fsync`: the caller asked for a file that may be lost.
    pub volatile: bool,
}
