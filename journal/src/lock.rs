//! Locks in QEMU's own language, so that QEMU, libvirt and tximg respect one another.
//!
//! Open-file-description read locks: byte `100 + p` says "I use permission p", byte `200 + p`
//! says "nobody else may use permission p". A conflict is found by asking whether a *write* lock
//! could be had on the opposite byte. `flock` does not conflict with these.

use std::ops::BitOr;
use std::path::PathBuf;

use crate::real::{Holder, holders};
use crate::{Error, ErrorKind};

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
///
/// qemu-img claims, by what it does with a file:
///
/// | file | claim | bytes |
/// |---|---|---|
/// | any image, its header only (`info`) | [`Claim::inspector`]; raw: none | 201, 203 |
/// | an image with metadata, read | [`Claim::reader`] | 100, 201, 203 |
/// | a raw image, read | [`Claim::raw_reader`] | 100 |
/// | the source of `convert`, raw or not | [`Claim::reader`] | 100, 201, 203 |
/// | an image with metadata, written | [`Claim::writer`] | 100, 101, 103, 201, 203 |
/// | a raw image, written within its length | [`Claim::raw_writer`] | 100, 101 |
///
/// A raw image has no metadata that two writers could tear, so it is shared with a running guest.
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

    /// Looks at metadata that nobody may change meanwhile.
    pub fn inspector() -> Self {
        Self { using: Permissions::NONE, denying: Permissions::WRITE | Permissions::RESIZE }
    }

    /// A reader: consistent data, no writers.
    pub fn reader() -> Self {
        Self { using: Permissions::CONSISTENT_READ, ..Self::inspector() }
    }

    /// A reader that others may write beside.
    pub fn raw_reader() -> Self {
        Self { using: Permissions::CONSISTENT_READ, ..Self::none() }
    }

    /// A writer: the only one.
    pub fn writer() -> Self {
        Self {
            using: Permissions::CONSISTENT_READ | Permissions::WRITE | Permissions::RESIZE,
            ..Self::inspector()
        }
    }

    /// A writer that others may write beside; the length stays.
    pub fn raw_writer() -> Self {
        Self { using: Permissions::CONSISTENT_READ | Permissions::WRITE, ..Self::none() }
    }
}

/// A permission's number, and the complaints about it as QEMU words them.
struct Complaints {
    number: u8,
    /// Somebody denies what is wanted.
    denied: &'static str,
    /// Somebody uses what is to be denied.
    in_use: &'static str,
}

const COMPLAINTS: [Complaints; 4] = [
    Complaints {
        number: 0,
        denied: "Failed to get \"consistent read\" lock",
        in_use: "Failed to get shared \"consistent read\" lock",
    },
    Complaints {
        number: 1,
        denied: "Failed to get \"write\" lock",
        in_use: "Failed to get shared \"write\" lock",
    },
    Complaints {
        number: 2,
        denied: "Failed to get \"write unchanged\" lock",
        in_use: "Failed to get shared \"write unchanged\" lock",
    },
    Complaints {
        number: 3,
        denied: "Failed to get \"resize\" lock",
        in_use: "Failed to get shared \"resize\" lock",
    },
];

/// Byte `USING + p` of a file says that permission `p` is in use.
pub(crate) const USING: u64 = 100;
/// Byte `DENYING + p` says that nobody else may use permission `p`.
pub(crate) const DENYING: u64 = 200;

/// The byte on which somebody else's lock is the reason of a complaint.
fn byte_of(complaint: &str) -> Option<u64> {
    COMPLAINTS.iter().find_map(|entry| match complaint {
        _ if complaint == entry.denied => Some(DENYING + u64::from(entry.number)),
        _ if complaint == entry.in_use => Some(USING + u64::from(entry.number)),
        _ => None,
    })
}

/// A lock that was refused, because of what others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLock {
    path: PathBuf,
    byte: Option<u64>,
}

impl RefusedLock {
    /// The one that an error tells of, if it tells of one.
    pub fn of(error: &Error) -> Option<Self> {
        let refused = || Self { path: error.path().to_owned(), byte: byte_of(error.op()) };
        (error.kind() == ErrorKind::Locked).then(refused)
    }

    /// Who stands against it, as far as that can be seen: processes of other users, in other
    /// containers or on other machines cannot.
    pub fn holders(&self) -> Vec<Holder> {
        self.byte.map_or_else(Vec::new, |byte| holders(&self.path, byte))
    }
}

/// What others do with a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// They use it.
    Using,
    /// They deny it to everybody else.
    Denying,
}

/// The first complaint about `claim`, if `asks` finds that others stand against it.
pub(crate) fn find_conflict(
    claim: Claim,
    mut asks: impl FnMut(Foreign, u8) -> crate::Result<bool>,
) -> crate::Result<Option<&'static str>> {
    let has = |set: Permissions, number: u8| set.bits() >> number & 1 == 1;
    for entry in COMPLAINTS.iter().filter(|entry| has(claim.using, entry.number)) {
        if asks(Foreign::Denying, entry.number)? {
            return Ok(Some(entry.denied));
        }
    }
    for entry in COMPLAINTS.iter().filter(|entry| has(claim.denying, entry.number)) {
        if asks(Foreign::Using, entry.number)? {
            return Ok(Some(entry.in_use));
        }
    }
    Ok(None)
}
