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
        /// What a hole of the file means for the guest bytes over it.
        holes: Holes,
    },
    /// Reads as zeroes, whatever the backing image holds.
    Zero {
        /// Space kept for the run, if it has any.
        host: Option<(Arc<dyn Disk>, HostOffset)>,
    },
    /// One compressed cluster (never more), perhaps asked for in its middle.
    Compressed(CompressedRun),
    /// Not in this image: the backing image decides, or it is zeroes.
    Unallocated {
        /// Space kept for the run, if it has any: the rest of a cluster of which only some
        /// subclusters are in use.
        host: Option<(Arc<dyn Disk>, HostOffset)>,
    },
}

/// What a hole of the file means for the guest bytes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Nothing: the format keeps its own record of zeroes, so the file is not asked.
    Ignored,
    /// The bytes are known to be zero, yet they are data of the image (metadata that was
    /// preallocated over a sparse file).
    Zero,
    /// The format is transparent (raw): what the file says is what the image says.
    Transparent,
    /// Nothing, and where the bytes are is no place of the guest's: they are encrypted, or made up.
    Nowhere,
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
    pub stream: Stream,
}

/// How a cluster is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// As clusters are also written.
    Codec(Codec),
    /// A zlib stream, exactly as long as the cluster.
    Zlib,
    /// A bzip2 stream, exactly as long as the cluster.
    Bzip2,
    /// An LZFSE stream, exactly as long as the cluster.
    Lzfse,
    /// A stream of Apple Data Compression, exactly as long as the cluster.
    Adc,
    /// A zlib stream of a VMDK image.
    Grain {
        /// What is around it.
        framing: Framing,
        /// How many bytes of the cluster it fills at least; the others are behind the disk's end.
        least: u32,
    },
}

/// What is around a compressed grain of a VMDK image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Nothing.
    Bare,
    /// A marker before it, which tells how long it is.
    Marked,
}

impl From<Codec> for Stream {
    fn from(codec: Codec) -> Self {
        Self::Codec(codec)
    }
}
