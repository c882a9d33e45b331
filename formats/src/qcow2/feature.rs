//! Feature bits of a version 3 header, and their names.

use bitflags::bitflags;

use crate::{Error, Result};

bitflags! {
    /// Features that a program must know to open the image at all.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Incompatible: u64 {
        /// Refcounts may be out of date: rebuild them before writing.
        const DIRTY = 1 << 0;
        /// Metadata is known to be damaged: do not write.
        const CORRUPT = 1 << 1;
        /// Guest data is in a file of its own.
        const DATA_FILE = 1 << 2;
        /// The compression type field is not zlib.
        const COMPRESSION = 1 << 3;
        /// L2 entries are 16 bytes and carry a subcluster bitmap.
        const EXTENDED_L2 = 1 << 4;
    }
}

bitflags! {
    /// Features that a program may ignore.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Compatible: u64 {
        /// Refcounts may be written late, under the dirty bit.
        const LAZY_REFCOUNTS = 1 << 0;
    }
}

bitflags! {
    /// Features that a program which does not know them must clear when it writes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Autoclear: u64 {
        /// The bitmaps extension describes the image as it is.
        const BITMAPS = 1 << 0;
        /// The external data file can be read as a raw image.
        const RAW_DATA = 1 << 1;
    }
}

/// Which of the three sets a feature belongs to, as the feature-name table numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSet {
    /// Must be known.
    Incompatible,
    /// May be ignored.
    Compatible,
    /// Must be cleared by writers that do not know it.
    Autoclear,
    /// A number that the specification does not define.
    Other(u8),
}

impl FeatureSet {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Incompatible,
            1 => Self::Compatible,
            2 => Self::Autoclear,
            other => Self::Other(other),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Incompatible => 0,
            Self::Compatible => 1,
            Self::Autoclear => 2,
            Self::Other(code) => code,
        }
    }
}

/// One entry of the feature-name table: what a person calls a bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureName {
    /// The set the bit belongs to.
    pub set: FeatureSet,
    /// The bit's number within the set.
    pub bit: u8,
    /// The name, at most 46 bytes.
    pub name: Vec<u8>,
}

/// Bytes of one entry on disk: set, bit, zero-padded name.
const ENTRY_SIZE: usize = 48;

/// The table that new images carry.
pub fn standard_names() -> Vec<FeatureName> {
    use FeatureSet::{Autoclear as A, Compatible as C, Incompatible as I};
    let names: [(FeatureSet, u8, &str); 8] = [
        (I, 0, "dirty bit"),
        (I, 1, "corrupt bit"),
        (I, 2, "external data file"),
        (I, 3, "compression type"),
        (I, 4, "extended L2 entries"),
        (C, 0, "lazy refcounts"),
        (A, 0, "bitmaps"),
        (A, 1, "raw external data"),
    ];
    names.into_iter().map(|(set, bit, name)| FeatureName { set, bit, name: name.into() }).collect()
}

/// Reads a feature-name table; what is shorter than an entry at its end is no entry.
pub fn parse_names(data: &[u8]) -> Vec<FeatureName> {
    let entry = |entry: &[u8; ENTRY_SIZE]| {
        let [set, bit, name @ ..] = entry;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        FeatureName { set: FeatureSet::from_code(*set), bit: *bit, name: name[..end].to_vec() }
    };
    data.as_chunks::<ENTRY_SIZE>().0.iter().map(entry).collect()
}

/// Writes a feature-name table.
pub fn serialize_names(names: &[FeatureName]) -> Vec<u8> {
    let mut table = Vec::with_capacity(names.len() * ENTRY_SIZE);
    for feature in names {
        let mut entry = [0; ENTRY_SIZE];
        entry[0] = feature.set.code();
        entry[1] = feature.bit;
        let length = feature.name.len().min(ENTRY_SIZE - 2);
        entry[2..2 + length].copy_from_slice(&feature.name[..length]);
        table.extend_from_slice(&entry);
    }
    table
}

/// Refuses incompatible features that this program does not know, by the names that the image
/// itself gives them.
pub fn refuse_unknown(features: Incompatible, names: &[FeatureName]) -> Result<()> {
    let mut unknown = features.bits() & !Incompatible::all().bits();
    if unknown == 0 {
        return Ok(());
    }
    let mut parts = Vec::new();
    for feature in names.iter().take_while(|feature| !feature.name.is_empty()) {
        let bit = 1u64.checked_shl(u32::from(feature.bit)).unwrap_or(0);
        if feature.set == FeatureSet::Incompatible && unknown & bit != 0 {
            parts.push(String::from_utf8_lossy(&feature.name).into_owned());
            unknown &= !bit;
        }
    }
    if unknown != 0 {
        parts.push(format!("Unknown incompatible feature: {unknown:x}"));
    }
    Err(Error::unsupported(format!("Unsupported qcow2 feature(s): {}", parts.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        let names = standard_names();
        let bytes = serialize_names(&names);
        assert_eq!(bytes.len(), 8 * ENTRY_SIZE);
        assert_eq!(parse_names(&bytes), names);
    }

    #[test]
    fn unknown_bits_are_named_by_the_image() {
        let names = [FeatureName { set: FeatureSet::Incompatible, bit: 9, name: b"nine".to_vec() }];
        let known = Incompatible::DIRTY | Incompatible::EXTENDED_L2;
        assert!(refuse_unknown(known, &names).is_ok());
        let error = refuse_unknown(Incompatible::from_bits_retain(1 << 9 | 1 << 62), &names).unwrap_err();
        let expected =
            "Unsupported qcow2 feature(s): nine, Unknown incompatible feature: 4000000000000000".to_owned();
        assert_eq!(error.report(), expected);
    }
}
