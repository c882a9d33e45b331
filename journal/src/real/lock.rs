//! QEMU's byte locks on a real file.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::sys::{self, ByteLock};
use crate::lock::{DENYING, Foreign, USING, find_conflict};
use crate::{Claim, Error, ErrorKind, Permissions, Result};

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
    let conflict = find_conflict(claim, |foreign, number| {
        let base = match foreign {
            Foreign::Using => USING,
            Foreign::Denying => DENYING,
        };
        sys::byte_is_locked(fd, base + u64::from(number))
            .map_err(|error| Error::os("query locks of", path, None, error))
    })?;
    conflict.map_or(Ok(()), |complaint| Err(Error::new(ErrorKind::Locked, complaint, path, None)))
}
