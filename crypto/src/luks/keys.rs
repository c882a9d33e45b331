//! From a passphrase to the master key.

use zeroize::Zeroizing;

use super::header::{Header, Slot};
use crate::{Error, Result, SectorCipher, split};

/// Bytes of the master key's digest.
pub(super) const DIGEST_LEN: usize = 20;

/// The key of a volume's payload, wiped when it is dropped.
pub struct MasterKey {
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl Header {
    /// Tries the passphrase on every slot that holds a key. `read` fills a buffer with the bytes from an
    /// offset on.
    pub fn unlock<E: From<Error>>(
        &self,
        passphrase: &[u8],
        mut read: impl FnMut(u64, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<MasterKey, E> {
        for slot in &self.slots {
            let mut material = self.new_material();
            if slot.iterations.is_none() {
                continue;
            }
            read(slot.key_offset, &mut material)?;
            if let Some(key) = self.open_slot(slot, passphrase, material)? {
                return Ok(key);
            }
        }
        Err(Error::invalid("Invalid password, cannot unlock any keyslot").into())
    }

    /// Room for the key material of one slot.
    pub fn new_material(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(vec![0; self.material_len() as usize])
    }

    /// The master key, if the passphrase is that of the slot with this key material.
    pub fn open_slot(
        &self,
        slot: &Slot,
        passphrase: &[u8],
        mut material: Zeroizing<Vec<u8>>,
    ) -> Result<Option<MasterKey>> {
        let Some(iterations) = slot.iterations else { return Ok(None) };
        self.slot_cipher(passphrase, &slot.salt, iterations)?.decrypt(0, &mut material);
        let key_len = self.scheme.key_len();
        material.truncate(key_len * Slot::STRIPES as usize);
        let key = split::merge(self.hash, &material, key_len);
        Ok((self.digest(&key) == self.key_digest).then_some(MasterKey { bytes: key }))
    }

    /// The cipher of a slot's key material.
    pub(super) fn slot_cipher(
        &self,
        passphrase: &[u8],
        salt: &[u8],
        iterations: u32,
    ) -> Result<SectorCipher> {
        let mut key = Zeroizing::new(vec![0; self.scheme.key_len()]);
        self.hash.derive(passphrase, salt, iterations, &mut key);
        SectorCipher::new(&self.scheme, &key)
    }

    pub(super) fn digest(&self, key: &[u8]) -> [u8; DIGEST_LEN] {
        let mut digest = [0; DIGEST_LEN];
        self.hash.derive(key, &self.digest_salt, self.digest_iterations, &mut digest);
        digest
    }

    /// The cipher of the payload.
    pub fn payload_cipher(&self, key: &MasterKey) -> Result<SectorCipher> {
        SectorCipher::new(&self.scheme, &key.bytes)
    }
}
