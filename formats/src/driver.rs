//! What a format driver must do.
//!
//! ```text
//!   Driver            every format: size, map, details, files
//!     ├─ Writer       formats that can be written: prepare → link → commit
//!     ├─ Snapshots    internal snapshots
//!     ├─ Bitmaps      persistent dirty bitmaps
//!     └─ check        consistency of its own metadata
//! ```

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use journal::{Disk, Zeroing};

use crate::{
    Amend, BitmapWriter, DiskIdentity, Format, GuestOffset, HostOffset, Mapping, Overlay, Resize, Result,
    SnapshotWriter, Stream,
};

/// A format driver over opened files.
pub trait Driver: Debug + Send + Sync {
    /// The format.
    fn format(&self) -> Format;

    /// Size of the virtual disk in bytes.
    fn virtual_size(&self) -> u64;

    /// What stands behind the guest bytes from `at`, for at most `len` bytes.
    ///
    /// `at + len` is within the virtual size and `len` is not 0; the answer covers at least one
    /// byte and no more than asked.
    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping>;

    /// Whether `map`, `measure` and `compare` tell what [`Driver::map`] does. There are formats of which
    /// QEMU says that all is data, wherever it may be.
    fn tells_allocation(&self) -> bool {
        true
    }

    /// The backing image that the header names.
    fn backing(&self) -> Option<&BackingReference> {
        None
    }

    /// What changes whenever the content does, in formats that remember it of the image behind.
    fn content_id(&self) -> Option<u32> {
        None
    }

    /// What differencing disks on this one remember of it, in formats that have some.
    fn identity(&self) -> Result<Option<DiskIdentity>> {
        Ok(None)
    }

    /// Tells the driver what stands behind its image. Fails where nothing of it may be read, because the
    /// image was put on something else.
    fn stand_on(&mut self, backing: &dyn Driver) -> Result<()> {
        let _ = backing;
        Ok(())
    }

    /// Whether what the image does not hold may be read from what it stands on.
    fn trust_backing(&self) -> Result<()> {
        Ok(())
    }

    /// What `info` prints of this format.
    fn details(&self) -> Result<FormatDetails>;

    /// The files behind the image, the main one first.
    fn files(&self) -> Vec<ImageFile>;

    /// Returns when so many bytes may be read, where there is a limit.
    fn pass_reading(&self, len: u64) {
        let _ = len;
    }

    /// How to write, if the driver can and the image was opened for it.
    fn writer(&self) -> Option<&dyn Writer> {
        None
    }

    /// Internal snapshots, if the format has them.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// Persistent bitmaps, if the format has them.
    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        None
    }

    /// Whether [`Driver::check`] exists.
    fn can_check(&self) -> bool {
        false
    }

    /// Looks for inconsistencies in the image's own metadata, changing nothing.
    ///
    /// What is found is told at once: a damaged image has more of it than fits into memory.
    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        let _ = tell;
        Err(crate::Error::unsupported("This image format does not support checks"))
    }

    /// How its metadata is repaired, if it can be.
    fn repairer(&self) -> Option<&dyn crate::Repairer> {
        None
    }
}

/// How an image is changed.
///
/// Nothing that is linked is visible to another opener before [`Writer::commit`]; an image that
/// is dropped uncommitted is as it was.
pub trait Writer: Debug + Send + Sync {
    /// Prepared ranges start and end on multiples of this many bytes (but for the image's end).
    fn granularity(&self) -> u64;

    /// Finds host space for guest bytes from `at`, for at most `len` bytes.
    ///
    /// The answer is one contiguous run; ask again for the rest. The space is not used by the
    /// committed image unless the format has no other place for these bytes (raw). What was in
    /// the guest range is not copied: write all of it. Runs are handed out in ascending order
    /// where possible.
    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation>;

    /// Puts a written allocation into the image's metadata.
    fn link(&self, allocation: &Allocation) -> Result<()>;

    /// Makes a granular range read as zeroes, whatever the backing image holds.
    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()>;

    /// Gives a granular range back: unallocated where a backing image may show through, else
    /// zeroes.
    fn discard(&self, at: GuestOffset, len: u64) -> Result<()>;

    /// How clusters are compressed, if the format can.
    fn compression(&self) -> Option<Compression> {
        None
    }

    /// What is compressed of all that is written.
    fn compressing(&self) -> Compressing {
        if self.compression().is_some() { Compressing::OnRequest } else { Compressing::Never }
    }

    /// Appends one compressed cluster and links it. The engine has compressed it.
    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        let _ = (at, payload);
        Err(crate::Error::unsupported("Compression not supported for this file format"))
    }

    /// Changes internal snapshots, if the format has them.
    fn snapshots(&self) -> Option<&dyn SnapshotWriter> {
        None
    }

    /// Changes persistent bitmaps, if the format has them.
    fn bitmaps(&self) -> Option<&dyn BitmapWriter> {
        None
    }

    /// Whether guest bytes are written where the committed image has them, because the format
    /// gives them no other place.
    fn overwrites(&self) -> bool {
        false
    }

    /// Whether zeroes are stored as any other bytes.
    fn zeroes_are_data(&self) -> bool {
        false
    }

    /// Whether what was never written of a new image reads as anything.
    fn unwritten_is_noise(&self) -> bool {
        self.zeroes_are_data()
    }

    /// Takes note, where the format does, that what is behind the image holds something else now, and that
    /// this is meant to be.
    fn follow(&self, backing: &dyn Driver) {
        let _ = backing;
    }

    /// What can be done to an image that may stand on another, if the format knows that.
    fn overlay(&self) -> Option<&dyn Overlay> {
        None
    }

    /// Changes features of the format, if it has some that can be changed.
    fn amender(&self) -> Option<&dyn Amend> {
        None
    }

    /// Changes the size of the disk, if the format can.
    fn resizer(&self) -> Option<&dyn Resize> {
        None
    }

    /// Makes everything linked so far visible and durable. With `volatile` it need not be durable
    /// (the caller syncs later, or never).
    fn commit(&self, durability: Durability) -> Result<()>;
}

/// What [`Writer::commit`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// For the disk.
    Durable,
    /// For nothing: the file is synced by whoever publishes it.
    Volatile,
}

/// Host space for a run of guest bytes, not in the metadata until it is linked.
///
/// One that is never linked is released at the commit.
#[derive(Debug, Clone)]
pub struct Allocation {
    /// The first guest byte.
    pub at: GuestOffset,
    /// Bytes in the run.
    pub len: u64,
    /// The file to write to.
    pub disk: Arc<dyn Disk>,
    /// Where in it.
    pub offset: HostOffset,
}

/// A codec of compressed clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Raw deflate with a window of at most 4 KiB when writing.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

/// How a format compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The streams that it makes.
    pub stream: Stream,
    /// Guest bytes in one compressed unit.
    pub cluster_size: u64,
    /// The longest result that is stored; what gets longer is stored as it is.
    pub max_len: u64,
}

/// What a format compresses of all that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressing {
    /// Nothing, and it says so.
    Never,
    /// What it is asked to.
    OnRequest,
    /// Everything, and a part of a unit cannot be written.
    Always,
    /// Everything; a part of a unit is put together with what stands around it.
    Whole,
    /// Nothing, although it can be asked to.
    InVain,
}

/// The backing image as an image names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingReference {
    /// The file name or block-option string, as the bytes in the header.
    pub name: Vec<u8>,
    /// The format, if the header names one.
    pub format: Option<String>,
}

/// A file behind an image.
#[derive(Debug, Clone)]
pub struct ImageFile {
    /// Its role: `file`, `data-file`, `extents.0`.
    pub role: String,
    /// The file.
    pub disk: Arc<dyn Disk>,
    /// The block options it was opened with, once [`crate::image`] knows them.
    pub name: Vec<u8>,
}

/// What `info` prints of a format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatDetails {
    /// Cluster size in bytes, for formats that have one.
    pub cluster_size: Option<u64>,
    /// Whether guest data is encrypted.
    pub encrypted: bool,
    /// Whether the image is all compressed (streamOptimized and the like).
    pub compressed: bool,
    /// Whether the image was not closed cleanly; `None` where the format cannot tell.
    pub dirty: Option<bool>,
    /// The format-specific part, as `info --output=json` shows it under `format-specific`.
    pub specific: Option<serde_json::Value>,
}

/// Internal snapshots.
pub trait Snapshots {
    /// All of them, in the table's order.
    fn list(&self) -> &[SnapshotInfo];

    /// A read-only view of the image as of the snapshot at that place in the list.
    fn view(&self, index: usize) -> Result<Box<dyn Driver>>;
}

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Unique id, decimal by custom, as [`crate::shown`] has it.
    pub id: String,
    /// The name a person gave, as [`crate::shown`] has it.
    pub name: String,
    /// Size of the saved machine state in bytes.
    pub vm_state_size: u64,
    /// When it was taken: seconds since 1970.
    pub date_seconds: u32,
    /// When it was taken: nanoseconds within the second.
    pub date_nanoseconds: u32,
    /// Guest clock in nanoseconds.
    pub vm_clock_nanoseconds: u64,
    /// Instruction count of a recorded execution, if it had one.
    pub icount: Option<u64>,
    /// Size of the virtual disk then, in bytes.
    pub disk_size: u64,
}

/// Persistent dirty bitmaps.
pub trait Bitmaps {
    /// All of them, in the directory's order.
    fn list(&self) -> &[BitmapInfo];

    /// Tells the visitor every dirty run of the bitmap at that place in the list, in guest bytes,
    /// ascending, none touching the next.
    fn visit(&self, index: usize, visitor: &mut dyn FnMut(Range<u64>) -> Result<()>) -> Result<()>;
}

/// A persistent dirty bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapInfo {
    /// Unique name, as [`crate::shown`] has it.
    pub name: String,
    /// Guest bytes per bit, a power of two.
    pub granularity: u64,
    /// Not stored properly: its content cannot be trusted.
    pub in_use: bool,
    /// Records writes when the image is used.
    pub auto: bool,
}

/// One thing that a check found, as the user is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A line that stands for itself.
    Line(String),
    /// A line behind the program's name.
    Complaint(String),
}

/// The sums of what a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Errors that damage or may damage data.
    pub corruptions: u64,
    /// Space that is counted but not used.
    pub leaks: u64,
    /// Things that could not be checked.
    pub check_errors: u64,
    /// Errors that a repair has repaired.
    pub corruptions_fixed: u64,
    /// Leaks that a repair has repaired.
    pub leaks_fixed: u64,
    /// Bytes up to the end of the last used cluster.
    pub image_end_offset: Option<u64>,
    /// Clusters in the virtual disk.
    pub total_clusters: u64,
    /// Clusters with data of their own.
    pub allocated_clusters: u64,
    /// Of these, how many do not follow their predecessor in the file.
    pub fragmented_clusters: u64,
    /// Of these, how many are compressed.
    pub compressed_clusters: u64,
}
