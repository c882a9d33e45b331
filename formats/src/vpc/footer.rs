//! The footer: what a disk is. A dynamic disk has a copy of it at the start of the file.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::geometry::{Geometry, MAX_GEOMETRY, MAX_SECTORS, SizeIn, of_new_disk};
use crate::raw::SECTOR;
use crate::{Error, ErrorKind, Result};

/// Bytes of a footer.
pub const FOOTER_SIZE: u64 = 512;
/// What a footer starts with.
pub const COOKIE: [u8; 8] = *b"conectix";
/// Seconds from 1970 to 2000, where the format's time begins.
pub const EPOCH: u64 = 946_684_800;

/// A footer as it is in the file (VHD specification, "Hard Disk Footer Format").
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawFooter {
    cookie: [u8; 8],
    features: U32,
    version: U32,
    /// Where the dynamic header is; all ones in a fixed disk.
    pub data_offset: U64,
    /// Seconds since 2000.
    timestamp: U32,
    creator: [u8; 4],
    creator_version: U32,
    creator_os: [u8; 4],
    /// Bytes of the disk when it was made.
    original_size: U64,
    /// Bytes of the disk.
    current_size: U64,
    cylinders: U16,
    heads: u8,
    track: u8,
    /// [`FIXED`], [`DYNAMIC`] or [`DIFFERENCING`].
    disk_type: U32,
    checksum: U32,
    /// Which disk it is.
    pub uuid: [u8; 16],
    saved_state: u8,
    reserved: [u8; 427],
}

const _: () = assert!(size_of::<RawFooter>() == FOOTER_SIZE as usize);

/// The guest's bytes stand in the file as they are.
const FIXED: u32 = 2;
/// Blocks are found through a table.
const DYNAMIC: u32 = 3;
/// The same, and what it does not hold is in another disk.
const DIFFERENCING: u32 = 4;

/// Programs that mean the geometry when they tell a size. All others mean the size.
const CREATORS_WITH_GEOMETRY: [[u8; 4]; 2] = [*b"vpc ", *b"qemu"];

/// Xen's first version.
const XEN_WITHOUT_BATMAP: u32 = 1;

/// What kind of disk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The guest's bytes stand in the file as they are.
    Fixed,
    /// Blocks are found through a table.
    Dynamic,
    /// The same, and what it does not hold is in another disk.
    Differencing,
}

impl RawFooter {
    /// A footer in the bytes of a sector, if they look like one.
    pub fn recognise(bytes: [u8; FOOTER_SIZE as usize]) -> Option<Self> {
        let raw: Self = zerocopy::transmute!(bytes);
        (raw.cookie == COOKIE).then_some(raw)
    }

    /// A new disk's footer.
    pub fn new(new: &NewFooter) -> Self {
        let mut raw = Self::new_zeroed();
        raw.cookie = COOKIE;
        // A bit that is always set.
        raw.features = 2.into();
        raw.version = 0x0001_0000.into();
        raw.creator_version = 0x0005_0003.into();
        raw.creator_os = *b"Wi2k";
        raw.creator = match new.told {
            SizeIn::Geometry => *b"qemu",
            SizeIn::Bytes => *b"qem2",
        };
        raw.data_offset = new.header_at.unwrap_or(u64::MAX).into();
        raw.disk_type = match new.kind {
            Kind::Fixed => FIXED.into(),
            Kind::Dynamic => DYNAMIC.into(),
            Kind::Differencing => DIFFERENCING.into(),
        };
        raw.timestamp = new.timestamp.into();
        raw.original_size = new.size.into();
        raw.current_size = new.size.into();
        let Geometry { cylinders, heads, track } = new.geometry;
        (raw.cylinders, raw.heads, raw.track) = (cylinders.into(), heads, track);
        raw.uuid = new.uuid;
        raw.checksum = checksum(raw.as_bytes()).into();
        raw
    }

    /// The kind of disk. What is not known is taken for a dynamic one, as QEMU does.
    pub fn kind(&self) -> Kind {
        match self.disk_type.get() {
            FIXED => Kind::Fixed,
            DIFFERENCING => Kind::Differencing,
            _ => Kind::Dynamic,
        }
    }

    /// Refuses a footer that was damaged.
    pub fn check(&self) -> Result<()> {
        let sum = Self { checksum: 0.into(), ..*self };
        if checksum(sum.as_bytes()) != self.checksum.get() {
            return Err(Error::corrupt("Incorrect header checksum"));
        }
        Ok(())
    }

    /// How the program that made the disk tells its size.
    pub fn size_in(&self) -> SizeIn {
        match CREATORS_WITH_GEOMETRY.contains(&self.creator) {
            true => SizeIn::Geometry,
            false => SizeIn::Bytes,
        }
    }

    /// Whether Xen made the disk, in a version that may have given it a batmap.
    pub fn is_by_xen(&self) -> bool {
        self.creator == *b"tap\0" && self.creator_version.get() > XEN_WITHOUT_BATMAP
    }

    fn geometry(&self) -> Geometry {
        Geometry { cylinders: self.cylinders.get(), heads: self.heads, track: self.track }
    }

    /// The footer of the same disk with at least so many bytes, and how many it has.
    pub fn grown(&self, size: u64, told: SizeIn) -> Result<(Self, u64)> {
        let (geometry, size) = of_new_disk(size, told)?;
        let geometry = match told {
            // Of a disk whose size is told in bytes the geometry is the nearest, or says that it means nothing.
            SizeIn::Bytes if self.geometry() != Geometry::MAX => Geometry::about(size / SECTOR),
            _ => geometry,
        };
        let mut raw = *self;
        raw.current_size = size.into();
        (raw.cylinders, raw.heads, raw.track) = (geometry.cylinders.into(), geometry.heads, geometry.track);
        raw.checksum = 0.into();
        raw.checksum = checksum(raw.as_bytes()).into();
        Ok((raw, size))
    }

    /// Bytes of the disk. Where nobody says how they are told, it depends on the program that made it.
    pub fn size(&self, told: Option<SizeIn>) -> Result<u64> {
        let geometry = self.geometry().sectors();
        let count = match told.unwrap_or_else(|| self.size_in()) {
            SizeIn::Geometry if geometry != MAX_GEOMETRY => geometry,
            _ => self.current_size.get() / SECTOR,
        };
        if count > MAX_SECTORS {
            return Err(Error::new(ErrorKind::TooLarge, "File too large"));
        }
        Ok(count * SECTOR)
    }
}

/// What a new footer tells.
#[derive(Debug, Clone, Copy)]
pub struct NewFooter {
    /// What kind of disk it is.
    pub kind: Kind,
    /// Where the dynamic header is, if there is one.
    pub header_at: Option<u64>,
    /// Bytes of the disk.
    pub size: u64,
    /// The same as a geometry.
    pub geometry: Geometry,
    /// Which of the two counts.
    pub told: SizeIn,
    /// Seconds since 2000.
    pub timestamp: u32,
    /// The disk's identity.
    pub uuid: [u8; 16],
}

/// The one's complement of the sum of all bytes, that of the checksum itself being 0.
pub fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: NewFooter = NewFooter {
        kind: Kind::Dynamic,
        header_at: Some(512),
        size: 34_816,
        geometry: Geometry { cylinders: 1, heads: 4, track: 17 },
        told: SizeIn::Geometry,
        timestamp: 7,
        uuid: [9; 16],
    };

    #[test]
    fn a_new_footer_is_read_back() {
        let footer = RawFooter::new(&NEW);
        let read = RawFooter::recognise(zerocopy::transmute!(footer)).unwrap();
        read.check().unwrap();
        assert_eq!((read.kind(), read.size(None).unwrap()), (Kind::Dynamic, 34_816));
        let damaged = RawFooter { timestamp: 8.into(), ..read };
        assert!(damaged.check().is_err());
    }

    #[test]
    fn who_made_it_decides_where_the_size_is() {
        let footer = RawFooter { current_size: 5_000.into(), ..RawFooter::new(&NEW) };
        assert_eq!(footer.size(None).unwrap(), 34_816);
        assert_eq!(footer.size(Some(SizeIn::Bytes)).unwrap(), 4_608);
        for creator in [*b"win ", *b"qem2", *b"vbox"] {
            assert_eq!(RawFooter { creator, ..footer }.size(None).unwrap(), 4_608);
        }
        let largest = RawFooter { cylinders: 65535.into(), heads: 16, track: 255, ..footer };
        assert_eq!(largest.size(Some(SizeIn::Geometry)).unwrap(), 4_608);
        assert!(RawFooter { current_size: u64::MAX.into(), ..largest }.size(None).is_err());
    }
}
