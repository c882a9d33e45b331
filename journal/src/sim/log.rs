//! What happened, in order.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A simulated file, whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// A range was made zeroes.
    Zero {
        /// The file.
        file: FileId,
        /// The range.
        range: Range<u64>,
    },
    /// The file was cut or grown.
    SetLen {
        /// The file.
        file: FileId,
        /// The new length.
        len: u64,
    },
    /// Everything before, of this file, became durable.
    Sync {
        /// The file.
        file: FileId,
    },
    /// A sync failed: of what was not synced, anything may be on the disk, for ever.
    SyncFailed {
        /// The file.
        file: FileId,
        /// What the page cache holds from then on.
        pages: CachedPages,
    },
    /// A name was given to a file, instead of the one that had it.
    Name {
        /// The name.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// A name was changed, in place of what had the new one.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// A name was taken away.
    Remove {
        /// The name.
        path: PathBuf,
    },
    /// Everything before, of the names in this directory, became durable.
    SyncDirectory {
        /// The directory.
        path: PathBuf,
    },
}

impl Event {
    /// Whether `self`, a sync, makes `earlier` durable.
    pub(super) fn settles(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Sync { file }, _) => earlier.changed_file() == Some(*file),
            (Self::SyncDirectory { path }, Self::Name { path: of, .. } | Self::Remove { path: of }) => {
                of.parent() == Some(path)
            }
            // A journaling filesystem moves a name in one step, whichever directory is synced.
            (Self::SyncDirectory { path }, Self::Rename { from, to }) => {
                from.parent() == Some(path) || to.parent() == Some(path)
            }
            _ => false,
        }
    }

    /// Whether the event changes what is on the disk at all.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, Self::Sync { .. } | Self::SyncFailed { .. } | Self::SyncDirectory { .. })
    }

    /// The file whose bytes or length the event changes.
    pub(super) fn changed_file(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::Zero { file, .. } | Self::SetLen { file, .. } => Some(*file),
            _ => None,
        }
    }
}

/// What the page cache holds after a failed sync; filesystems differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachedPages {
    /// What was written, marked as clean: it will not be tried again (ext4, XFS).
    Kept,
    /// What is on the disk: what was written is gone (btrfs).
    Reverted,
}
