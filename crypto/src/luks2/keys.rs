//! From a passphrase to the volume's key.

use zeroize::Zeroizing;

use super::Header;
use super::kdf::new_key;
use super::metadata::{Digest, Slot};
use crate::{Error, Result, SECTOR, SectorCipher, split};

impl Header {
    /// The cipher of the payload, if the passphrase is that of one of the key slots. `read` fills a buffer with the
    /// bytes from an offset on.
    pub fn unlock<E: From<Error>>(
        &self,
        passphrase: &[u8],
        mut read: impl FnMut(u64, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<SectorCipher, E> {
        let mut failed = None;
        for (number, slot) in &self.metadata.slots {
            let mut material = Zeroizing::new(vec![0; slot.material_len()]);
            read(slot.offset, &mut material)?;
            match slot.open(passphrase, &mut material) {
                Ok(key) if self.is_key(number, &key) => return Ok(self.cipher(&key)?),
                Ok(_) => {}
                // Another slot may do.
                Err(error) => failed = Some(error),
            }
        }
        let wrong = || Error::invalid("Invalid password, cannot unlock any keyslot");
        Err(failed.unwrap_or_else(wrong).into())
    }

    /// Whether a key from that slot is the payload's.
    fn is_key(&self, slot: &str, key: &[u8]) -> bool {
        let digests =
            self.metadata.digests.iter().filter(|digest| digest.slots.iter().any(|other| other == slot));
        digests.into_iter().any(|digest| digest.is_of(key))
    }

    fn cipher(&self, key: &[u8]) -> Result<SectorCipher> {
        let segment = &self.metadata.segment;
        if segment.scheme.key_len() != key.len() {
            return Err(Error::corrupt("The key in the LUKS header is not one of the payload's cipher"));
        }
        let cipher = SectorCipher::new(&segment.scheme, key)?;
        Ok(cipher.with_sectors(segment.sector_size as usize, segment.iv_tweak))
    }
}

impl Slot {
    /// Bytes of its key material, whole sectors.
    fn material_len(&self) -> usize {
        (self.key_len * self.stripes as usize).next_multiple_of(SECTOR)
    }

    /// What the passphrase makes of the key material: a key, though not always the right one.
    fn open(&self, passphrase: &[u8], material: &mut Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
        let mut key = new_key(self.scheme.key_len());
        self.kdf.derive(passphrase, &self.salt, &mut key)?;
        SectorCipher::new(&self.scheme, &key)?.decrypt(0, material);
        material.truncate(self.key_len * self.stripes as usize);
        Ok(split::merge(self.split_hash, material, self.key_len))
    }
}

impl Digest {
    fn is_of(&self, key: &[u8]) -> bool {
        let mut digest = new_key(self.digest.len());
        self.hash.derive(key, &self.salt, self.iterations, &mut digest);
        *digest == self.digest
    }
}
