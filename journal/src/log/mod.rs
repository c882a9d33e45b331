//! The journal's own file: what is in it, byte by byte. `FORMAT.md` is the specification.
//!
//! ```text
//!   header  frame  frame  …  COMMIT  (signs of life)
//!     │       └ checksum chained to the one before
//!     └ salt, so that a frame of an older journal never fits
//! ```

mod read;
mod record;
mod write;

pub(crate) use read::{Journal, Scan};
pub(crate) use record::{
    Before, FileFlags, FileRecord, Identity, LengthRecord, NameChange, NameRecord, Patch, PatchBytes,
    sector_checksums, sectors,
};
pub(crate) use write::Writer;

/// The first bytes of a journal.
pub(crate) const MAGIC: [u8; 8] = *b"TXIMGJNL";
/// The first bytes of a file that only says where the journal is.
pub(crate) const POINTER_MAGIC: [u8; 8] = *b"TXIMGPTR";
/// The version that this program writes, and the only one it reads.
pub(crate) const VERSION: u32 = 1;
/// Bytes of the header.
pub(crate) const HEADER_LEN: u64 = 64;
/// Bytes before a frame's payload.
pub(crate) const FRAME_HEADER_LEN: u64 = 12;
/// The longest payload of a frame.
pub(crate) const MAX_PAYLOAD: u32 = 16 << 20;
/// The unit in which old bytes are checked: what a disk writes whole or not at all.
pub(crate) const SECTOR: u64 = 512;
/// A patch whose old bytes are kept whole is at most so long; of a longer one there are checksums.
pub(crate) const WHOLE_AT_MOST: u64 = 4096;
/// The longest patch in one frame.
pub(crate) const MAX_PATCH: u64 = 8 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// A file that later frames number.
    File = 1,
    /// New bytes that a patch refers to.
    Payload = 2,
    /// A range of a file, its old and its new bytes.
    Patch = 3,
    /// A file's old and new length.
    Length = 4,
    /// A change of names.
    Name = 5,
    /// Everything before is decided.
    Commit = 6,
    /// After the commit: the program that applies it is alive.
    Alive = 7,
}

impl Kind {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::File, Self::Payload, Self::Patch, Self::Length, Self::Name, Self::Commit, Self::Alive]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// The checksum of a frame, from that of the frame before it.
pub(crate) fn chain(before: u32, kind: u32, payload: &[u8]) -> u32 {
    let mut head = [0; 8];
    head[..4].copy_from_slice(&kind.to_le_bytes());
    head[4..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(before, &head), payload)
}
