//! Volumes of version 2: read and written, but for their headers.

use crypto::luks2::{Header, Kdf, Segment, Slot};
use crypto::{SECTOR, Secret, SectorCipher};
use journal::Disk;
use serde_json::{Map, Value, json};

use crate::encryption::details::Placed;
use crate::error::ResultExt;
use crate::raw::sectors;
use crate::{Error, Result};

/// A header, and where it is.
#[derive(Debug)]
pub(super) struct Version2 {
    header: Header,
    placed: Placed,
}

/// Looks for a header of this version in a file: a first one, or a second one whose first one is gone.
pub(super) fn find(disk: &dyn Disk, placed: Placed) -> Result<Option<Version2>> {
    let mut start = [0; 8];
    let unreadable = || "Unable to read LUKS header".to_owned();
    disk.read_padded(0, &mut start).context(unreadable)?;
    let is_of_version_1 = start.starts_with(b"LUKS\xba\xbe") && !Header::is_at(&start);
    if is_of_version_1 {
        return Ok(None);
    }
    let read = |at, bytes: &mut [u8]| disk.read_padded(at, bytes).map_err(Error::from);
    Ok(Header::find(read)?.map(|header| Version2 { header, placed }))
}

impl Version2 {
    /// The cipher of the payload.
    pub(super) fn unlock(&self, disk: &dyn Disk, passphrase: &Secret) -> Result<SectorCipher> {
        self.header.unlock(passphrase.bytes(), |at, bytes| disk.read_padded(at, bytes).map_err(Error::from))
    }

    /// Where the payload is in a file of that length: its first byte, and how many it has.
    pub(super) fn payload(&self, len: u64) -> Result<(u64, u64)> {
        let Segment { offset, size, sector_size, .. } = *self.segment();
        let room = sectors(len).checked_sub(offset);
        let room = room.ok_or_else(|| Error::corrupt("The LUKS volume ends before its payload"))?;
        match size {
            Some(size) if size > room => Err(Error::corrupt("The LUKS volume ends within its payload")),
            Some(size) => Ok((offset, size)),
            None => Ok((offset, room - room % u64::from(sector_size))),
        }
    }

    /// Bytes that are encrypted at once.
    pub(super) fn sector_size(&self) -> u64 {
        self.segment().sector_size.into()
    }

    fn segment(&self) -> &Segment {
        &self.header.metadata.segment
    }

    /// What `info` prints: what it prints of version 1, and what is new.
    pub(super) fn details(&self) -> Map<String, Value> {
        let segment = self.segment();
        let (digest_hash, digest_iterations) = segment.digest;
        let mut details = Map::new();
        let mut put = |key: &str, value: Value| {
            details.insert(key.to_owned(), value);
        };
        put("version", json!(2));
        put("ivgen-alg", json!(segment.scheme.iv.name()));
        put("detached-header", json!(self.placed == Placed::Detached));
        put("hash-alg", json!(digest_hash.name()));
        put("cipher-alg", json!(segment.scheme.cipher.name()));
        put("uuid", json!(self.header.uuid));
        if !self.header.label.is_empty() {
            put("label", json!(self.header.label));
        }
        if let Some(hash) = segment.scheme.iv_hash {
            put("ivgen-hash-alg", json!(hash.name()));
        }
        put("cipher-mode", json!(segment.scheme.mode.name()));
        put("sector-size", json!(segment.sector_size));
        put(
            "slots",
            self.header.metadata.slots.iter().map(|(number, slot)| slot_details(number, slot)).collect(),
        );
        put("payload-offset", json!(segment.offset));
        put("master-key-iters", json!(digest_iterations));
        details
    }
}

fn slot_details(number: &str, slot: &Slot) -> Value {
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| {
        details.insert(key.to_owned(), value);
    };
    put("number", json!(number));
    put("kdf", json!(slot.kdf.name()));
    match slot.kdf {
        Kdf::Pbkdf2 { iterations, .. } => put("iters", json!(iterations)),
        Kdf::Argon2 { time, memory, lanes, .. } => {
            put("time", json!(time));
            put("memory-kib", json!(memory));
            put("lanes", json!(lanes));
        }
    }
    put("key-offset", json!(slot.offset));
    put("stripes", json!(slot.stripes));
    details.into()
}

const _: () = assert!(SECTOR == crate::raw::SECTOR as usize);
