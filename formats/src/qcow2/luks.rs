//! The LUKS header in an encrypted image: what can be told of it without a passphrase.

use std::borrow::Cow;

use journal::Disk;
use serde_json::{Map, Value, json};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::{EncryptionHeaderLocation, until_nul};
use crate::error::ResultExt;
use crate::{Error, Result};

const MAGIC: [u8; 6] = *b"LUKS\xba\xbe";
const SECTOR: u64 = 512;
/// State of a key slot that holds a key.
const ACTIVE: u32 = 0x00ac_71f3;
/// State of a key slot that does not.
const INACTIVE: u32 = 0x0000_dead;
/// The only number of stripes that is in use.
const STRIPES: u32 = 4000;

/// Ciphers by their names in the header, with the key sizes in bytes that they take.
const CIPHERS: [(&str, &[u32]); 4] =
    [("aes", &[16, 24, 32]), ("cast5", &[16]), ("serpent", &[16, 24, 32]), ("twofish", &[16, 24, 32])];
const MODES: [&str; 4] = ["cbc", "ctr", "ecb", "xts"];
const IV_GENERATORS: [&str; 3] = ["plain", "plain64", "essiv"];
const HASHES: [&str; 7] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"];

/// A LUKS version 1 header.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawLuks {
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
    slots: [RawSlot; 8],
}

/// A key slot.
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
const _: () = assert!(size_of::<RawLuks>() == 592);

/// A validated LUKS header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LuksHeader {
    /// Cipher and key size in bits: `aes-256`.
    cipher: String,
    mode: &'static str,
    iv_generator: &'static str,
    iv_hash: Option<&'static str>,
    hash: &'static str,
    uuid: String,
    payload_offset: u64,
    key_iterations: u32,
    slots: Vec<Slot>,
}

/// A key slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    key_offset: u64,
    /// Iterations and stripes of a slot that holds a key.
    active: Option<(u32, u32)>,
}

impl LuksHeader {
    /// Reads and validates the header.
    pub(super) fn read(disk: &dyn Disk, location: EncryptionHeaderLocation) -> Result<Self> {
        if location.len < size_of::<RawLuks>() as u64 {
            return Err(Error::corrupt("Request for data outside of extension header"));
        }
        let mut bytes = [0; size_of::<RawLuks>()];
        disk.read_padded(location.offset.0, &mut bytes)
            .context(|| "Could not read encryption header".to_owned())?;
        let raw = RawLuks::read_from_bytes(&bytes).map_err(|_| foreign())?;
        Self::validate(&raw)
    }

    fn validate(raw: &RawLuks) -> Result<Self> {
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
        if raw.key_digest_iterations.get() == 0 {
            return Err(Error::corrupt("LUKS key iteration count is zero"));
        }
        let slots = raw.slots.iter().enumerate().map(|(number, slot)| Slot::validate(number, slot));
        let slots = slots.collect::<Result<_>>()?;
        let Some((mode, iv)) = mode_text.split_once('-') else {
            return Err(Error::corrupt(format!("Unexpected cipher mode string format '{mode_text}'")));
        };
        let mode = known(&MODES, mode, "Cipher mode")?;
        let (iv_generator, iv_hash) = match iv.split_once(':') {
            Some((iv, hash)) => (iv, Some(known(&HASHES, hash, "Hash algorithm")?)),
            None => (iv, None),
        };
        Ok(Self {
            cipher: cipher(&cipher_name, mode, raw.key_bytes.get())?,
            mode,
            hash: known(&HASHES, &hash, "Hash algorithm")?,
            iv_generator: known(&IV_GENERATORS, iv_generator, "IV generator")?,
            iv_hash,
            uuid: String::from_utf8_lossy(until_nul(&raw.uuid)).into_owned(),
            payload_offset: u64::from(raw.payload_offset.get()) * SECTOR,
            key_iterations: raw.key_digest_iterations.get(),
            slots,
        })
    }

    /// What `info` prints, in QEMU's order of keys.
    pub(super) fn details(&self) -> Value {
        let mut details = Map::new();
        let mut put = |key: &str, value: Value| {
            details.insert(key.to_owned(), value);
        };
        put("ivgen-alg", json!(self.iv_generator));
        put("detached-header", json!(false));
        put("hash-alg", json!(self.hash));
        put("cipher-alg", json!(self.cipher));
        put("uuid", json!(self.uuid));
        if let Some(hash) = self.iv_hash {
            put("ivgen-hash-alg", json!(hash));
        }
        put("format", json!("luks"));
        put("cipher-mode", json!(self.mode));
        put("slots", self.slots.iter().map(Slot::details).collect());
        put("payload-offset", json!(self.payload_offset));
        put("master-key-iters", json!(self.key_iterations));
        Value::Object(details)
    }
}

impl Slot {
    fn validate(number: usize, raw: &RawSlot) -> Result<Self> {
        let (iterations, stripes) = (raw.iterations.get(), raw.stripes.get());
        let fault = |text: String| Err(Error::corrupt(format!("Keyslot {number} {text}")));
        if stripes != STRIPES {
            return fault(format!("is corrupted (stripes {stripes} != {STRIPES})"));
        }
        let active = match raw.state.get() {
            ACTIVE if iterations == 0 => return fault("iteration count is zero".to_owned()),
            ACTIVE => Some((iterations, stripes)),
            INACTIVE => None,
            _ => return fault("state (active/disable) is corrupted".to_owned()),
        };
        Ok(Self { key_offset: u64::from(raw.key_offset.get()) * SECTOR, active })
    }

    fn details(&self) -> Value {
        let offset = self.key_offset;
        match self.active {
            Some((iterations, stripes)) => {
                json!({ "active": true, "iters": iterations, "key-offset": offset, "stripes": stripes })
            }
            None => json!({ "active": false, "key-offset": offset }),
        }
    }
}

fn foreign() -> Error {
    Error::corrupt("Volume is not in LUKS format")
}

/// A zero-padded field as text.
fn text<'a>(field: &'a [u8; 32], name: &str) -> Result<Cow<'a, str>> {
    match field.contains(&0) {
        true => Ok(String::from_utf8_lossy(until_nul(field))),
        false => Err(Error::corrupt(format!("LUKS header {name} is not NUL terminated"))),
    }
}

/// The name among those that are known.
fn known(names: &[&'static str], name: &str, what: &str) -> Result<&'static str> {
    let found = names.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| Error::unsupported(format!("{what} '{name}' not supported")))
}

/// Cipher and key size; the mode XTS uses two keys of that size.
fn cipher(name: &str, mode: &str, key_bytes: u32) -> Result<String> {
    let size = if mode == "xts" { key_bytes / 2 } else { key_bytes };
    let found = CIPHERS.iter().any(|(known, sizes)| *known == name && sizes.contains(&size));
    if !found {
        let text = format!("Algorithm '{name}' with key size {size} bytes not supported");
        return Err(Error::unsupported(text));
    }
    Ok(format!("{name}-{}", size * 8))
}
