//! New volumes, and changes of key slots.

use zeroize::Zeroizing;

use super::header::{Header, SLOTS, Slot, slot_offset};
use super::keys::{DIGEST_LEN, MasterKey};
use crate::{Error, Hash, Result, Scheme, SectorCipher, random, split};

/// Fewer iterations are never used.
const MIN_ITERATIONS: u64 = 1000;
/// The master key's digest takes this part of the time.
const DIGEST_SHARE: u64 = 8;
/// Opening a slot takes all of it.
const SLOT_SHARE: u64 = 1;

/// A volume to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewVolume {
    /// How it is to be encrypted.
    pub scheme: Scheme,
    /// The hash of passphrases.
    pub hash: Hash,
    /// Milliseconds that trying a passphrase shall take.
    pub iter_time: u64,
}

/// Key material and where it is to be written.
#[derive(Debug)]
pub struct Material {
    /// From the header's first byte.
    pub offset: u64,
    /// What to write.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What happens to a key slot.
#[derive(Debug, Clone, Copy)]
pub enum SlotChange<'a> {
    /// It gets the master key, to be had for a passphrase after so many milliseconds.
    Set(&'a MasterKey, &'a [u8], u64),
    /// It holds no key any more.
    Erase,
}

impl NewVolume {
    /// Refuses what does not go together.
    pub fn check(&self) -> Result<()> {
        SectorCipher::new(&self.scheme, &Zeroizing::new(vec![0; self.scheme.key_len()])).map(|_| ())
    }

    /// Makes a header with a random key, the passphrase in the first slot.
    pub fn make(&self, passphrase: &[u8]) -> Result<(Header, MasterKey, Material)> {
        let mut key = MasterKey { bytes: Zeroizing::new(vec![0; self.scheme.key_len()]) };
        random::fill(&mut key.bytes)?;
        let mut digest_salt = [0; 32];
        random::fill(&mut digest_salt)?;
        let per_second = self.hash.iterations_per_second(&key.bytes, &digest_salt, DIGEST_LEN)?;
        let slot = |number: usize| Slot {
            key_offset: slot_offset(&self.scheme, number),
            iterations: None,
            salt: [0; 32],
        };
        let mut header = Header {
            scheme: self.scheme,
            hash: self.hash,
            uuid: new_uuid()?,
            payload_offset: Header::attached_payload_offset(&self.scheme),
            digest_iterations: iterations(per_second, self.iter_time, DIGEST_SHARE)?,
            slots: std::array::from_fn(slot),
            key_digest: [0; DIGEST_LEN],
            digest_salt,
        };
        header.key_digest = header.digest(&key.bytes);
        let material = header.change_slot(0, SlotChange::Set(&key, passphrase, self.iter_time))?;
        Ok((header, key, material))
    }
}

impl Header {
    /// Changes a key slot, and tells what its key material is to be.
    pub fn change_slot(&mut self, number: usize, change: SlotChange<'_>) -> Result<Material> {
        let Some(&slot) = self.slots.get(number) else {
            return Err(Error::invalid(format!(
                "Invalid keyslot {number}. Keyslot must be between 0 and {}",
                SLOTS - 1
            )));
        };
        let (slot, bytes) = match change {
            SlotChange::Set(key, passphrase, iter_time) => {
                self.fill_slot(slot, key, passphrase, iter_time)?
            }
            SlotChange::Erase => {
                let mut noise = self.new_material();
                random::fill(&mut noise)?;
                (Slot { iterations: None, salt: [0; 32], ..slot }, noise)
            }
        };
        self.slots[number] = slot;
        Ok(Material { offset: slot.key_offset, bytes })
    }

    fn fill_slot(
        &self,
        slot: Slot,
        key: &MasterKey,
        passphrase: &[u8],
        iter_time: u64,
    ) -> Result<(Slot, Zeroizing<Vec<u8>>)> {
        let mut salt = [0; 32];
        random::fill(&mut salt)?;
        let per_second = self.hash.iterations_per_second(passphrase, &salt, self.scheme.key_len())?;
        let iterations = iterations(per_second, iter_time, SLOT_SHARE)?;
        let mut bytes = split::split(self.hash, &key.bytes, Slot::STRIPES as usize)?;
        let mut padded = self.new_material();
        padded[..bytes.len()].copy_from_slice(&bytes);
        std::mem::swap(&mut bytes, &mut padded);
        self.slot_cipher(passphrase, &salt, iterations)?.encrypt(0, &mut bytes);
        Ok((Slot { iterations: Some(iterations), salt, ..slot }, bytes))
    }
}

/// Iterations for a share of a time in milliseconds.
fn iterations(per_second: u64, iter_time: u64, share: u64) -> Result<u32> {
    let out_of_range = |text: String| Error::invalid(format!("{text}: Numerical result out of range"));
    let scaled = per_second
        .checked_mul(iter_time)
        .ok_or_else(|| out_of_range(format!("PBKDF iterations {per_second} too large to scale")))?;
    let count = scaled / 1000 / share;
    let limit = u32::MAX;
    u32::try_from(count.max(MIN_ITERATIONS))
        .map_err(|_| out_of_range(format!("PBKDF iterations {count} larger than {limit}")))
}

/// A random UUID (RFC 9562, version 4).
fn new_uuid() -> Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = |range: std::ops::Range<usize>| {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    Ok(format!("{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::luks::Payload;
    use crate::{CipherKind, IvKind, Mode};

    #[test]
    fn a_new_volume_opens_with_its_passphrase_alone() {
        let scheme = Scheme {
            cipher: CipherKind::Aes192,
            mode: Mode::Cbc,
            iv: IvKind::Essiv,
            iv_hash: Some(Hash::Sha256),
        };
        let volume = NewVolume { scheme, hash: Hash::Sha1, iter_time: 1 };
        let (header, key, first) = volume.make(b"one").unwrap();
        let mut header = Header::parse(&header.serialize(), Payload::Behind).unwrap();
        let second = header.change_slot(3, SlotChange::Set(&key, b"two", 1)).unwrap();
        let mut header = Header::parse(&header.serialize(), Payload::Behind).unwrap();
        let unlock = |header: &Header, passphrase: &[u8]| {
            let read = |offset: u64, buf: &mut [u8]| {
                let material = if offset == first.offset { &first } else { &second };
                assert_eq!(material.offset, offset);
                buf.copy_from_slice(&material.bytes);
                Ok::<(), Error>(())
            };
            header.unlock(passphrase, read).map(|found| assert_eq!(found.bytes, key.bytes))
        };
        unlock(&header, b"one").unwrap();
        unlock(&header, b"two").unwrap();
        assert!(unlock(&header, b"three").is_err());
        header.change_slot(0, SlotChange::Erase).unwrap();
        assert!(unlock(&header, b"one").is_err());
        unlock(&header, b"two").unwrap();
    }

    #[test]
    fn iterations_are_bounded() {
        assert_eq!(iterations(10, 10, 2).unwrap(), 1000);
        assert_eq!(iterations(10_000_000, 2000, 2).unwrap(), 10_000_000);
        assert!(iterations(u64::MAX, 2, 2).is_err());
        assert!(iterations(10_000_000, 1 << 40, 8).is_err());
    }
}
