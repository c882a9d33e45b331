//! The header: one door each way between bytes and meaning.

use std::borrow::Cow;

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{CipherKind, Error, Hash, IvKind, Mode, Result, Scheme};

const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
const SECTOR: u64 = 512;
/// State of a key slot that holds a key.
const ACTIVE: u32 = 0x00ac_71f3;
/// State of a key slot that does not.
const INACTIVE: u32 = 0x0000_dead;
/// The only number of stripes that is in use.
const STRIPES: u32 = 4000;
/// Key material begins here at the earliest.
const FIRST_MATERIAL: u64 = 4096;
/// Key slots in a header.
pub const SLOTS: usize = 8;

/// The header (section 2.1).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 6],
    version: U16,
    /// Zero-padded, as the next two.
    cipher_name: [u8; 32],
    /// Mode, initialisation vector and its hash: "xts-plain64", "cbc-essiv:sha256".
    cipher_mode: [u8; 32],
    hash: [u8; 32],
    /// Where the encrypted data starts, in sectors.
    payload_offset: U32,
    /// Bytes of the master key.
    key_bytes: U32,
    key_digest: [u8; 20],
    key_digest_salt: [u8; 32],
    key_digest_iterations: U32,
    uuid: [u8; 40],
    slots: [RawSlot; SLOTS],
}

/// A key slot (section 2.1).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSlot {
    /// [`ACTIVE`] or [`INACTIVE`].
    state: U32,
    iterations: U32,
    salt: [u8; 32],
    /// Where the key material starts, in sectors.
    key_offset: U32,
    stripes: U32,
}

const _: () = assert!(size_of::<RawSlot>() == 48);
const _: () = assert!(size_of::<RawHeader>() == Header::LEN);

/// Where the payload of a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Behind it in the same file.
    Behind,
    /// In another file.
    Elsewhere,
}

/// A valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How the payload and the key material are encrypted.
    pub scheme: Scheme,
    /// The hash of passphrases and of stripes.
    pub hash: Hash,
    /// What the volume is known by.
    pub uuid: String,
    /// Where the payload begins if it stands behind the header.
    pub payload_offset: u64,
    /// Iterations of the master key's digest.
    pub digest_iterations: u32,
    /// The key slots.
    pub slots: [Slot; SLOTS],
    pub(super) key_digest: [u8; 20],
    pub(super) digest_salt: [u8; 32],
}

/// A key slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Where its key material begins.
    pub key_offset: u64,
    /// Iterations of the passphrase, if the slot holds a key.
    pub iterations: Option<u32>,
    /// Salt of the passphrase.
    pub(super) salt: [u8; 32],
}

impl Slot {
    /// Stripes of its key material.
    pub const STRIPES: u32 = STRIPES;
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 592;

    /// Reads and validates a header.
    pub fn parse(bytes: &[u8], payload: Payload) -> Result<Self> {
        let (raw, _) = RawHeader::read_from_prefix(bytes).map_err(|_| foreign())?;
        if raw.magic != MAGIC {
            return Err(foreign());
        }
        let version = raw.version.get();
        if version != 1 {
            return Err(Error::unsupported(format!("LUKS version {version} is not supported")));
        }
        let cipher_name = text(&raw.cipher_name, "cipher name")?;
        let mode_text = text(&raw.cipher_mode, "cipher mode")?;
        let hash = text(&raw.hash, "hash spec")?;
        check_layout(&raw, payload)?;
        let scheme = scheme(&cipher_name, &mode_text, raw.key_bytes.get() as usize)?;
        let hash = known(Hash::from_name(&hash), "Hash algorithm", &hash)?;
        Ok(Self {
            scheme,
            hash,
            uuid: String::from_utf8_lossy(until_nul(&raw.uuid)).into_owned(),
            payload_offset: u64::from(raw.payload_offset.get()) * SECTOR,
            digest_iterations: raw.key_digest_iterations.get(),
            slots: raw.slots.map(|slot| Slot::new(&slot)),
            key_digest: raw.key_digest,
            digest_salt: raw.key_digest_salt,
        })
    }

    /// The bytes of the header.
    pub fn serialize(&self) -> Vec<u8> {
        let scheme = &self.scheme;
        let mut mode = format!("{}-{}", scheme.mode.name(), scheme.iv.name());
        if let Some(hash) = scheme.iv_hash {
            mode = format!("{mode}:{}", hash.name());
        }
        let sectors = |bytes: u64| U32::new(u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX));
        let raw = RawHeader {
            magic: MAGIC,
            version: U16::new(1),
            cipher_name: padded(scheme.cipher.algorithm()),
            cipher_mode: padded(&mode),
            hash: padded(self.hash.name()),
            payload_offset: sectors(self.payload_offset),
            // The key sizes of all ciphers are small.
            key_bytes: U32::new(scheme.key_len() as u32),
            key_digest: self.key_digest,
            key_digest_salt: self.digest_salt,
            key_digest_iterations: U32::new(self.digest_iterations),
            uuid: padded(&self.uuid),
            slots: self.slots.map(|slot| RawSlot {
                state: U32::new(if slot.iterations.is_some() { ACTIVE } else { INACTIVE }),
                iterations: U32::new(slot.iterations.unwrap_or(0)),
                salt: slot.salt,
                key_offset: sectors(slot.key_offset),
                stripes: U32::new(STRIPES),
            }),
        };
        raw.as_bytes().to_vec()
    }

    /// Bytes of the key material of one slot, whole sectors.
    pub fn material_len(&self) -> u64 {
        material_len(self.scheme.key_len() as u64)
    }

    /// Where a payload begins that stands behind the key material in the same file, as new headers are
    /// laid out.
    pub fn attached_payload_offset(scheme: &Scheme) -> u64 {
        slot_offset(scheme, SLOTS)
    }
}

impl Slot {
    fn new(raw: &RawSlot) -> Self {
        Self {
            key_offset: u64::from(raw.key_offset.get()) * SECTOR,
            iterations: (raw.state.get() == ACTIVE).then(|| raw.iterations.get()),
            salt: raw.salt,
        }
    }
}

/// Bytes of key material for a key of that length.
fn material_len(key_len: u64) -> u64 {
    (key_len * u64::from(STRIPES)).next_multiple_of(SECTOR)
}

/// Where a new header has its slots' key material: one behind the other, each on a page.
pub(super) fn slot_offset(scheme: &Scheme, slot: usize) -> u64 {
    FIRST_MATERIAL + slot as u64 * material_len(scheme.key_len() as u64).next_multiple_of(FIRST_MATERIAL)
}

/// Whether the parts lie where they do not disturb each other, in the order in which stock looks.
fn check_layout(raw: &RawHeader, place: Payload) -> Result<()> {
    let corrupt = |text: String| Err(Error::corrupt(text));
    let first = FIRST_MATERIAL / SECTOR;
    let payload = u64::from(raw.payload_offset.get());
    let is_detached = place == Payload::Elsewhere;
    if !is_detached && payload < first {
        return corrupt("LUKS payload is overlapping with the header".to_owned());
    }
    if raw.key_digest_iterations.get() == 0 {
        return corrupt("LUKS key iteration count is zero".to_owned());
    }
    let start = |slot: &RawSlot| u64::from(slot.key_offset.get());
    let len = material_len(u64::from(raw.key_bytes.get())) / SECTOR;
    for (number, slot) in raw.slots.iter().enumerate() {
        let stripes = slot.stripes.get();
        if stripes != STRIPES {
            return corrupt(format!("Keyslot {number} is corrupted (stripes {stripes} != {STRIPES})"));
        }
        if start(slot) < first {
            return corrupt(format!("Keyslot {number} is overlapping with the LUKS header"));
        }
        match slot.state.get() {
            ACTIVE if slot.iterations.get() == 0 => {
                return corrupt(format!("Keyslot {number} iteration count is zero"));
            }
            ACTIVE | INACTIVE => {}
            _ => return corrupt(format!("Keyslot {number} state (active/disable) is corrupted")),
        }
        if !is_detached && start(slot) + len > payload {
            return corrupt(format!("Keyslot {number} is overlapping with the encrypted payload"));
        }
        for (other_number, other) in raw.slots.iter().enumerate().skip(number + 1) {
            if start(slot) + len > start(other) && start(other) + len > start(slot) {
                return corrupt(format!(
                    "Keyslots {number} and {other_number} are overlapping in the header"
                ));
            }
        }
    }
    Ok(())
}

fn foreign() -> Error {
    Error::corrupt("Volume is not in LUKS format")
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Text as a zero-padded field. Everything that is stored there is shorter.
fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut field = [0; LEN];
    field.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    field
}

/// A zero-padded field as text.
fn text<'a>(field: &'a [u8; 32], name: &str) -> Result<Cow<'a, str>> {
    match field.contains(&0) {
        true => Ok(String::from_utf8_lossy(until_nul(field))),
        false => Err(Error::corrupt(format!("LUKS header {name} is not NUL terminated"))),
    }
}

/// What a name means, if it means anything.
fn known<T>(found: Option<T>, what: &str, name: &str) -> Result<T> {
    found.ok_or_else(|| Error::unsupported(format!("{what} '{name}' not supported")))
}

/// How sectors are encrypted, from a cipher's name and from that of its mode and vector.
pub(crate) fn scheme(cipher: &str, mode_text: &str, key_len: usize) -> Result<Scheme> {
    let Some((mode, iv)) = mode_text.split_once('-') else {
        return Err(Error::corrupt(format!("Unexpected cipher mode string format '{mode_text}'")));
    };
    let mode = known(Mode::from_name(mode), "Cipher mode", mode)?;
    let (iv, iv_hash) = match iv.split_once(':') {
        Some((iv, hash)) => (iv, Some(known(Hash::from_name(hash), "Hash algorithm", hash)?)),
        None => (iv, None),
    };
    let size = if mode == Mode::Xts { key_len / 2 } else { key_len };
    let cipher = CipherKind::with_key_len(cipher, size).ok_or_else(|| {
        Error::unsupported(format!("Algorithm '{cipher}' with key size {size} bytes not supported"))
    })?;
    let iv = known(IvKind::from_name(iv), "IV generator", iv)?;
    Ok(Scheme { cipher, mode, iv, iv_hash })
}
