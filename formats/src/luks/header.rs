//! The header in its file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto::luks::{Header, Payload};
use crypto::{Secret, SectorCipher};
use journal::Disk;

use crate::encryption::amend::{Place, SlotRequest};
use crate::encryption::details::Placed;
use crate::error::ResultExt;
use crate::{Durability, Result};

/// A header, and the file that it stands at the beginning of.
#[derive(Debug)]
pub(super) struct HeaderFile {
    disk: Arc<dyn Disk>,
    header: Mutex<Header>,
    placed: Placed,
}

impl HeaderFile {
    /// A header that stands in a file.
    pub(super) fn new(disk: Arc<dyn Disk>, header: Header, placed: Placed) -> Self {
        Self { disk, header: Mutex::new(header), placed }
    }

    /// Reads the header of a file.
    pub(super) fn open(disk: Arc<dyn Disk>, placed: Placed) -> Result<Self> {
        let disk = disk.in_place().unwrap_or(disk);
        let mut bytes = [0; Header::LEN];
        disk.read_padded(0, &mut bytes).context(|| "Unable to read LUKS header".to_owned())?;
        let payload = match placed {
            Placed::Attached => Payload::Behind,
            Placed::Detached => Payload::Elsewhere,
        };
        let header = Header::parse(&bytes, payload)?;
        Ok(Self::new(disk, header, placed))
    }

    pub(super) fn placed(&self) -> Placed {
        self.placed
    }

    /// The header as it is now.
    pub(super) fn header(&self) -> MutexGuard<'_, Header> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cipher of the payload.
    pub(super) fn unlock(&self, passphrase: &Secret) -> Result<SectorCipher> {
        self.place().unlock(&self.header(), passphrase)
    }

    /// Changes key slots.
    pub(super) fn change(&self, request: &SlotRequest, passphrase: &Secret) -> Result<()> {
        request.apply(&mut self.header(), self.place(), passphrase)
    }

    /// Makes a header in a file of its own durable; another one is so with its image.
    pub(super) fn commit(&self, durability: Durability) -> Result<()> {
        match (self.placed, durability) {
            (Placed::Detached, Durability::Durable) => Ok(self.disk.sync()?),
            _ => Ok(()),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { disk: &*self.disk, start: 0, len: None }
    }

    /// Where the payload begins in the file of the guest's bytes.
    pub(super) fn payload_in_image(&self) -> u64 {
        match self.placed {
            Placed::Attached => self.header().payload_offset,
            Placed::Detached => 0,
        }
    }
}
