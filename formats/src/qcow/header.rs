//! The header of a qcow image of version 1. All numbers have their high byte first.

use journal::Disk;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::SECTOR;
use crate::two_level::Shape;
use crate::{BackingReference, Error, ErrorKind, Result};

/// Bytes of the header; the name of the backing image is behind them, and then the first table.
pub const HEADER_SIZE: u64 = size_of::<RawHeader>() as u64;
const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: u32 = 1;
/// Longer names of backing images are not read, in bytes.
const MAX_NAME: u32 = 1023;
/// The encryption method of images whose passphrase is an AES key.
const AES: u32 = 1;
/// A cluster is compressed.
const COMPRESSED: u64 = 1 << 63;

/// The header as it is in the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    magic: [u8; 4],
    version: U32,
    backing_name_offset: U64,
    backing_name_size: U32,
    /// When the backing image was changed; not in use.
    mtime: U32,
    /// Bytes of the virtual disk.
    size: U64,
    /// Bits of an offset within a cluster.
    cluster_bits: u8,
    /// Bits of an index into a table of the second level.
    l2_bits: u8,
    padding: [u8; 2],
    crypt_method: U32,
    l1_table_offset: U64,
}

const _: () = assert!(HEADER_SIZE == 48);

/// What a header says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the virtual disk, whole sectors.
    pub size: u64,
    cluster_bits: u32,
    /// Where the tables are, and how large.
    pub tables: Shape,
    /// Whether the guest's bytes are encrypted.
    pub is_encrypted: bool,
}

/// Where a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Not here.
    Nowhere,
    /// In the file as it is.
    At(u64),
    /// In the file, so many bytes of it.
    Compressed(u64, u64),
}

/// What a new image is to be.
#[derive(Debug, Clone, Copy)]
pub struct NewHeader<'a> {
    /// Bytes of the virtual disk.
    pub size: u64,
    /// The name of its backing image.
    pub backing: Option<&'a [u8]>,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
}

impl Header {
    /// Bytes of a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Where an entry says that its cluster is.
    pub fn place(&self, entry: u64) -> Place {
        let size_shift = 63 - self.cluster_bits;
        match entry {
            0 => Place::Nowhere,
            _ if entry & COMPRESSED == 0 => Place::At(entry),
            _ => {
                let len = entry >> size_shift & (self.cluster_size() - 1);
                Place::Compressed(entry & ((1 << size_shift) - 1), len)
            }
        }
    }

    /// The entry of a compressed cluster.
    pub fn compressed(&self, offset: u64, len: u64) -> Option<u64> {
        let size_shift = 63 - self.cluster_bits;
        let fits = offset < 1 << size_shift && (1..self.cluster_size()).contains(&len);
        fits.then_some(COMPRESSED | len << size_shift | offset)
    }
}

impl RawHeader {
    /// The header of a new image, and the bytes up to its first table.
    pub fn lay_out(new: NewHeader<'_>) -> Result<(Header, Vec<u8>)> {
        if new.size == 0 {
            return Err(Error::invalid("Image size is too small, cannot be zero length"));
        }
        let name = new.backing.unwrap_or_default();
        let mut raw = Self::new_zeroed();
        (raw.magic, raw.version) = (MAGIC, VERSION.into());
        // Over another image clusters are sectors, so that no write has to read.
        (raw.cluster_bits, raw.l2_bits) = if new.backing.is_some() { (9, 12) } else { (12, 9) };
        if !name.is_empty() {
            raw.backing_name_offset = HEADER_SIZE.into();
            raw.backing_name_size = u32::try_from(name.len()).unwrap_or(u32::MAX).into();
        }
        raw.size = new.size.into();
        raw.crypt_method = u32::from(new.is_encrypted).into();
        let l1 = (HEADER_SIZE + name.len() as u64).next_multiple_of(8);
        raw.l1_table_offset = l1.into();
        let header = raw.geometry()?;
        let mut bytes = [raw.as_bytes(), name].concat();
        bytes.resize(l1 as usize, 0);
        Ok((header, bytes))
    }

    /// Reads and checks a header, in QEMU's order.
    pub fn parse(&self) -> Result<Header> {
        if self.magic != MAGIC {
            return Err(Error::invalid("Image not in qcow format"));
        }
        let version = self.version.get();
        if version != VERSION {
            let text = format!("qcow (v{VERSION}) does not support qcow version {version}");
            let error = Error::unsupported(text);
            return Err(match version {
                2 | 3 => error.with_hint("Try the 'qcow2' driver instead."),
                _ => error,
            });
        }
        if self.size.get() <= 1 {
            return Err(Error::invalid("Image size is too small (must be at least 2 bytes)"));
        }
        if !(9..=16).contains(&self.cluster_bits) {
            return Err(Error::invalid("Cluster size must be between 512 and 64k"));
        }
        if !(6..=13).contains(&self.l2_bits) {
            return Err(Error::invalid("L2 table size must be between 512 and 64k"));
        }
        if self.crypt_method.get() > AES {
            return Err(Error::invalid("invalid encryption method in qcow header"));
        }
        self.geometry()
    }

    fn geometry(&self) -> Result<Header> {
        let too_large = || Error::new(ErrorKind::TooLarge, "Image too large");
        let covered = 1_u64 << (self.cluster_bits + self.l2_bits);
        let size = self.size.get();
        let entries = size.checked_add(covered).map(|_| size.div_ceil(covered));
        let entries = entries.filter(|&entries| entries <= i32::MAX as u64 / 8).ok_or_else(too_large)?;
        Ok(Header {
            size: size / SECTOR * SECTOR,
            cluster_bits: self.cluster_bits.into(),
            tables: Shape {
                l1_offset: self.l1_table_offset.get(),
                l1_entries: entries,
                l2_entries: 1 << self.l2_bits,
            },
            is_encrypted: self.crypt_method.get() == AES,
        })
    }

    /// Reads the name of the backing image.
    pub fn backing(&self, disk: &dyn Disk) -> Result<Option<BackingReference>> {
        let (offset, len) = (self.backing_name_offset.get(), self.backing_name_size.get());
        if offset == 0 {
            return Ok(None);
        }
        if len > MAX_NAME {
            return Err(Error::invalid("Backing file name too long"));
        }
        let mut name = vec![0; len as usize];
        disk.read_padded(offset.min(i64::MAX as u64 - u64::from(MAX_NAME)), &mut name)?;
        // A name ends at its first zero byte.
        name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
        Ok((!name.is_empty()).then_some(BackingReference { name, format: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_header_is_read_back() {
        let new = NewHeader { size: 1_000_448, backing: Some(b"base"), is_encrypted: true };
        let (header, bytes) = RawHeader::lay_out(new).unwrap();
        let (raw, _) = RawHeader::read_from_prefix(&bytes).unwrap();
        assert_eq!(raw.parse().unwrap(), header);
        assert_eq!((header.size, header.tables.l1_offset, header.cluster_size()), (1_000_448, 56, 512));
        assert_eq!(header.place(header.compressed(1 << 40, 500).unwrap()), Place::Compressed(1 << 40, 500));
        assert_eq!(header.compressed(0, 512), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let new = NewHeader { size: 1 << 30, backing: None, is_encrypted: false };
        let (_, bytes) = RawHeader::lay_out(new).unwrap();
        for at in 0..HEADER_SIZE as usize {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let (raw, _) = RawHeader::read_from_prefix(&bytes).unwrap();
                if let Ok(header) = raw.parse() {
                    assert!(header.tables.l1_entries <= 1 << 28);
                }
            }
        }
    }
}
