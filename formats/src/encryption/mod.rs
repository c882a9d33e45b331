//! Encrypted guest data, for every format that has it.
//!
//! ```text
//!   driver ── maps ──► Target::Data, Allocation: (file, offset)
//!                          │  Encryption puts in place of the file:
//!                          ▼
//!                      CipherDisk: the same bytes, encrypted on the way in, decrypted on the way out
//! ```
//!
//! So the engine knows nothing of it: whoever reads or writes what a driver maps does the ciphering, on
//! its own thread. An image without encryption takes no part in any of this.
//!
//! [`options`]: what new images are asked for. [`details`]: what is told of a header. [`amend`]: what
//! can be changed of one.

pub(crate) mod amend;
pub(crate) mod details;
mod disk;
pub(crate) mod options;

use std::sync::Arc;

use crypto::SectorCipher;
use journal::Disk;

use self::disk::CipherDisk;
use crate::{Allocation, Error, ErrorKind, GuestOffset, Holes, HostOffset, Mapping, Target};

/// Where sectors are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// The file's first byte.
    Host,
    /// The guest's first byte.
    Guest,
}

/// How the guest data of an image is encrypted, with its key.
#[derive(Debug, Clone)]
pub(crate) struct Encryption {
    cipher: Arc<SectorCipher>,
    numbering: Numbering,
}

impl Encryption {
    pub(crate) fn new(cipher: SectorCipher, numbering: Numbering) -> Self {
        Self { cipher: Arc::new(cipher), numbering }
    }

    /// The file as seen through the cipher, for the run whose first byte is these two.
    pub(crate) fn through(&self, disk: &Arc<dyn Disk>, at: GuestOffset, offset: HostOffset) -> Arc<dyn Disk> {
        let shift = match self.numbering {
            Numbering::Host => 0,
            Numbering::Guest => at.0.wrapping_sub(offset.0),
        };
        Arc::new(CipherDisk::new(Arc::clone(disk), Arc::clone(&self.cipher), shift))
    }

    /// A mapping of encrypted bytes as one of plain bytes.
    pub(crate) fn decrypted(&self, mut mapping: Mapping, at: GuestOffset) -> Mapping {
        match &mut mapping.target {
            Target::Data { disk, offset, holes } => {
                *disk = self.through(disk, at, *offset);
                *holes = Holes::Nowhere;
            }
            Target::Zero { host } | Target::Unallocated { host } => *host = None,
            Target::Compressed(_) => {}
        }
        mapping
    }

    /// Space for plain bytes in the place of space for encrypted ones.
    pub(crate) fn encrypting(&self, mut allocation: Allocation) -> Allocation {
        allocation.disk = self.through(&allocation.disk, allocation.at, allocation.offset);
        allocation
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        let kind = match error {
            crypto::Error::Corrupt(_) => ErrorKind::Corrupt,
            crypto::Error::Unsupported(_) => ErrorKind::Unsupported,
            crypto::Error::Invalid(_) => ErrorKind::Invalid,
            crypto::Error::NotFound(_) => ErrorKind::NotFound,
        };
        Self::new(kind, error.to_string())
    }
}
