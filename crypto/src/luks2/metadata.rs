//! The JSON area (section 3): what is believed of it, and what is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::kdf::{Kdf, Variant};
use crate::luks::scheme;
use crate::secret::decode_base64;
use crate::{Error, Hash, Result, SECTOR, Scheme};

/// Longer keys no cipher has.
const MAX_KEY: u64 = 512;
/// Stripes of key material, of which everybody uses 4000.
const MAX_STRIPES: u32 = 4000;
/// More key slots, digests and segments than cryptsetup makes.
const MAX_OBJECTS: usize = 32;
/// Longer salts and digests nobody makes.
const MAX_BINARY: usize = 512;
/// Sectors that the payload can be encrypted in.
const SECTOR_SIZES: [u32; 4] = [512, 1024, 2048, 4096];

/// What a header says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Key slots by their names, those that are preferred first.
    pub slots: Vec<(String, Slot)>,
    /// The payload.
    pub segment: Segment,
    /// What the payload's key is known by.
    pub(super) digests: Vec<Digest>,
}

/// A key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// How a passphrase becomes the key of the key material.
    pub kdf: Kdf,
    /// Where the key material is.
    pub offset: u64,
    /// Stripes of it.
    pub stripes: u32,
    /// Bytes of the key in it.
    pub(super) key_len: usize,
    /// How it is encrypted.
    pub(super) scheme: Scheme,
    pub(super) split_hash: Hash,
    pub(super) salt: Vec<u8>,
}

/// The payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first byte in the file that it is in.
    pub offset: u64,
    /// How many it has; all that follow if it does not say.
    pub size: Option<u64>,
    /// How it is encrypted.
    pub scheme: Scheme,
    /// Bytes that are encrypted at once.
    pub sector_size: u32,
    /// What is added to the numbers of sectors.
    pub iv_tweak: u64,
    /// Hash and iterations of its key's digest.
    pub digest: (Hash, u32),
}

/// What a key is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) slots: Vec<String>,
    pub(super) hash: Hash,
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

#[derive(Deserialize)]
struct RawMetadata {
    keyslots: BTreeMap<String, RawSlot>,
    segments: BTreeMap<String, RawSegment>,
    digests: BTreeMap<String, RawDigest>,
    config: RawConfig,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum RawSlot {
    #[serde(rename = "luks2")]
    Luks2 {
        key_size: u64,
        area: RawArea,
        kdf: RawKdf,
        af: RawSplit,
        /// Slots of priority 0 are only used by who names them.
        priority: Option<u8>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct RawArea {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "decimal")]
    offset: u64,
    #[serde(deserialize_with = "decimal")]
    size: u64,
    encryption: String,
    key_size: u64,
}

#[derive(Deserialize)]
struct RawSplit {
    #[serde(rename = "type")]
    kind: String,
    stripes: u32,
    hash: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum RawKdf {
    Pbkdf2 { salt: String, hash: String, iterations: u32 },
    Argon2i(RawArgon2),
    Argon2id(RawArgon2),
}

#[derive(Deserialize)]
struct RawArgon2 {
    salt: String,
    time: u32,
    memory: u32,
    cpus: u32,
}

#[derive(Deserialize)]
struct RawSegment {
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "decimal")]
    offset: u64,
    size: String,
    #[serde(deserialize_with = "decimal")]
    iv_tweak: u64,
    encryption: String,
    sector_size: u32,
    integrity: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawDigest {
    #[serde(rename = "type")]
    kind: String,
    keyslots: Vec<String>,
    segments: Vec<String>,
    hash: String,
    iterations: u32,
    salt: String,
    digest: String,
}

#[derive(Deserialize)]
struct RawConfig {
    requirements: Option<RawRequirements>,
}

#[derive(Deserialize)]
struct RawRequirements {
    #[serde(default)]
    mandatory: Vec<String>,
}

impl Metadata {
    /// Reads a JSON area of a header that ends, with its second copy, at `end`.
    pub fn parse(json: &[u8], end: u64) -> Result<Self> {
        let raw: RawMetadata = serde_json::from_slice(json).map_err(|error| {
            Error::corrupt(format!("The JSON area of the LUKS header is invalid: {error}"))
        })?;
        if [raw.keyslots.len(), raw.segments.len(), raw.digests.len()]
            .into_iter()
            .any(|count| count > MAX_OBJECTS)
        {
            return Err(Error::corrupt("The LUKS header has too many key slots, segments or digests"));
        }
        let required = raw.config.requirements.map(|requirements| requirements.mandatory).unwrap_or_default();
        if let Some(name) = required.first() {
            return Err(Error::unsupported(format!(
                "The LUKS volume needs '{name}', which is not supported"
            )));
        }
        let mut segments = raw.segments.into_iter();
        let (Some((name, segment)), None) = (segments.next(), segments.next()) else {
            return Err(Error::unsupported("LUKS volumes of several segments are not supported"));
        };
        let of_segment = raw.digests.into_values().filter(|digest| digest.segments.contains(&name));
        let digests = of_segment.map(RawDigest::check).collect::<Result<Vec<_>>>()?;
        let Some(digest) = digests.first() else {
            return Err(Error::corrupt("The LUKS header has no digest of the payload's key"));
        };
        // The key's length is that of the slots, of which all that count have the same.
        let mut slots = Vec::new();
        for (name, slot) in raw.keyslots {
            if digests.iter().any(|digest| digest.slots.contains(&name))
                && let Some((priority, slot)) = slot.check(end)?
            {
                slots.push((priority, (name, slot)));
            }
        }
        slots.sort_by_key(|&(priority, _)| std::cmp::Reverse(priority));
        let slots: Vec<(String, Slot)> = slots.into_iter().map(|(_, slot)| slot).collect();
        let key_len = slots.first().map(|(_, slot)| slot.key_len);
        let key_len =
            key_len.ok_or_else(|| Error::invalid("The LUKS volume has no key slot that can be used"))?;
        let segment = segment.check(key_len, (digest.hash, digest.iterations))?;
        Ok(Self { slots, segment, digests })
    }
}

impl RawSlot {
    /// The slot and its priority, if a passphrase opens it.
    fn check(self, header_end: u64) -> Result<Option<(u8, Slot)>> {
        let Self::Luks2 { key_size, area, kdf, af, priority } = self else { return Ok(None) };
        let priority = priority.unwrap_or(1);
        if priority == 0 {
            return Ok(None);
        }
        let corrupt =
            |what: &str| Err(Error::corrupt(format!("A key slot of the LUKS header is invalid: {what}")));
        if area.kind != "raw" || af.kind != "luks1" {
            return Err(Error::unsupported(
                "A key slot of the LUKS header is of a kind that is not supported",
            ));
        }
        if !(1..=MAX_KEY).contains(&key_size) || !(1..=MAX_KEY).contains(&area.key_size) {
            return corrupt("the size of its key");
        }
        if !(1..=MAX_STRIPES).contains(&af.stripes) {
            return corrupt("its stripes");
        }
        let len = (key_size * u64::from(af.stripes)).next_multiple_of(SECTOR as u64);
        let is_placed = area.offset >= header_end && area.offset.checked_add(len).is_some();
        if !is_placed || area.size < len || !area.offset.is_multiple_of(4096) {
            return corrupt("the place of its key material");
        }
        let (kdf, salt) = kdf.check()?;
        let slot = Slot {
            kdf,
            offset: area.offset,
            stripes: af.stripes,
            key_len: key_size as usize,
            scheme: encryption(&area.encryption, area.key_size as usize)?,
            split_hash: hash(&af.hash)?,
            salt,
        };
        Ok(Some((priority, slot)))
    }
}

impl RawKdf {
    fn check(self) -> Result<(Kdf, Vec<u8>)> {
        let (variant, raw) = match self {
            Self::Pbkdf2 { salt, hash: name, iterations } if iterations > 0 => {
                return Ok((Kdf::Pbkdf2 { hash: hash(&name)?, iterations }, binary(&salt)?));
            }
            Self::Pbkdf2 { .. } => {
                return Err(Error::corrupt("A key slot of the LUKS header has no iterations"));
            }
            Self::Argon2i(raw) => (Variant::I, raw),
            Self::Argon2id(raw) => (Variant::Id, raw),
        };
        let RawArgon2 { salt, time, memory, cpus: lanes } = raw;
        Ok((Kdf::Argon2 { variant, time, memory, lanes }, binary(&salt)?))
    }
}

impl RawSegment {
    fn check(self, key_len: usize, digest: (Hash, u32)) -> Result<Segment> {
        if self.kind != "crypt" || self.integrity.is_some() {
            return Err(Error::unsupported(
                "The payload of the LUKS volume is of a kind that is not supported",
            ));
        }
        let corrupt =
            |what: &str| Error::corrupt(format!("The payload of the LUKS volume is invalid: {what}"));
        if !SECTOR_SIZES.contains(&self.sector_size) {
            return Err(corrupt("the size of its sectors"));
        }
        let unit = u64::from(self.sector_size);
        let size = match self.size.as_str() {
            "dynamic" => None,
            size => Some(size.parse::<u64>().map_err(|_| corrupt("its size"))?),
        };
        let is_whole = |bytes: u64| bytes.is_multiple_of(unit) && bytes <= i64::MAX as u64;
        if !is_whole(self.offset) || !size.is_none_or(is_whole) {
            return Err(corrupt("its place"));
        }
        let scheme = encryption(&self.encryption, key_len)?;
        let (offset, sector_size, iv_tweak) = (self.offset, self.sector_size, self.iv_tweak);
        Ok(Segment { offset, size, scheme, sector_size, iv_tweak, digest })
    }
}

impl RawDigest {
    fn check(self) -> Result<Digest> {
        let (salt, digest) = (binary(&self.salt)?, binary(&self.digest)?);
        if self.kind != "pbkdf2" || self.iterations == 0 || digest.is_empty() {
            return Err(Error::unsupported("A digest of the LUKS header is of a kind that is not supported"));
        }
        Ok(Digest {
            slots: self.keyslots,
            hash: hash(&self.hash)?,
            iterations: self.iterations,
            salt,
            digest,
        })
    }
}

/// A cipher, mode and vector as they are named together, for a key of that length.
fn encryption(text: &str, key_len: usize) -> Result<Scheme> {
    match text.split_once('-') {
        Some((cipher, mode)) => scheme(cipher, mode, key_len),
        None => {
            Err(Error::unsupported(format!("Algorithm '{text}' with key size {key_len} bytes not supported")))
        }
    }
}

fn hash(name: &str) -> Result<Hash> {
    Hash::from_name(name).ok_or_else(|| Error::unsupported(format!("Hash algorithm '{name}' not supported")))
}

fn binary(text: &str) -> Result<Vec<u8>> {
    let bytes = decode_base64(text.as_bytes())?.bytes().to_vec();
    if bytes.len() > MAX_BINARY {
        return Err(Error::corrupt("A salt or digest of the LUKS header is too long"));
    }
    Ok(bytes)
}

/// A number that is written as text, as JSON's own are not exact.
fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
