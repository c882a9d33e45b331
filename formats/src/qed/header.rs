//! The header of a QED image (QED Image File Format, "Header").

use bitflags::bitflags;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::{SECTOR, sectors};
use crate::two_level::Shape;
use crate::{BackingReference, Error, Result};

/// `QED\0`.
const MAGIC: [u8; 4] = *b"QED\0";
/// Bytes of the header's fields.
pub(super) const HEADER_LEN: u64 = size_of::<RawHeader>() as u64;
/// Clusters of a new image.
const DEFAULT_CLUSTER_SIZE: u64 = 64 << 10;
/// Clusters of a new image's tables.
const DEFAULT_TABLE_SIZE: u64 = 4;
/// The longest name of a backing image.
const MAX_NAME: u64 = 4095;

bitflags! {
    /// Features without which an image cannot be opened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Features: u64 {
        /// A backing image is named.
        const BACKING_FILE = 1 << 0;
        /// The image was not closed, so its tables have to be checked before it is written.
        const NEED_CHECK = 1 << 1;
        /// The backing image is raw, whatever it looks like.
        const BACKING_IS_RAW = 1 << 2;
    }
}

/// The header as it is in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    magic: [u8; 4],
    /// Bytes of a cluster, a power of two.
    cluster_size: U32,
    /// Clusters of a table, of either level.
    table_size: U32,
    /// Clusters of the header.
    header_size: U32,
    /// [`Features`].
    features: U64,
    /// Features that may be ignored.
    compat_features: U64,
    /// Features that unknowing writers must clear.
    autoclear_features: U64,
    /// Where the first-level table is.
    l1_table_offset: U64,
    /// Bytes of the virtual disk.
    image_size: U64,
    /// Where the backing image's name is, from the header's beginning.
    backing_filename_offset: U32,
    /// Its bytes.
    backing_filename_size: U32,
}

const _: () = assert!(HEADER_LEN == 64);

/// A header whose figures fit together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    raw: RawHeader,
    /// Bytes of the file in whole clusters.
    pub(super) file_size: u64,
}

impl Header {
    /// Checks the header of a file of `len` bytes, in qemu-img's order.
    pub(super) fn parse(raw: RawHeader, len: u64) -> Result<Self> {
        if raw.magic != MAGIC {
            return Err(Error::invalid("Image not in QED format"));
        }
        let unknown = raw.features.get() & !Features::all().bits();
        if unknown != 0 {
            return Err(Error::unsupported(format!("Unsupported QED features: {unknown:x}")));
        }
        let cluster_size = u64::from(raw.cluster_size.get());
        if !is_cluster_size(cluster_size) {
            return Err(Error::invalid("QED cluster size is invalid"));
        }
        let table_size = u64::from(raw.table_size.get());
        if !is_table_size(table_size) {
            return Err(Error::invalid("QED table size is invalid"));
        }
        let size = raw.image_size.get();
        if !size.is_multiple_of(SECTOR) || size > max_size(cluster_size, table_size) {
            return Err(Error::invalid("QED image size is invalid"));
        }
        let header = Self { raw, file_size: len / cluster_size * cluster_size };
        if !header.is_table_offset(raw.l1_table_offset.get()) {
            return Err(Error::invalid("QED table offset is invalid"));
        }
        let name_end =
            u64::from(raw.backing_filename_offset.get()) + u64::from(raw.backing_filename_size.get());
        if header.features().contains(Features::BACKING_FILE) && name_end > header.header_len() {
            return Err(Error::invalid("QED backing filename offset is invalid"));
        }
        Ok(header)
    }

    /// The header of a new image.
    pub(super) fn new(size: u64, cluster_size: Option<u64>, table_size: Option<u64>) -> Result<Self> {
        let cluster_size = cluster_size.unwrap_or(DEFAULT_CLUSTER_SIZE);
        if !is_cluster_size(cluster_size) {
            return Err(Error::invalid(
                "QED cluster size must be within range [4096, 67108864] and power of 2",
            ));
        }
        let table_size = table_size.unwrap_or(DEFAULT_TABLE_SIZE);
        if !is_table_size(table_size) {
            return Err(Error::invalid("QED table size must be within range [1, 16] and power of 2"));
        }
        let size = sectors(size);
        let max = max_size(cluster_size, table_size);
        if size > max {
            return Err(Error::invalid(format!(
                "QED image size must be a non-zero multiple of cluster size and less than {max} bytes"
            )));
        }
        let raw = RawHeader {
            magic: MAGIC,
            // Both are bounded.
            cluster_size: (cluster_size as u32).into(),
            table_size: (table_size as u32).into(),
            header_size: 1.into(),
            features: 0.into(),
            compat_features: 0.into(),
            autoclear_features: 0.into(),
            l1_table_offset: cluster_size.into(),
            image_size: size.into(),
            backing_filename_offset: 0.into(),
            backing_filename_size: 0.into(),
        };
        Ok(Self { raw, file_size: cluster_size + table_size * cluster_size })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.raw.as_bytes()
    }

    pub(super) fn cluster_size(&self) -> u64 {
        self.raw.cluster_size.get().into()
    }

    /// Bytes of a table.
    pub(super) fn table_len(&self) -> u64 {
        u64::from(self.raw.table_size.get()) * self.cluster_size()
    }

    /// Entries of a table.
    pub(super) fn entries(&self) -> u64 {
        self.table_len() / size_of::<U64>() as u64
    }

    /// Bytes of the header with all that stands in its clusters.
    pub(super) fn header_len(&self) -> u64 {
        u64::from(self.raw.header_size.get()) * self.cluster_size()
    }

    /// Where the first-level table is.
    pub(super) fn l1_offset(&self) -> u64 {
        self.raw.l1_table_offset.get()
    }

    /// Where the tables are, and how large.
    pub(super) fn shape(&self) -> Shape {
        let entries = self.entries();
        Shape { l1_offset: self.l1_offset(), l1_entries: entries, l2_entries: entries }
    }

    /// Bytes of the virtual disk.
    pub(super) fn size(&self) -> u64 {
        self.raw.image_size.get()
    }

    /// The same image with a disk of another size, if the tables can have it.
    pub(super) fn with_size(mut self, size: u64) -> Result<Self> {
        if !size.is_multiple_of(SECTOR)
            || size > max_size(self.cluster_size(), self.raw.table_size.get().into())
        {
            return Err(Error::invalid("Invalid image size specified"));
        }
        self.raw.image_size = size.into();
        Ok(self)
    }

    pub(super) fn features(&self) -> Features {
        Features::from_bits_retain(self.raw.features.get())
    }

    /// The same image, whose tables are known to be sound.
    pub(super) fn checked(mut self) -> Self {
        self.raw.features = (self.features() - Features::NEED_CHECK).bits().into();
        self
    }

    /// The same image without what an unknowing writer must clear.
    pub(super) fn cleared(mut self) -> Self {
        self.raw.autoclear_features = 0.into();
        self
    }

    /// Where the backing image's name stands, if one is named.
    pub(super) fn name_place(&self) -> Result<Option<(u64, usize)>> {
        if !self.features().contains(Features::BACKING_FILE) {
            return Ok(None);
        }
        match u64::from(self.raw.backing_filename_size.get()) {
            len if len > MAX_NAME => Err(Error::corrupt("The name of the backing file is too long")),
            len => Ok(Some((self.raw.backing_filename_offset.get().into(), len as usize))),
        }
    }

    /// How the header says which format the backing image has.
    pub(super) fn reference(&self, name: &[u8]) -> Option<BackingReference> {
        let name = name.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())?;
        let is_raw = self.features().contains(Features::BACKING_IS_RAW);
        Some(BackingReference { name: name.to_vec(), format: is_raw.then(|| "raw".to_owned()) })
    }

    /// The same image over another one, whose name stands behind the fields.
    pub(super) fn over(mut self, reference: Option<&BackingReference>) -> Result<Self> {
        let mut features = self.features();
        features.remove(Features::BACKING_FILE | Features::BACKING_IS_RAW);
        let (mut at, mut len) = (0, 0);
        if let Some(BackingReference { name, format }) = reference {
            let room = self.header_len().saturating_sub(HEADER_LEN).min(MAX_NAME);
            if name.len() as u64 > room {
                return Err(Error::invalid("No space left in the file header"));
            }
            features |= Features::BACKING_FILE;
            features.set(Features::BACKING_IS_RAW, format.as_deref() == Some("raw"));
            (at, len) = (HEADER_LEN as u32, name.len() as u32);
        }
        self.raw.features = features.bits().into();
        self.raw.backing_filename_offset = at.into();
        self.raw.backing_filename_size = len.into();
        Ok(self)
    }

    /// Whether a cluster can be there.
    pub(super) fn is_cluster_offset(&self, offset: u64) -> bool {
        offset.is_multiple_of(self.cluster_size()) && offset >= self.header_len() && offset < self.file_size
    }

    /// Whether a table can be there. QEMU takes one of a single cluster for none.
    pub(super) fn is_table_offset(&self, offset: u64) -> bool {
        let last = offset.checked_add(self.table_len() - self.cluster_size());
        last.is_some_and(|last| {
            last > offset && self.is_cluster_offset(offset) && self.is_cluster_offset(last)
        })
    }
}

fn is_cluster_size(size: u64) -> bool {
    (4 << 10..=64 << 20).contains(&size) && size.is_power_of_two()
}

fn is_table_size(size: u64) -> bool {
    (1..=16).contains(&size) && size.is_power_of_two()
}

/// The largest disk. With the largest clusters QEMU's own figure passes 64 bits, and so is none.
fn max_size(cluster_size: u64, table_size: u64) -> u64 {
    let entries = table_size * cluster_size / size_of::<U64>() as u64;
    (entries * cluster_size).wrapping_mul(entries)
}
