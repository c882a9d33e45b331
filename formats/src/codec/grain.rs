//! Compressed grains of VMDK images behind their markers.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What stands before a compressed grain (Virtual Disk Format 1.1, "Grain Markers").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Marker {
    /// The first sector of the disk that it holds.
    pub(crate) sector: U64,
    /// Bytes of the stream that follows.
    pub(crate) len: U32,
}

/// The stream behind the marker at the start of a payload.
pub(super) fn stream(payload: &[u8]) -> Option<&[u8]> {
    let (marker, rest) = Marker::ref_from_prefix(payload).ok()?;
    rest.get(..marker.len.get() as usize).filter(|stream| !stream.is_empty())
}
