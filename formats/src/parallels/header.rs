//! The header of a Parallels image.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::{SECTOR, sectors};
use crate::resize::MAX_DISK_SIZE;
use crate::{Error, ErrorKind, Result};

/// Entries are counted in sectors.
const MAGIC: [u8; 16] = *b"WithoutFreeSpace";
/// Entries are counted in clusters.
const MAGIC_EXTENDED: [u8; 16] = *b"WithouFreSpacExt";
const VERSION: u32 = 2;
/// Whoever writes the image puts this into [`RawHeader::in_use`], and takes it away in the end.
const IN_USE: u32 = 0x746f_6e59;
/// Larger clusters QEMU does not read, in sectors.
const MAX_TRACKS: u32 = i32::MAX as u32 / 513;
/// The most entries whose table QEMU reads at once.
const MAX_ENTRIES: u32 = i32::MAX as u32 / 4;
/// A table, with the header before it, is read in one request, which has no more bytes.
const MAX_REQUEST: u64 = 0x7fff_fe00;
/// Geometry of new images, which nobody looks at.
const HEADS: u32 = 16;
const SECTORS_IN_CYLINDER: u64 = 32;
/// More clusters than entries of 32 bits can tell apart.
const TOO_MANY_CLUSTERS: u64 = 1 << 32;

/// Where the table starts.
pub const TABLE_OFFSET: u64 = size_of::<RawHeader>() as u64;

/// The header as it is in the file (Parallels Expandable Image File Format, "Header").
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    magic: [u8; 16],
    version: U32,
    heads: U32,
    cylinders: U32,
    /// Sectors of a cluster.
    tracks: U32,
    /// Entries in the table.
    entries: U32,
    /// Sectors of the virtual disk. The old magic has only the lower half.
    sectors: U64,
    /// Whether somebody writes the image, or did and was interrupted.
    in_use: U32,
    /// Where the first cluster is, in sectors.
    data_offset: U32,
    flags: U32,
    /// Where the format extension is, in sectors, if there is one.
    extension: U64,
}

const _: () = assert!(size_of::<RawHeader>() == 64);

/// What a header says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the virtual disk.
    pub size: u64,
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// Bytes that a table's entry counts.
    pub unit: u64,
    /// Entries in the table.
    pub entries: u32,
    /// Where the first cluster is, as the header says, in bytes; 0 if it does not say it.
    pub data_offset: u64,
    /// Whether somebody writes the image, or did and was interrupted.
    pub is_in_use: bool,
    /// Where the format extension is, if there is one, in bytes.
    pub extension: Option<u64>,
}

impl RawHeader {
    /// The header of a new image.
    pub fn new(size: u64, cluster_size: u64) -> Result<Self> {
        let too_large = |what: &str| Error::invalid(format!("{what} is too large"));
        let round = |bytes: u64| bytes.checked_next_multiple_of(SECTOR);
        let cluster_size = round(cluster_size).filter(|&bytes| bytes / SECTOR <= MAX_TRACKS.into());
        let cluster_size = cluster_size.ok_or_else(|| too_large("Cluster size"))?;
        let image_too_large = || Error::invalid("Image size is too large for this cluster size");
        let size = round(size).filter(|&size| size < TOO_MANY_CLUSTERS * cluster_size);
        let size = size.ok_or_else(image_too_large)?;
        let entries = u32::try_from(size.div_ceil(cluster_size)).ok().filter(|&count| count <= MAX_ENTRIES);
        let entries = entries.ok_or_else(image_too_large)?;
        let mut raw = Self::new_zeroed();
        raw.magic = MAGIC_EXTENDED;
        raw.version = VERSION.into();
        raw.heads = HEADS.into();
        // Of a large disk the lower half, as QEMU has it.
        raw.cylinders = ((size / SECTOR / u64::from(HEADS) / SECTORS_IN_CYLINDER) as u32).into();
        raw.tracks = ((cluster_size / SECTOR) as u32).into();
        raw.entries = entries.into();
        raw.sectors = (size / SECTOR).into();
        // A table has less than 2 GiB, and so has a cluster.
        let data_offset = (TABLE_OFFSET + u64::from(entries) * 4).next_multiple_of(cluster_size);
        raw.data_offset = ((data_offset / SECTOR) as u32).into();
        Ok(raw)
    }

    /// Checks a header, in qemu-img's order. Some refusals it tells in the operating system's words, with the
    /// image's name.
    pub fn parse(&self, name: &str) -> Result<Header> {
        let is_known = self.magic == MAGIC || self.magic == MAGIC_EXTENDED;
        if self.version.get() != VERSION || !is_known {
            return Err(Error::invalid("Image not in Parallels format"));
        }
        let tracks = self.tracks.get();
        if tracks == 0 {
            return Err(Error::corrupt("Invalid image: Zero sectors per track"));
        }
        let cluster_size = u64::from(tracks) * SECTOR;
        if tracks > MAX_TRACKS {
            return Err(Error::corrupt("Invalid image: Too big cluster"));
        }
        let entries = self.entries.get();
        if entries > MAX_ENTRIES {
            return Err(Error::corrupt("Catalog too large"));
        }
        if TABLE_OFFSET + u64::from(entries) * 4 > MAX_REQUEST {
            return Err(Error::corrupt(format!("Could not open '{name}': Input/output error")));
        }
        let extension =
            self.extension.get().checked_mul(SECTOR).filter(|&at| at < i64::MAX as u64 / SECTOR * SECTOR);
        let extension = extension.ok_or_else(|| Error::corrupt("Invalid image: Too big offset"))?;
        let (unit, count) = match self.magic == MAGIC {
            true => (SECTOR, self.sectors.get() & u64::from(u32::MAX)),
            false => (cluster_size, self.sectors.get()),
        };
        let size = count.checked_mul(SECTOR).filter(|&size| size <= MAX_DISK_SIZE);
        let size = size.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "Could not refresh total sector count: File too large")
        })?;
        Ok(Header {
            size,
            cluster_size,
            unit,
            entries,
            data_offset: u64::from(self.data_offset.get()) * SECTOR,
            is_in_use: self.in_use.get() == IN_USE,
            extension: (extension != 0).then_some(extension),
        })
    }

    /// The same image, closed properly.
    pub fn closed(self) -> Self {
        Self { in_use: 0.into(), ..self }
    }

    /// The same image, closed properly, without its format extension.
    pub fn without_extension(self) -> Self {
        Self { extension: 0.into(), ..self }
    }

    /// Whether clusters are counted from the start of the file.
    fn is_extended(&self) -> bool {
        self.magic == MAGIC_EXTENDED
    }

    /// The same image with a larger disk.
    pub fn grown(&self, size: u64) -> Result<Self> {
        let new = Self::new(size, u64::from(self.tracks.get()) * SECTOR)?;
        // The old magic has no more than 32 bits for sectors, and counts clusters in them.
        if !self.is_extended() && u32::try_from(new.sectors.get()).is_err() {
            return Err(Error::invalid("Image size is too large for this cluster size"));
        }
        let entries = self.entries.get().max(new.entries.get());
        Ok(Self { sectors: new.sectors, cylinders: new.cylinders, entries: entries.into(), ..*self })
    }

    /// The same image with its first cluster at a place that a table of bounded size gives it.
    pub fn with_data_at(self, at: u64) -> Self {
        Self { data_offset: ((at / SECTOR) as u32).into(), ..self }
    }

    /// The same image with its first cluster where it should be.
    pub fn with_data_start(self, start: DataStart) -> Self {
        match start {
            DataStart::Sound(_) => self,
            // Not beyond a table, which has less than 2 GiB, and a cluster.
            DataStart::Wrong { instead } => Self { data_offset: ((instead / SECTOR) as u32).into(), ..self },
        }
    }
}

impl Header {
    /// Where the table ends.
    pub fn table_end(&self) -> u64 {
        TABLE_OFFSET + u64::from(self.entries) * 4
    }

    /// Whether clusters are counted from the start of the file.
    pub fn is_extended(&self) -> bool {
        self.unit == self.cluster_size
    }

    /// Where the first cluster can be at the earliest.
    pub fn first_data(&self) -> u64 {
        let end = sectors(self.table_end());
        if self.is_extended() { end.next_multiple_of(self.cluster_size) } else { end }
    }

    /// Where the first cluster is in a file of that length, or where it should be if the header is wrong.
    pub fn data_start(&self, file_len: u64) -> DataStart {
        let first = self.first_data();
        let at = self.data_offset;
        let is_aligned = !self.is_extended() || at.is_multiple_of(self.cluster_size);
        if at == 0 && !self.is_extended() {
            DataStart::Sound(first)
        } else if at < first || at > sectors(file_len) || !is_aligned {
            DataStart::Wrong { instead: first }
        } else {
            DataStart::Sound(at)
        }
    }

    /// Where the cluster of an entry is, if it is anywhere.
    pub fn host(&self, entry: u32) -> Option<u64> {
        // Both factors are bounded: less than 2^32 times 2^31.
        (entry != 0).then(|| u64::from(entry) * self.unit)
    }

    /// The entry of a cluster at a place of the file, if there can be one.
    pub fn entry(&self, host: u64) -> Option<u32> {
        u32::try_from(host / self.unit).ok().filter(|_| host.is_multiple_of(self.unit))
    }

    /// How much larger the entry of the next cluster in the file is.
    pub fn stride(&self) -> u32 {
        // A cluster has less than 2^31 bytes.
        (self.cluster_size / self.unit) as u32
    }
}

/// Where the first cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataStart {
    /// Here, as the header says.
    Sound(u64),
    /// Not where the header says.
    Wrong {
        /// Where it should be.
        instead: u64,
    },
}

impl DataStart {
    /// Where it is, or should be.
    pub fn at(self) -> u64 {
        match self {
            Self::Sound(at) | Self::Wrong { instead: at } => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_header_is_read_back() {
        for (size, cluster_size) in [(0, 1 << 20), (513, 1 << 20), (10 << 20, 4096), (1 << 36, 513)] {
            let raw = RawHeader::new(size, cluster_size).unwrap();
            let header = raw.parse("x").unwrap();
            assert_eq!((header.size, header.cluster_size), (sectors(size), sectors(cluster_size)));
            assert_eq!(header.data_start(header.data_offset), DataStart::Sound(header.data_offset));
            assert!(!header.is_in_use && header.extension.is_none() && header.stride() == 1);
        }
    }

    #[test]
    fn sizes_that_are_too_large_are_refused() {
        let refused = |size, cluster_size| RawHeader::new(size, cluster_size).unwrap_err().report();
        assert_eq!(refused(1, u64::MAX), "Cluster size is too large");
        assert_eq!(refused(1, 1 << 31), "Cluster size is too large");
        assert_eq!(refused(0, 0), "Image size is too large for this cluster size");
        assert_eq!(refused(1 << 52, 1 << 20), "Image size is too large for this cluster size");
        assert_eq!(refused(1 << 50, 1 << 20), "Image size is too large for this cluster size");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good: [u8; 64] = zerocopy::transmute!(RawHeader::new(10 << 20, 1 << 20).unwrap());
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good;
                bytes[at] = value;
                let raw: RawHeader = zerocopy::transmute!(bytes);
                if let Ok(header) = raw.parse("x") {
                    assert!(header.data_start(1 << 30).at() >= header.table_end() || header.data_offset == 0);
                    assert!(header.host(u32::MAX).is_some_and(|host| host < i64::MAX as u64));
                }
            }
        }
    }
}
