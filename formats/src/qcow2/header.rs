//! The header: from bytes to a [`Header`] that can be believed, and back.

use std::ops::Range;

use journal::{Access, Disk};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::{self, Extensions, Surroundings, until_nul};
use super::feature::{self, Autoclear, Compatible, Incompatible};
use super::geometry::{Geometry, MAX_CLUSTER_BITS, MIN_CLUSTER_BITS, TABLE_ENTRY_SIZE, Version};
use crate::error::ResultExt;
use crate::{BackingReference, Codec, Error, ErrorKind, HostOffset, Result};

/// "QFI\xfb".
pub const MAGIC: u32 = 0x5146_49fb;
/// Longest backing file name in bytes.
pub const MAX_BACKING_NAME: u64 = 1023;
/// Largest L1 table in bytes.
pub const MAX_L1_SIZE: u64 = 32 << 20;
/// Largest refcount table in bytes.
pub const MAX_REFCOUNT_TABLE_SIZE: u64 = 8 << 20;
/// Most snapshots in an image.
pub const MAX_SNAPSHOTS: u32 = 65536;

/// Bytes of a version 2 header.
const V2_LEN: usize = size_of::<RawHeader>();
/// Bytes of the shortest version 3 header: up to the compression type.
const V3_MIN_LEN: usize = 104;
/// Bytes of a version 3 header with all fields known here.
const V3_LEN: usize = V2_LEN + size_of::<RawHeaderV3>();

/// The fields of every version.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    /// [`MAGIC`].
    magic: U32,
    /// 2 or 3.
    version: U32,
    /// Where the backing file name stands in the first cluster; 0: no backing file.
    backing_file_offset: U64,
    /// Length of the backing file name in bytes, at most 1023.
    backing_file_size: U32,
    /// Logarithm of the cluster size.
    cluster_bits: U32,
    /// Size of the virtual disk in bytes.
    size: U64,
    /// 0: none, 1: AES, 2: LUKS.
    crypt_method: U32,
    /// Entries of the active L1 table.
    l1_size: U32,
    /// Where the active L1 table starts, cluster-aligned.
    l1_table_offset: U64,
    /// Where the refcount table starts, cluster-aligned.
    refcount_table_offset: U64,
    /// Clusters of the refcount table.
    refcount_table_clusters: U32,
    /// Number of internal snapshots.
    nb_snapshots: U32,
    /// Where the snapshot table starts, cluster-aligned.
    snapshots_offset: U64,
}

/// The fields that version 3 adds.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeaderV3 {
    /// Features without which the image cannot be opened.
    incompatible_features: U64,
    /// Features that may be ignored.
    compatible_features: U64,
    /// Features that unknowing writers must clear.
    autoclear_features: U64,
    /// Logarithm of the refcount width in bits; 4 in version 2.
    refcount_order: U32,
    /// Length of the header's fields in bytes.
    header_length: U32,
    /// 0: zlib, 1: zstd. Absent from headers of 104 bytes, which mean zlib.
    compression_type: u8,
    /// Must be zero; keeps the length a multiple of 8.
    padding: [u8; 7],
}

const _: () = assert!(V2_LEN == 72);
const _: () = assert!(V3_LEN == 112);

/// What an image is opened for, as far as its header cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read or write its content.
    Use(Access),
    /// To check (and perhaps repair) its metadata: damaged tables must not stop that.
    Check,
}

/// How guest data is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// AES-CBC with the passphrase as its key. Obsolete.
    Aes,
    /// LUKS, its header in an extension.
    Luks,
}

impl Encryption {
    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes => "aes",
            Self::Luks => "luks",
        }
    }
}

/// Where a table of the header stands, in entries or clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableLocation {
    /// The first byte, cluster-aligned.
    pub offset: HostOffset,
    /// How many: entries (L1), clusters (refcount table) or snapshots.
    pub count: u32,
}

/// A validated header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The version.
    pub version: Version,
    /// Logarithm of the cluster size.
    pub cluster_bits: u32,
    /// Size of the virtual disk as it stands in the header, in bytes.
    pub size: u64,
    /// Encryption of guest data.
    pub encryption: Option<Encryption>,
    /// The active L1 table; `count` is its entries.
    pub l1: TableLocation,
    /// The refcount table; `count` is its clusters.
    pub refcount_table: TableLocation,
    /// The snapshot table; `count` is the number of snapshots.
    pub snapshots: TableLocation,
    /// Incompatible features, all known.
    pub incompatible: Incompatible,
    /// Compatible features, unknown ones kept.
    pub compatible: Compatible,
    /// Autoclear features, unknown ones kept.
    pub autoclear: Autoclear,
    /// Logarithm of the refcount width in bits.
    pub refcount_order: u32,
    /// How compressed clusters are compressed.
    pub compression: Codec,
    /// Header fields that this program does not know, behind those that it does.
    pub unknown_fields: Vec<u8>,
    /// The extensions.
    pub extensions: Extensions,
    /// The backing file name as its bytes, not empty.
    pub backing_name: Option<Vec<u8>>,
}

impl Header {
    /// Reads and validates the header of an image.
    pub fn read(disk: &dyn Disk, purpose: Purpose) -> Result<Self> {
        let mut start = vec![0; V3_LEN];
        disk.read_padded(0, &mut start).context(|| "Could not read qcow2 header".into())?;
        let (raw, _) = RawHeader::read_from_prefix(&start).map_err(|_| too_short())?;
        check_identity(&raw)?;
        let mut cluster = vec![0; 1 << raw.cluster_bits.get()];
        disk.read_padded(0, &mut cluster).context(|| "Could not read qcow2 header".into())?;
        Self::parse(&cluster, purpose)
    }

    /// Validates the header in an image's first cluster (zeroes standing for what lies past the
    /// end of the file).
    pub fn parse(cluster: &[u8], purpose: Purpose) -> Result<Self> {
        let (raw, rest) = RawHeader::read_from_prefix(cluster).map_err(|_| too_short())?;
        let version = check_identity(&raw)?;
        let (v3, len) = match version {
            Version::V2 => (VERSION_2_DEFAULTS, V2_LEN),
            Version::V3 => {
                let (v3, _) = RawHeaderV3::read_from_prefix(rest).map_err(|_| too_short())?;
                (v3, v3.header_length.get() as usize)
            }
        };
        let unknown_fields = check_length(cluster, version, len)?;
        let backing_offset = raw.backing_file_offset.get();
        if backing_offset > cluster.len() as u64 {
            return Err(Error::corrupt("Invalid backing file offset"));
        }
        let area_end = if backing_offset == 0 { cluster.len() } else { backing_offset as usize };
        let area = cluster.get(len..area_end).unwrap_or_default();

        let incompatible = Incompatible::from_bits_retain(v3.incompatible_features.get());
        let compression = check_compression(&v3, len, incompatible)?;
        feature::refuse_unknown(incompatible, &extension::find_feature_names(area))?;
        if incompatible.contains(Incompatible::CORRUPT) && purpose == Purpose::Use(Access::Write) {
            let text = "qcow2: Image is corrupt; cannot be opened read/write";
            return Err(Error::corrupt(text));
        }
        let mut header = Self {
            version,
            cluster_bits: raw.cluster_bits.get(),
            size: raw.size.get(),
            encryption: None,
            l1: location(raw.l1_table_offset, raw.l1_size),
            refcount_table: location(raw.refcount_table_offset, raw.refcount_table_clusters),
            snapshots: location(raw.snapshots_offset, raw.nb_snapshots),
            incompatible,
            compatible: Compatible::from_bits_retain(v3.compatible_features.get()),
            autoclear: Autoclear::from_bits_retain(v3.autoclear_features.get()),
            refcount_order: v3.refcount_order.get(),
            compression,
            unknown_fields,
            extensions: Extensions::default(),
            backing_name: None,
        };
        header.check_tables(purpose)?;
        header.encryption = parse_encryption(raw.crypt_method.get())?;
        let around = Surroundings {
            geometry: header.geometry(),
            autoclear: header.autoclear,
            luks: header.encryption == Some(Encryption::Luks),
        };
        header.extensions = Extensions::parse(area, &around)?;
        header.check_companions()?;
        header.backing_name = parse_backing_name(cluster, &raw)?;
        Ok(header)
    }

    /// The sizes that follow from the header.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            version: self.version,
            cluster_bits: self.cluster_bits,
            extended_l2: self.incompatible.contains(Incompatible::EXTENDED_L2),
            refcount_order: self.refcount_order,
            external_data: self.incompatible.contains(Incompatible::DATA_FILE),
        }
    }

    /// Size of the virtual disk: whole sectors only.
    pub fn virtual_size(&self) -> u64 {
        self.size & !511
    }

    /// The backing image that the header names.
    pub fn backing(&self) -> Option<BackingReference> {
        let name = self.backing_name.clone()?;
        let format = self.extensions.backing_format.as_ref().filter(|format| !format.is_empty());
        Some(BackingReference { name, format: format.map(|text| String::from_utf8_lossy(text).into_owned()) })
    }

    /// Where every table may stand and how large it may be.
    fn check_tables(&self, purpose: Purpose) -> Result<()> {
        let geometry = self.geometry();
        if geometry.subcluster_size() < 1 << MIN_CLUSTER_BITS {
            let size = geometry.subcluster_size();
            return Err(Error::corrupt(format!("Unsupported subcluster size: {size}")));
        }
        if self.refcount_order > 6 {
            return Err(Error::corrupt("Reference count entry width too large; may not exceed 64 bits"));
        }
        let in_use = matches!(purpose, Purpose::Use(_));
        if self.refcount_table.count == 0 && in_use {
            return Err(Error::corrupt("Image does not contain a reference count table"));
        }
        let cluster_size = geometry.cluster_size();
        let limit = MAX_REFCOUNT_TABLE_SIZE / cluster_size;
        check_table(&geometry, self.refcount_table, cluster_size, limit, "Reference count table")?;
        if in_use {
            check_snapshots(&geometry, self.snapshots, "Snapshot table")?;
        }
        check_l1(&geometry, self.l1, "Active L1 table")?;
        // A size so close to 2^64 that rounding it up wraps needs no table, as QEMU counts; it is
        // refused for itself below.
        let needed = self.size.wrapping_add(geometry.l2_coverage() - 1) / geometry.l2_coverage();
        if needed > i32::MAX as u64 {
            return Err(Error::new(ErrorKind::TooLarge, "Image is too big"));
        }
        if u64::from(self.l1.count) < needed {
            return Err(Error::corrupt("L1 table is too small"));
        }
        if self.size > i64::MAX as u64 - (crate::raw::SECTOR - 1) {
            let reason = Error::new(ErrorKind::TooLarge, "File too large");
            return Err(reason.context("Could not refresh total sector count"));
        }
        Ok(())
    }

    /// Things that must stand in the header together.
    fn check_companions(&self) -> Result<()> {
        if self.encryption == Some(Encryption::Luks) && self.extensions.encryption.is_none() {
            return Err(Error::corrupt("Missing CRYPTO header for crypt method 2"));
        }
        Ok(())
    }

    /// The header as bytes: at most one cluster, the rest of which is zeroes.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        self.serialize_as(Layout::default())
    }

    /// The same with its parts where the caller wants them. Between them are zeroes.
    pub(super) fn serialize_as(&self, layout: Layout) -> Result<Vec<u8>> {
        let cluster_size = 1usize << self.cluster_bits;
        let mut bytes = self.raw().as_bytes().to_vec();
        if self.version >= Version::V3 {
            bytes.extend_from_slice(self.raw_v3().as_bytes());
            bytes.extend_from_slice(&self.unknown_fields);
        }
        let name = self.backing_name.as_deref().unwrap_or_default();
        let end = layout.name_at.unwrap_or(cluster_size.saturating_sub(name.len()));
        let room = match layout.feature_names {
            FeatureNames::Written => end.saturating_sub(bytes.len()),
            FeatureNames::LeftOut => 0,
        };
        bytes.extend_from_slice(&self.extensions.serialize(self.version, room));
        if !name.is_empty() {
            let offset = layout.name_at.unwrap_or(bytes.len());
            if bytes.len() > offset {
                return Err(too_large());
            }
            bytes.resize(offset, 0);
            bytes.extend_from_slice(name);
            let (raw, _) = RawHeader::mut_from_prefix(&mut bytes).map_err(|_| too_short())?;
            raw.backing_file_offset = (offset as u64).into();
            raw.backing_file_size = (name.len() as u32).into();
        }
        if bytes.len() > cluster_size {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// Which bytes of its cluster a header in a file consists of: its fields with the extensions,
    /// and the backing file name.
    pub(super) fn parts(cluster: &[u8]) -> [Range<usize>; 2] {
        let whole = [0..cluster.len(), 0..0];
        let Ok((raw, rest)) = RawHeader::read_from_prefix(cluster) else { return whole };
        let len = match (raw.version.get(), RawHeaderV3::read_from_prefix(rest)) {
            (2, _) => V2_LEN,
            (_, Ok((v3, _))) => v3.header_length.get() as usize,
            (_, Err(_)) => return whole,
        };
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(cluster.len());
        let name_at = raw.backing_file_offset.get();
        let name_end = name_at.saturating_add(u64::from(raw.backing_file_size.get()));
        let area_end = if name_at == 0 { cluster.len() } else { within(name_at) };
        let Some(area) = cluster.get(len..area_end) else { return whole };
        let name = if name_at == 0 { 0..0 } else { within(name_at)..within(name_end) };
        [0..len + extension::area_len(area), name]
    }

    fn raw(&self) -> RawHeader {
        RawHeader {
            magic: MAGIC.into(),
            version: self.version.number().into(),
            backing_file_offset: 0.into(),
            backing_file_size: 0.into(),
            cluster_bits: self.cluster_bits.into(),
            size: self.size.into(),
            crypt_method: match self.encryption {
                None => 0,
                Some(Encryption::Aes) => 1,
                Some(Encryption::Luks) => 2,
            }
            .into(),
            l1_size: self.l1.count.into(),
            l1_table_offset: self.l1.offset.0.into(),
            refcount_table_offset: self.refcount_table.offset.0.into(),
            refcount_table_clusters: self.refcount_table.count.into(),
            nb_snapshots: self.snapshots.count.into(),
            snapshots_offset: self.snapshots.offset.0.into(),
        }
    }

    fn raw_v3(&self) -> RawHeaderV3 {
        RawHeaderV3 {
            incompatible_features: self.incompatible.bits().into(),
            compatible_features: self.compatible.bits().into(),
            autoclear_features: self.autoclear.bits().into(),
            refcount_order: self.refcount_order.into(),
            header_length: ((V3_LEN + self.unknown_fields.len()) as u32).into(),
            compression_type: match self.compression {
                Codec::Deflate => 0,
                Codec::Zstd => 1,
            },
            padding: [0; 7],
        }
    }
}

/// Where the parts of a header stand that have no place of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    /// The backing file name: right behind the extensions if this does not say.
    pub(super) name_at: Option<usize>,
    /// What becomes of the names of feature bits.
    pub(super) feature_names: FeatureNames,
}

/// Whether a header has the names of feature bits, which nobody needs to understand it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FeatureNames {
    /// They are written if there is room.
    #[default]
    Written,
    /// They are not.
    LeftOut,
}

/// What version 2 means by the fields that it does not have.
const VERSION_2_DEFAULTS: RawHeaderV3 = RawHeaderV3 {
    incompatible_features: U64::ZERO,
    compatible_features: U64::ZERO,
    autoclear_features: U64::ZERO,
    refcount_order: U32::new(4),
    header_length: U32::new(V2_LEN as u32),
    compression_type: 0,
    padding: [0; 7],
};

/// Bytes of the shortest snapshot table entry.
const SNAPSHOT_MIN_SIZE: u64 = 40;

fn location(offset: U64, count: U32) -> TableLocation {
    TableLocation { offset: HostOffset(offset.get()), count: count.get() }
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "The header does not fit into its cluster")
}

fn too_short() -> Error {
    Error::corrupt("qcow2 header too short")
}

/// What must hold before any other field means anything.
fn check_identity(raw: &RawHeader) -> Result<Version> {
    if raw.magic.get() != MAGIC {
        return Err(Error::corrupt("Image is not in qcow2 format"));
    }
    let number = raw.version.get();
    let Some(version) = Version::from_number(number) else {
        return Err(Error::unsupported(format!("Unsupported qcow2 version {number}")));
    };
    let bits = raw.cluster_bits.get();
    if !(MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS).contains(&bits) {
        return Err(Error::unsupported(format!("Unsupported cluster size: 2^{bits}")));
    }
    Ok(version)
}

/// The fields behind those that are known, if the header's length can be.
fn check_length(cluster: &[u8], version: Version, len: usize) -> Result<Vec<u8>> {
    if version >= Version::V3 && len < V3_MIN_LEN {
        return Err(too_short());
    }
    if len > cluster.len() {
        return Err(Error::corrupt("qcow2 header exceeds cluster size"));
    }
    Ok(cluster.get(V3_LEN..len).unwrap_or_default().to_vec())
}

fn check_compression(v3: &RawHeaderV3, len: usize, features: Incompatible) -> Result<Codec> {
    let kind = if len > V3_MIN_LEN { v3.compression_type } else { 0 };
    let flagged = features.contains(Incompatible::COMPRESSION);
    match (kind, flagged) {
        (0, false) => Ok(Codec::Deflate),
        (1, true) => Ok(Codec::Zstd),
        (0, true) => Err(Error::corrupt("qcow2: Compression type incompatible feature bit must not be set")),
        (1, false) => Err(Error::corrupt("qcow2: Compression type incompatible feature bit must be set")),
        (other, _) => Err(Error::unsupported(format!("qcow2: unknown compression type: {other}"))),
    }
}

fn parse_encryption(method: u32) -> Result<Option<Encryption>> {
    match method {
        0 => Ok(None),
        1 => Ok(Some(Encryption::Aes)),
        2 => Ok(Some(Encryption::Luks)),
        other => Err(Error::unsupported(format!("Unsupported encryption method {}", other as i32))),
    }
}

/// The place of the snapshot table, as far as its count tells how large it is.
pub fn check_snapshots(geometry: &Geometry, table: TableLocation, name: &str) -> Result<()> {
    check_table(geometry, table, SNAPSHOT_MIN_SIZE, u64::from(MAX_SNAPSHOTS), name)
}

/// The place of an L1 table, the active one's or a snapshot's.
pub fn check_l1(geometry: &Geometry, table: TableLocation, name: &str) -> Result<()> {
    check_table(geometry, table, TABLE_ENTRY_SIZE, MAX_L1_SIZE / TABLE_ENTRY_SIZE, name)
}

/// A table's place: at most `limit` entries of `entry_size` bytes, cluster-aligned, within what a
/// signed offset can say.
fn check_table(
    geometry: &Geometry,
    table: TableLocation,
    entry_size: u64,
    limit: u64,
    name: &str,
) -> Result<()> {
    if u64::from(table.count) > limit {
        return Err(Error::new(ErrorKind::TooLarge, format!("{name} too large")));
    }
    let last = i64::MAX as u64 - u64::from(table.count) * entry_size;
    if table.offset.0 > last || !geometry.is_cluster_start(table.offset) {
        return Err(Error::corrupt(format!("{name} offset invalid")));
    }
    Ok(())
}

fn parse_backing_name(cluster: &[u8], raw: &RawHeader) -> Result<Option<Vec<u8>>> {
    let offset = raw.backing_file_offset.get();
    if offset == 0 {
        return Ok(None);
    }
    let len = u64::from(raw.backing_file_size.get());
    let name = cluster.get(offset as usize..).and_then(|rest| rest.get(..len as usize));
    let Some(name) = name.filter(|_| len <= MAX_BACKING_NAME) else {
        return Err(Error::corrupt("Backing file name too long"));
    };
    let name = until_nul(name);
    Ok((!name.is_empty()).then(|| name.to_vec()))
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
