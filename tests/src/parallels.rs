//! Dirty bitmaps of Parallels images, which QEMU reads and never writes.

use md5::{Digest, Md5};

const SECTOR: usize = 512;
/// What stands before the features: a magic and a checksum.
const HEAD: usize = 24;

/// What is special of a format extension; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Oddity {
    /// Nothing: it has two dirty bitmaps.
    #[default]
    None,
    /// The bitmaps are of another disk.
    Size,
    /// A bit for three sectors.
    Granularity,
    /// A table that is too long for its bitmap.
    Table,
    /// A table that is longer than the feature.
    TableBeyond,
    /// A feature with flags.
    Flags,
    /// A feature that nobody knows.
    Unknown,
    /// A feature that is too short for a bitmap.
    Short,
    /// A feature that is larger than the extension.
    Long,
    /// Both bitmaps have the same id.
    Twice,
    /// The checksum is another one.
    Checksum,
    /// The magic is another one.
    Magic,
    /// There is no feature.
    Empty,
}

impl Oddity {
    /// The oddity of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "size" => Self::Size,
            "granularity" => Self::Granularity,
            "table" => Self::Table,
            "table-beyond" => Self::TableBeyond,
            "flags" => Self::Flags,
            "unknown" => Self::Unknown,
            "short" => Self::Short,
            "long" => Self::Long,
            "twice" => Self::Twice,
            "checksum" => Self::Checksum,
            "magic" => Self::Magic,
            "empty" => Self::Empty,
            _ => return None,
        })
    }
}

fn number(image: &[u8], at: usize, width: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(&image[at..at + width]);
    u64::from_le_bytes(bytes)
}

/// Adds a format extension with two dirty bitmaps to an image: one with some bits set in a cluster of its own,
/// one that is all set.
pub fn with_bitmaps(mut image: Vec<u8>, oddity: Oddity) -> Vec<u8> {
    let cluster = number(&image, 28, 4) as usize * SECTOR;
    let sectors = number(&image, 36, 8);
    image.resize(image.len().next_multiple_of(cluster), 0);
    let at = image.len();
    image[56..64].copy_from_slice(&((at / SECTOR) as u64).to_le_bytes());
    let mut features = Vec::new();
    if oddity != Oddity::Empty {
        let bits = ((at + cluster) / SECTOR) as u64;
        features.extend(feature(&[bits], 128, [7; 16], sectors, oddity));
        let id = if oddity == Oddity::Twice { [7; 16] } else { std::array::from_fn(|byte| byte as u8) };
        features.extend(feature(&[1], 8, id, sectors, Oddity::None));
    }
    features.resize(cluster - HEAD, 0);
    let mut checksum = <[u8; 16]>::from(Md5::digest(&features));
    let mut magic = 0xab23_4cef_23dc_ea87_u64;
    match oddity {
        Oddity::Checksum => checksum[5] ^= 1,
        Oddity::Magic => magic ^= 1,
        _ => {}
    }
    image.extend(magic.to_le_bytes());
    image.extend(checksum);
    image.extend(features);
    image.extend([0x0f, 0, 0, 0x81]);
    image.resize(at + 2 * cluster, 0);
    image
}

fn feature(table: &[u64], granularity: u32, id: [u8; 16], sectors: u64, oddity: Oddity) -> Vec<u8> {
    let mut data = Vec::new();
    data.extend((sectors + u64::from(oddity == Oddity::Size)).to_le_bytes());
    data.extend(id);
    data.extend((if oddity == Oddity::Granularity { 3 } else { granularity }).to_le_bytes());
    let entries = match oddity {
        Oddity::Table => 0,
        Oddity::TableBeyond => 100,
        _ => table.len() as u32,
    };
    data.extend(entries.to_le_bytes());
    data.extend(table.iter().flat_map(|entry| entry.to_le_bytes()));
    let len = match oddity {
        Oddity::Short => 8,
        Oddity::Long => u32::MAX,
        _ => data.len() as u32,
    };
    let magic = if oddity == Oddity::Unknown { 5 } else { 0x2038_5fae_252c_b34a_u64 };
    let mut bytes = Vec::new();
    bytes.extend(magic.to_le_bytes());
    bytes.extend(u64::from(oddity == Oddity::Flags).to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
