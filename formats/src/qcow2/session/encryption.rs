//! Guest data that is encrypted, where the session itself writes some.

use std::sync::Arc;

use journal::Disk;

use super::Session;
use crate::encryption::Encryption;
use crate::encryption::amend::SlotRequest;
use crate::qcow2::encryption::{Encrypted, NewEncryption, Opened, place};
use crate::qcow2::extension::EncryptionHeaderLocation;
use crate::{Allocation, Error, GuestOffset, HostOffset, Result};

/// Zeroes that are written at a time.
const STEP: u64 = 1 << 20;

impl Session {
    /// Encrypts a new image, into which nothing has been written yet.
    pub fn encrypt(&mut self, new: NewEncryption, passphrase: Arc<crypto::Secret>) -> Result<()> {
        self.header.encryption = Some(new.method());
        if let NewEncryption::Luks(volume) = new {
            volume.check()?;
            let (luks, _, material) = volume.make(passphrase.bytes())?;
            let len = luks.payload_offset;
            let offset = self.space.take_bytes(len)?;
            let end = self.geometry.clusters_for(offset.0 + len) << self.geometry.cluster_bits;
            self.content_end = self.content_end.max(end);
            self.files.main.write_at(offset.0, &luks.serialize())?;
            self.files.main.write_at(offset.0 + material.offset, &material.bytes)?;
            self.header.extensions.encryption = Some(EncryptionHeaderLocation { offset, len });
        }
        let find = move |_| Ok(Arc::clone(&passphrase));
        self.encrypted = Encrypted::open(&*self.files.main, &self.header, Some(&find))?;
        Ok(())
    }

    /// What encrypts guest data, if it is encrypted.
    pub(in crate::qcow2) fn encryption(&self) -> Option<&Encryption> {
        self.encrypted.as_ref()?.opened.as_ref().map(|opened| &opened.encryption)
    }

    /// See [`Encrypted`].
    pub(in crate::qcow2) fn encrypted(&self) -> Option<&Encrypted> {
        self.encrypted.as_ref()
    }

    /// Changes key slots of an image that was opened with its key.
    pub fn change_slots(&mut self, request: &SlotRequest) -> Result<()> {
        let location = self.header.extensions.encryption;
        let parts = self.encrypted.as_mut().map(|encrypted| (&mut encrypted.luks, &encrypted.opened));
        let (Some((Some(luks), Some(Opened { passphrase, .. }))), Some(location)) = (parts, location) else {
            return Err(Error::invalid("Only LUKS encryption options can be amended"));
        };
        let disk = self.files.main.in_place().unwrap_or_else(|| Arc::clone(&self.files.main));
        request.apply(luks, place(&*disk, location), passphrase)
    }

    /// Whether the first clusters have had their places from the start.
    pub(in crate::qcow2) fn is_preallocated(&self) -> bool {
        self.tables.has_table(0)
    }

    /// The image file as guest data of a run is read and written in it.
    pub(super) fn guest_disk(&self, at: GuestOffset, offset: HostOffset) -> Arc<dyn Disk> {
        match self.encryption() {
            Some(encryption) => encryption.through(&self.files.main, at, offset),
            None => Arc::clone(&self.files.main),
        }
    }

    /// Writes zeroes as a guest reads them. The space reads as zero bytes.
    pub(super) fn write_guest_zeroes(&self, allocation: &Allocation) -> Result<()> {
        let Some(encryption) = self.encryption() else { return Ok(()) };
        let disk = encryption.through(&allocation.disk, allocation.at, allocation.offset);
        let zeroes = vec![0; allocation.len.min(STEP) as usize];
        let mut done = 0;
        while done < allocation.len {
            let step = (allocation.len - done).min(STEP);
            disk.write_at(allocation.offset.0 + done, &zeroes[..step as usize])?;
            done += step;
        }
        Ok(())
    }
}
