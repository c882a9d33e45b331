//! Where guest bytes are.

use std::sync::Arc;

use journal::Disk;

use crate::{Codec, GuestOffset, HostOffset};

/// One run of guest bytes and what stands behind it.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Length of the run in bytes, from the offset that was asked for.
    pub len: u64,
    /// What stands behind it.
    pub target: Target,
}

/// What stands behind a run of guest bytes.
#[derive(Debug, Clone)]
pub enum Target {
    /// Plain bytes, one after another.
    Data {
        /// The file that holds them.
        disk: Arc<dyn Disk>,
        /// Where the run starts in it.
        offset: HostOffset,
        /// Whether holes of the file are worth asking for: the format keeps no better record of
        /// zeroes here (raw, or metadata that was preallocated over a sparse file).
        holes: bool,
    },
    /// Reads as zeroes, whatever the backing image holds.
    Zero {
        /// Space kept for the run, if it has any.
        host: Option<(Arc<dyn Disk>, HostOffset)>,
    },
    /// One compressed cluster (never more), perhaps asked for in its middle.
    Compressed(CompressedRun),
    /// Not in this image: the backing image decides, or it is zeroes.
    Unallocated,
}

/// A compressed cluster.
#[derive(Debug, Clone)]
pub struct CompressedRun {
    /// The file that holds it.
    pub disk: Arc<dyn Disk>,
    /// Where the compressed bytes start.
    pub offset: HostOffset,
    /// At most how many bytes they are; the stream may end earlier.
    pub len: u64,
    /// Where the cluster starts in the guest.
    pub cluster: GuestOffset,
    /// How many guest bytes it holds.
    pub cluster_size: u64,
    /// How it is compressed.
    pub codec: Codec,
}
