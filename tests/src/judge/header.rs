//! The header and its extensions.

use super::bytes::{u32_at, u64_at};

const MAGIC: u32 = 0x5146_49fb;
/// Incompatible features: dirty, corrupt, external data file, compression type, extended L2.
const KNOWN_INCOMPATIBLE: u64 = 0b1_1111;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;

/// The fields that do not say where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFacts {
    /// 2 or 3.
    pub version: u32,
    /// Cluster size as a power of two.
    pub cluster_bits: u32,
    /// Width of a reference count, in bits, as a power of two.
    pub refcount_order: u32,
    /// Feature bits: incompatible, compatible, autoclear.
    pub features: [u64; 3],
    /// 0 deflate, 1 zstd.
    pub compression: u8,
    /// 0 none, 1 AES, 2 LUKS.
    pub encryption: u32,
    /// Name of the backing file.
    pub backing: Option<String>,
    /// Its format.
    pub backing_format: Option<String>,
    /// Name of the data file.
    pub data_file: Option<String>,
}

/// A header that can be understood.
#[derive(Debug)]
pub struct Header {
    pub facts: HeaderFacts,
    /// Size of the virtual disk.
    pub size: u64,
    pub l1_size: u32,
    pub l1_offset: u64,
    pub refcount_table: u64,
    pub refcount_table_clusters: u32,
    pub snapshots: u32,
    pub snapshots_offset: u64,
    pub bitmaps: Option<BitmapsExtension>,
    /// Where the LUKS header is, and its length.
    pub luks: Option<(u64, u64)>,
}

/// Where the bitmap directory is.
#[derive(Debug, Clone, Copy)]
pub struct BitmapsExtension {
    pub count: u32,
    pub size: u64,
    pub offset: u64,
}

impl Header {
    /// Understands the first cluster of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if u32_at(bytes, 0) != MAGIC {
            return Err("no qcow2 magic".to_owned());
        }
        let version = u32_at(bytes, 4);
        let (features, refcount_order, length) = match version {
            2 => ([0; 3], 4, 72),
            3 => {
                let features = [u64_at(bytes, 72), u64_at(bytes, 80), u64_at(bytes, 88)];
                (features, u32_at(bytes, 96), u32_at(bytes, 100) as usize)
            }
            _ => return Err(format!("version {version}")),
        };
        let cluster_bits = u32_at(bytes, 20);
        if !(9..=21).contains(&cluster_bits) || refcount_order > 6 || (version == 3 && length < 104) {
            return Err(format!("cluster bits {cluster_bits}, refcount order {refcount_order}"));
        }
        if features[0] & !KNOWN_INCOMPATIBLE != 0 {
            return Err(format!("unknown incompatible features {:#x}", features[0]));
        }
        let cluster = 1 << cluster_bits;
        let bytes = bytes.get(..cluster).unwrap_or(bytes);
        let name_at = u64_at(bytes, 8) as usize;
        let name_len = u32_at(bytes, 16) as usize;
        let backing = match name_at {
            0 => None,
            at => Some(text(bytes.get(at..at.saturating_add(name_len)).ok_or("the backing name is cut")?)?),
        };
        let extensions_end = if name_at == 0 { bytes.len() } else { name_at };
        let extensions = Extensions::parse(bytes.get(length..extensions_end).ok_or("no extensions")?)?;
        let facts = HeaderFacts {
            version,
            cluster_bits,
            refcount_order,
            features,
            compression: if length > 104 { bytes.get(104).copied().unwrap_or(0) } else { 0 },
            encryption: u32_at(bytes, 32),
            backing,
            backing_format: extensions.backing_format,
            data_file: extensions.data_file,
        };
        Ok(Self {
            facts,
            size: u64_at(bytes, 24),
            l1_size: u32_at(bytes, 36),
            l1_offset: u64_at(bytes, 40),
            refcount_table: u64_at(bytes, 48),
            refcount_table_clusters: u32_at(bytes, 56),
            snapshots: u32_at(bytes, 60),
            snapshots_offset: u64_at(bytes, 64),
            // Without its autoclear bit the extension means nothing.
            bitmaps: extensions.bitmaps.filter(|_| features[2] & 1 != 0),
            luks: extensions.luks,
        })
    }

    pub fn cluster_size(&self) -> u64 {
        1 << self.facts.cluster_bits
    }

    /// Whether guest data lies in another file.
    pub fn external_data(&self) -> bool {
        self.facts.features[0] & 4 != 0
    }

    /// Whether that file must be valid as a raw image.
    pub fn raw_data(&self) -> bool {
        self.external_data() && self.facts.features[2] & 2 != 0
    }

    /// Whether L2 entries have 32 subclusters.
    pub fn extended_l2(&self) -> bool {
        self.facts.features[0] & 16 != 0
    }

    pub fn l2_entry_size(&self) -> u64 {
        if self.extended_l2() { 16 } else { 8 }
    }

    /// Entries in an L2 table.
    pub fn l2_entries(&self) -> u64 {
        self.cluster_size() / self.l2_entry_size()
    }

    /// Guest bytes under an L1 entry.
    pub fn l1_coverage(&self) -> u64 {
        self.l2_entries() * self.cluster_size()
    }
}

/// The extensions that say something.
#[derive(Debug, Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: Option<String>,
    bitmaps: Option<BitmapsExtension>,
    luks: Option<(u64, u64)>,
}

impl Extensions {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut found = Self::default();
        let mut at = 0;
        while at + 8 <= bytes.len() {
            let kind = u32_at(bytes, at);
            let len = u32_at(bytes, at + 4) as usize;
            let data = bytes.get(at + 8..(at + 8).saturating_add(len)).ok_or("an extension is cut")?;
            match kind {
                0 => break,
                EXTENSION_BACKING_FORMAT => found.backing_format = Some(text(data)?),
                EXTENSION_DATA_FILE => found.data_file = Some(text(data)?),
                EXTENSION_ENCRYPTION => found.luks = Some((u64_at(data, 0), u64_at(data, 8))),
                EXTENSION_BITMAPS => {
                    let (count, size, offset) = (u32_at(data, 0), u64_at(data, 8), u64_at(data, 16));
                    found.bitmaps = Some(BitmapsExtension { count, size, offset });
                }
                _ => {}
            }
            at += 8 + len.next_multiple_of(8);
        }
        Ok(found)
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a name that is no text".to_owned())
}
