//! The binary headers: which of the two counts.

use zerocopy::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::metadata::Metadata;
use crate::{Error, Hash, Result};

/// What the first header begins with.
const PRIMARY: [u8; 6] = *b"LUKS\xba\xbe";
/// What the second one begins with.
const SECONDARY: [u8; 6] = *b"SKUL\xba\xbe";
const VERSION: u16 = 2;
/// Bytes of a binary header; its JSON area follows.
pub(super) const BINARY: usize = 4096;
/// Bytes that a header can have with its JSON area (section 2.1), which is where the second one begins.
const SIZES: [u64; 9] =
    [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];

/// A binary header (section 2.1).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    magic: [u8; 6],
    version: U16,
    /// Bytes of the header with its JSON area.
    size: U64,
    /// The header with the higher number counts.
    sequence: U64,
    label: [u8; 48],
    /// The hash of the checksum.
    checksum_hash: [u8; 32],
    salt: [u8; 64],
    uuid: [u8; 40],
    subsystem: [u8; 48],
    /// Where this header is.
    offset: U64,
    padding: [u8; 184],
    /// Of the whole header, itself taken for zeroes.
    checksum: [u8; 64],
    rest: [u8; 3584],
}

const _: () = assert!(size_of::<RawHeader>() == BINARY);
/// Where [`RawHeader::checksum`] is.
const CHECKSUM: usize = std::mem::offset_of!(RawHeader, checksum);

/// A valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the volume is known by.
    pub uuid: String,
    /// What a person calls it.
    pub label: String,
    /// What the JSON area says.
    pub metadata: Metadata,
}

/// What is wrong with a header, if it is there at all.
enum Found {
    /// Something else is there.
    Nothing,
    /// It is damaged.
    Damaged(Error),
    /// A header, its number, and how long it is.
    Sound(Header, u64),
}

impl Header {
    /// Whether bytes at the beginning of a file are those of a header of this version.
    pub fn is_at(start: &[u8]) -> bool {
        start.starts_with(&PRIMARY) && start.get(6..8) == Some(&VERSION.to_be_bytes())
    }

    /// Reads the header that counts. `read` fills a buffer with the bytes from an offset on.
    ///
    /// `None` if there is none, not even a second one whose first one is gone.
    pub fn find<E: From<Error>>(
        mut read: impl FnMut(u64, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Option<Self>, E> {
        let first = Found::read(0, PRIMARY, &mut read)?;
        let mut best: Option<(Self, u64)> = None;
        let mut damage = None;
        let mut take = |found| match found {
            Found::Nothing => {}
            Found::Damaged(error) => damage = damage.take().or(Some(error)),
            Found::Sound(header, sequence) => {
                if best.as_ref().is_none_or(|(_, other)| sequence > *other) {
                    best = Some((header, sequence));
                }
            }
        };
        take(first);
        for at in SIZES {
            take(Found::read(at, SECONDARY, &mut read)?);
        }
        match (best, damage) {
            (Some((header, _)), _) => Ok(Some(header)),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(None),
        }
    }
}

impl Found {
    fn read<E: From<Error>>(
        at: u64,
        magic: [u8; 6],
        read: &mut impl FnMut(u64, &mut [u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut binary = vec![0; BINARY];
        read(at, &mut binary)?;
        let Ok(raw) = RawHeader::read_from_bytes(&binary) else { return Ok(Self::Nothing) };
        if raw.magic != magic || raw.version.get() != VERSION {
            return Ok(Self::Nothing);
        }
        let size = raw.size.get();
        let is_placed = raw.offset.get() == at && (at == 0 || at == size);
        if !SIZES.contains(&size) || !is_placed {
            return Ok(Self::Damaged(Error::corrupt("A LUKS header is not where it says that it is")));
        }
        let mut bytes = vec![0; size as usize];
        read(at, &mut bytes)?;
        Ok(match raw.open(&mut bytes) {
            Ok(header) => Self::Sound(header, raw.sequence.get()),
            Err(error) => Self::Damaged(error),
        })
    }
}

impl RawHeader {
    /// Checks the header with its JSON area, and reads that.
    fn open(&self, bytes: &mut [u8]) -> Result<Header> {
        let name = text(&self.checksum_hash);
        let hash = Hash::from_name(&name)
            .ok_or_else(|| Error::unsupported(format!("Hash algorithm '{name}' not supported")))?;
        let len = hash.digest_len().min(self.checksum.len());
        let (start, _) = bytes.split_at_mut(CHECKSUM + self.checksum.len());
        start[CHECKSUM..].fill(0);
        if hash.digest(&[bytes])[..len] != self.checksum[..len] {
            return Err(Error::corrupt("The checksum of the LUKS header is wrong"));
        }
        let json = bytes[BINARY..].split(|&byte| byte == 0).next().unwrap_or_default();
        let metadata = Metadata::parse(json, 2 * self.size.get())?;
        Ok(Header { uuid: text(&self.uuid), label: text(&self.label), metadata })
    }
}

/// A zero-padded field as text.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
impl RawHeader {
    /// A binary header for a place.
    pub(super) fn bytes_of(at: usize, size: usize, sequence: u64) -> Vec<u8> {
        let mut raw: Self = zerocopy::FromZeros::new_zeroed();
        raw.magic = if at == 0 { PRIMARY } else { SECONDARY };
        raw.version = VERSION.into();
        raw.size = (size as u64).into();
        raw.sequence = sequence.into();
        raw.offset = (at as u64).into();
        raw.checksum_hash[..6].copy_from_slice(b"sha256");
        raw.as_bytes().to_vec()
    }

    /// Puts the right checksum into a header with its JSON area.
    pub(super) fn seal(bytes: &mut [u8]) {
        bytes[CHECKSUM..CHECKSUM + 64].fill(0);
        let sum = Hash::Sha256.digest(&[bytes]);
        bytes[CHECKSUM..CHECKSUM + 32].copy_from_slice(&sum);
    }
}
