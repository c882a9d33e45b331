//! Entries of the block table.

use super::header::MIB;

/// What an entry says of a block ([MS-VHDX] 2.5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Reads as zeroes: never written, unmapped, or zero.
    Zero,
    /// All of it is in the file.
    Present(u64),
    /// Sectors that are marked in a bitmap are in the file, the others are the parent's.
    Partial(u64),
    /// The parent's.
    Parent,
    /// What no image without a parent has.
    Unreadable,
}

const STATE: u64 = 7;
const STATE_ZERO: u64 = 2;
const STATE_PRESENT: u64 = 6;

impl Block {
    /// What an entry says.
    pub fn of(entry: u64, has_parent: bool) -> Self {
        let host = entry & !(MIB - 1);
        match entry & STATE {
            STATE_PRESENT => Self::Present(host),
            7 if has_parent => Self::Partial(host),
            0 if has_parent => Self::Parent,
            4 | 7 => Self::Unreadable,
            _ => Self::Zero,
        }
    }

    /// The entry of a block that is in the file.
    pub fn present(host: u64) -> u64 {
        host | STATE_PRESENT
    }

    /// The entry of a block that reads as zeroes.
    pub fn zero() -> u64 {
        STATE_ZERO
    }
}
