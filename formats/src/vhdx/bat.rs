//! Entries of the block table.

use super::header::MIB;

/// What an entry says of a block ([MS-VHDX] 2.5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Reads as zeroes: never written, unmapped, or zero.
    Zero,
    /// All of it is in the file.
    Present(u64),
    /// What no image without a parent has.
    Unreadable,
}

const STATE: u64 = 7;
const STATE_ZERO: u64 = 2;
const STATE_PRESENT: u64 = 6;

impl Block {
    /// What an entry says.
    pub fn of(entry: u64) -> Self {
        match entry & STATE {
            STATE_PRESENT => Self::Present(entry & !(MIB - 1)),
            4 | 7 => Self::Unreadable,
            _ => Self::Zero,
        }
    }

    /// The entry that says it.
    pub fn entry(self) -> u64 {
        match self {
            Self::Present(host) => host | STATE_PRESENT,
            Self::Zero | Self::Unreadable => STATE_ZERO,
        }
    }
}
