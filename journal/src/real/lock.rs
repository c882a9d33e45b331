//! QEMU's byte locks on a real file.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::sys::{self, ByteLock};
use crate::{Claim, Error, ErrorKind, Permissions, Result};

/// Byte `USING + p` says that permission `p` is in use.
const USING: u64 = 100;
/// Byte `DENYING + p` says that nobody else may use permission `p`.
const DENYING: u64 = 200;

/// A permission and the two complaints about it, worded as QEMU words them.
struct Entry {
    permission: Permissions,
    in_vain: &'static str,
    not_shared: &'static str,
}

const TABLE: [Entry; 4] = [
    Entry {
        permission: Permissions::CONSISTENT_READ,
        in_vain: "Failed to get \"consistent read\" lock",
        not_shared: "Failed to get shared \"consistent read\" lock",
    },
    Entry {
        permission: Permissions::WRITE,
        in_vain: "Failed to get \"write\" lock",
        not_shared: "Failed to get shared \"write\" lock",
    },
    Entry {
        permission: Permissions::WRITE_UNCHANGED,
        in_vain: "Failed to get \"write unchanged\" lock",
        not_shared: "Failed to get shared \"write unchanged\" lock",
    },
    Entry {
        permission: Permissions::RESIZE,
        in_vain: "Failed to get \"resize\" lock",
        not_shared: "Failed to get shared \"resize\" lock",
    },
];

/// The locks that one handle holds.
#[derive(Debug)]
pub(super) struct Locks {
    held: Claim,
    supported: Option<bool>,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self { held: Claim::none(), supported: None }
    }

    /// Changes what is held to `claim`, or leaves it as it is.
    pub(super) fn change(&mut self, fd: BorrowedFd<'_>, path: &Path, claim: Claim) -> Result<()> {
        if !*self.supported.get_or_insert_with(|| is_supported(fd, path)) {
            return Ok(());
        }
        let before = bytes(self.held);
        let after = bytes(claim);
        let fresh: Vec<u64> = after.iter().copied().filter(|byte| !before.contains(byte)).collect();
        if let Err(error) = take(fd, path, &fresh).and_then(|()| look_for_conflict(fd, path, claim)) {
            release(fd, &fresh);
            return Err(error);
        }
        self.held = claim;
        let stale: Vec<u64> = before.into_iter().filter(|byte| !after.contains(byte)).collect();
        release(fd, &stale);
        Ok(())
    }
}

/// Every byte that a claim locks.
fn bytes(claim: Claim) -> Vec<u64> {
    let of =
        |base: u64, set: Permissions| (0..8).filter(move |p| set.bits() >> p & 1 == 1).map(move |p| base + p);
    of(USING, claim.using).chain(of(DENYING, claim.denying)).collect()
}

/// Filesystems without these locks (some network ones) are used without, as QEMU does.
fn is_supported(fd: BorrowedFd<'_>, path: &Path) -> bool {
    match sys::byte_is_locked(fd, USING) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "No file locks here.");
            false
        }
    }
}

fn take(fd: BorrowedFd<'_>, path: &Path, bytes: &[u64]) -> Result<()> {
    bytes.iter().try_for_each(|&byte| sys::set_byte_lock(fd, byte, ByteLock::Share)).map_err(|error| {
        match error.kind() {
            // Only a program that speaks another lock protocol holds these bytes exclusively.
            io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied => {
                Error::new(ErrorKind::Locked, "Failed to lock the image", path, None)
            }
            _ => Error::os("lock", path, None, error),
        }
    })
}

fn release(fd: BorrowedFd<'_>, bytes: &[u64]) {
    for &byte in bytes {
        if let Err(error) = sys::set_byte_lock(fd, byte, ByteLock::Release) {
            tracing::warn!(byte, %error, "A lock could not be released.");
        }
    }
}

/// Asks for the opposite of each byte of the claim.
fn look_for_conflict(fd: BorrowedFd<'_>, path: &Path, claim: Claim) -> Result<()> {
    let is_locked =
        |byte| sys::byte_is_locked(fd, byte).map_err(|error| Error::os("query locks of", path, None, error));
    let number = |entry: &Entry| u64::from(entry.permission.bits().trailing_zeros());
    for entry in TABLE.iter().filter(|entry| claim.using.contains(entry.permission)) {
        if is_locked(DENYING + number(entry))? {
            return Err(Error::new(ErrorKind::Locked, entry.in_vain, path, None));
        }
    }
    for entry in TABLE.iter().filter(|entry| claim.denying.contains(entry.permission)) {
        if is_locked(USING + number(entry))? {
            return Err(Error::new(ErrorKind::Locked, entry.not_shared, path, None));
        }
    }
    Ok(())
}
