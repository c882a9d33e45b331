//! Header extensions: typed where they are known, kept as they are where not.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::feature::{self, Autoclear, FeatureName};
use super::geometry::{Geometry, Version};
use crate::{Error, HostOffset, Result};

const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const FEATURE_NAMES: u32 = 0x6803_f857;
const BITMAPS: u32 = 0x2385_2875;
const ENCRYPTION: u32 = 0x0537_be77;
const DATA_FILE: u32 = 0x4441_5441;

/// Longest backing format name, in bytes.
const MAX_BACKING_FORMAT: usize = 15;
/// Most bitmaps in an image.
pub const MAX_BITMAPS: u32 = 65535;
/// Largest bitmap directory: every bitmap with its longest name.
pub const MAX_BITMAP_DIRECTORY: u64 = MAX_BITMAPS as u64 * 1024;

/// What stands before each extension's data.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawExtension {
    /// Which extension; 0 ends the list.
    kind: U32,
    /// Bytes of data, without the padding to a multiple of 8.
    len: U32,
}

/// Data of the bitmaps extension.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawBitmaps {
    /// Number of bitmaps, at least 1.
    count: U32,
    /// Must be zero.
    reserved: U32,
    /// Bytes of the bitmap directory.
    directory_size: U64,
    /// Where the directory starts, cluster-aligned.
    directory_offset: U64,
}

/// Data of the full disk encryption extension.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEncryption {
    /// Where the encryption header starts, cluster-aligned.
    offset: U64,
    /// Its length in bytes.
    len: U64,
}

const _: () = assert!(size_of::<RawExtension>() == 8);
const _: () = assert!(size_of::<RawBitmaps>() == 24);
const _: () = assert!(size_of::<RawEncryption>() == 16);

/// Where the bitmap directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapDirectoryLocation {
    /// Number of bitmaps, 1 to [`MAX_BITMAPS`].
    pub count: u32,
    /// The first byte, cluster-aligned.
    pub offset: HostOffset,
    /// Length in bytes, at most [`MAX_BITMAP_DIRECTORY`].
    pub len: u64,
}

/// Where the encryption header (LUKS) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncryptionHeaderLocation {
    /// The first byte, cluster-aligned.
    pub offset: HostOffset,
    /// Length in bytes.
    pub len: u64,
}

/// An extension that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownExtension {
    /// Its magic number.
    pub kind: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// Whether the bitmaps extension can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BitmapsState {
    /// It can, or there is none.
    #[default]
    Consistent,
    /// A program that does not know bitmaps wrote the image: the extension is ignored.
    Stale,
}

/// All extensions of a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Format of the backing file.
    pub backing_format: Option<Vec<u8>>,
    /// Name of the external data file.
    pub data_file: Option<Vec<u8>>,
    /// The encryption header.
    pub encryption: Option<EncryptionHeaderLocation>,
    /// The bitmap directory, if it can be believed.
    pub bitmaps: Option<BitmapDirectoryLocation>,
    /// Whether there was a directory that cannot.
    pub bitmaps_state: BitmapsState,
    /// Names of feature bits.
    pub feature_names: Vec<FeatureName>,
    /// Everything else, in the header's order.
    pub unknown: Vec<UnknownExtension>,
}

/// What a header says that its extensions are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// Sizes.
    pub geometry: Geometry,
    /// Autoclear bits of the header.
    pub autoclear: Autoclear,
    /// Whether the header's encryption method is LUKS.
    pub luks: bool,
}

/// The extensions one after another, as (kind, data).
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(u32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Ok((head, rest)) = RawExtension::read_from_prefix(rest) else {
            return Some(Err(Error::corrupt("Header extension too large")));
        };
        let len = head.len.get() as usize;
        let Some((data, _)) = rest.split_at_checked(len) else {
            return Some(Err(Error::corrupt("Header extension too large")));
        };
        if head.kind.get() == END {
            return None;
        }
        self.rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        Some(Ok((head.kind.get(), data)))
    }
}

/// The feature names in an extension area of which nothing else is believed.
pub fn find_feature_names(area: &[u8]) -> Vec<FeatureName> {
    Walk { rest: area }
        .map_while(Result::ok)
        .find(|(kind, _)| *kind == FEATURE_NAMES)
        .map(|(_, data)| feature::parse_names(data))
        .unwrap_or_default()
}

/// Bytes of an extension area up to and with its end marker.
pub fn area_len(area: &[u8]) -> usize {
    let mut walk = Walk { rest: area };
    loop {
        let at = area.len() - walk.rest.len();
        match walk.next() {
            Some(Ok(_)) => {}
            Some(Err(_)) => return area.len(),
            None => return area.len().min(at + size_of::<RawExtension>()),
        }
    }
}

impl Extensions {
    /// Reads the extension area: from the end of the header's fields to the backing file name or
    /// the end of the first cluster.
    pub fn parse(area: &[u8], around: &Surroundings) -> Result<Self> {
        let mut all = Self::default();
        for item in (Walk { rest: area }) {
            let (kind, data) = item?;
            match kind {
                BACKING_FORMAT => all.backing_format = Some(parse_backing_format(data)?),
                DATA_FILE => all.data_file = Some(until_nul(data).to_vec()),
                FEATURE_NAMES => all.feature_names = feature::parse_names(data),
                ENCRYPTION => all.encryption = Some(parse_encryption(data, around)?),
                BITMAPS if data.len() != size_of::<RawBitmaps>() => {
                    return Err(Error::corrupt("bitmaps_ext: Invalid extension length"));
                }
                BITMAPS if !around.autoclear.contains(Autoclear::BITMAPS) => {
                    all.bitmaps_state = BitmapsState::Stale;
                }
                BITMAPS => all.bitmaps = Some(parse_bitmaps(data, around)?),
                _ => all.unknown.push(UnknownExtension { kind, data: data.to_vec() }),
            }
        }
        Ok(all)
    }

    /// Writes the extension area, its end marker included.
    ///
    /// The feature names stand last, so that everything that matters stays in the header's first
    /// sector; they are left out where they do not fit into `room` bytes.
    pub fn serialize(&self, version: Version, room: usize) -> Vec<u8> {
        let mut area = Vec::new();
        if let Some(format) = &self.backing_format {
            push(&mut area, BACKING_FORMAT, format);
        }
        if let Some(name) = &self.data_file {
            push(&mut area, DATA_FILE, name);
        }
        if let Some(header) = &self.encryption {
            let raw = RawEncryption { offset: header.offset.0.into(), len: header.len.into() };
            push(&mut area, ENCRYPTION, raw.as_bytes());
        }
        if let Some(bitmaps) = &self.bitmaps {
            let raw = RawBitmaps {
                count: bitmaps.count.into(),
                reserved: 0.into(),
                directory_size: bitmaps.len.into(),
                directory_offset: bitmaps.offset.0.into(),
            };
            push(&mut area, BITMAPS, raw.as_bytes());
        }
        for extension in &self.unknown {
            push(&mut area, extension.kind, &extension.data);
        }
        let names = feature::serialize_names(&self.feature_names);
        let end = size_of::<RawExtension>();
        if version >= Version::V3 && !names.is_empty() && area.len() + end + names.len() + end <= room {
            push(&mut area, FEATURE_NAMES, &names);
        }
        push(&mut area, END, &[]);
        area
    }
}

fn push(area: &mut Vec<u8>, kind: u32, data: &[u8]) {
    let head = RawExtension { kind: kind.into(), len: (data.len() as u32).into() };
    area.extend_from_slice(head.as_bytes());
    area.extend_from_slice(data);
    area.resize(area.len().next_multiple_of(8), 0);
}

fn parse_backing_format(data: &[u8]) -> Result<Vec<u8>> {
    let len = data.len();
    if len > MAX_BACKING_FORMAT {
        let limit = MAX_BACKING_FORMAT + 1;
        return Err(Error::corrupt(format!("ERROR: ext_backing_format: len={len} too large (>={limit})")));
    }
    Ok(until_nul(data).to_vec())
}

fn parse_encryption(data: &[u8], around: &Surroundings) -> Result<EncryptionHeaderLocation> {
    if !around.luks {
        return Err(Error::corrupt("CRYPTO header extension only expected with LUKS encryption method"));
    }
    let Ok(raw) = RawEncryption::read_from_bytes(data) else {
        let (len, expected) = (data.len(), size_of::<RawEncryption>());
        return Err(Error::corrupt(format!(
            "CRYPTO header extension size {len}, but expected size {expected}"
        )));
    };
    let location = EncryptionHeaderLocation { offset: HostOffset(raw.offset.get()), len: raw.len.get() };
    if !around.geometry.is_cluster_start(location.offset) {
        return Err(Error::corrupt(format!(
            "Encryption header offset '{}' is not a multiple of cluster size '{}'",
            location.offset.0,
            around.geometry.cluster_size()
        )));
    }
    Ok(location)
}

fn parse_bitmaps(data: &[u8], around: &Surroundings) -> Result<BitmapDirectoryLocation> {
    let fault = |text: String| Err(Error::corrupt(text));
    let Ok(raw) = RawBitmaps::read_from_bytes(data) else {
        return fault("bitmaps_ext: Invalid extension length".into());
    };
    let (count, len) = (raw.count.get(), raw.directory_size.get());
    let location = BitmapDirectoryLocation { count, len, offset: HostOffset(raw.directory_offset.get()) };
    if raw.reserved.get() != 0 {
        return fault("bitmaps_ext: Reserved field is not zero".into());
    }
    if count > MAX_BITMAPS {
        return fault(format!(
            "bitmaps_ext: Image has {count} bitmaps, exceeding the QEMU supported maximum of {MAX_BITMAPS}"
        ));
    }
    if count == 0 {
        return fault("found bitmaps extension with zero bitmaps".into());
    }
    if !around.geometry.is_cluster_start(location.offset) {
        return fault("bitmaps_ext: invalid bitmap directory offset".into());
    }
    if len > MAX_BITMAP_DIRECTORY {
        return fault(format!(
            "bitmaps_ext: bitmap directory size ({len}) exceeds the maximum supported size ({MAX_BITMAP_DIRECTORY})"
        ));
    }
    Ok(location)
}

/// The bytes before the first NUL: names in a header are C strings as well as counted ones.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        let geometry = Geometry {
            version: Version::V3,
            cluster_bits: 16,
            extended_l2: false,
            refcount_order: 4,
            external_data: false,
        };
        Surroundings { geometry, autoclear: Autoclear::BITMAPS, luks: false }
    }

    #[test]
    fn everything_survives_the_round_trip() {
        let all = Extensions {
            backing_format: Some(b"qcow2".to_vec()),
            data_file: Some(b"data.raw".to_vec()),
            bitmaps: Some(BitmapDirectoryLocation { count: 3, offset: HostOffset(0x70000), len: 96 }),
            feature_names: feature::standard_names(),
            unknown: vec![UnknownExtension { kind: 0x1234_5678, data: vec![1, 2, 3] }],
            ..Extensions::default()
        };
        let area = all.serialize(Version::V3, 4096);
        assert_eq!(Extensions::parse(&area, &around()).unwrap(), all);
        let without_names = all.serialize(Version::V3, 200);
        assert!(Extensions::parse(&without_names, &around()).unwrap().feature_names.is_empty());
    }

    #[test]
    fn broken_areas_are_refused() {
        let too_long = [0x12, 0x34, 0x56, 0x78, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        let error = Extensions::parse(&too_long, &around()).unwrap_err();
        assert_eq!(error.report(), "Header extension too large");
        let torn = [0x12, 0x34, 0x56];
        assert!(Extensions::parse(&torn, &around()).is_err());
        assert!(find_feature_names(&torn).is_empty());
    }

    #[test]
    fn stale_bitmaps_are_ignored() {
        let mut area = Vec::new();
        push(&mut area, BITMAPS, &[0; 24]);
        let around = Surroundings { autoclear: Autoclear::empty(), ..around() };
        let all = Extensions::parse(&area, &around).unwrap();
        assert_eq!((all.bitmaps, all.bitmaps_state), (None, BitmapsState::Stale));
    }
}
