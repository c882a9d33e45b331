//! Locks in QEMU's own language, so that QEMU, libvirt and tximg respect one another.
//!
//! Open-file-description read locks: byte `100 + p` says "I use permission p", byte `200 + p`
//! says "nobody else may use permission p". A conflict is found by asking whether a *write* lock
//! could be had on the opposite byte. `flock` does not conflict with these.

use std::ops::BitOr;

/// A set of permissions on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read data that nobody changes meanwhile (bit 0).
    pub const CONSISTENT_READ: Self = Self(1);
    /// Write (bit 1).
    pub const WRITE: Self = Self(1 << 1);
    /// Write what is there already: no visible change (bit 2).
    pub const WRITE_UNCHANGED: Self = Self(1 << 2);
    /// Change the length (bit 3).
    pub const RESIZE: Self = Self(1 << 3);

    /// Whether all of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as QEMU numbers its bits.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a handle uses, and what it denies to every other handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Permissions in use.
    pub using: Permissions,
    /// Permissions that nobody else may use.
    pub denying: Permissions,
}

impl Claim {
    /// No claim at all: drops every lock of the handle.
    pub fn none() -> Self {
        Self { using: Permissions::NONE, denying: Permissions::NONE }
    }

    /// A reader: consistent data, no writers (bytes 100, 201, 203).
    pub fn reader() -> Self {
        Self { using: Permissions::CONSISTENT_READ, denying: Permissions::WRITE | Permissions::RESIZE }
    }

    /// A writer: the only one (bytes 100, 101, 103, 201, 203).
    pub fn writer() -> Self {
        Self {
            using: Permissions::CONSISTENT_READ | Permissions::WRITE | Permissions::RESIZE,
            denying: Permissions::WRITE | Permissions::RESIZE,
        }
    }
}
