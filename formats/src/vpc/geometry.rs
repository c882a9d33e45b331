//! Cylinders, heads and sectors: what a disk of the year 2004 had instead of a size.

use crate::raw::{SECTOR, sectors};
use crate::{Error, ErrorKind, Result};

/// The most sectors that a geometry can have: 65535 cylinders of 16 heads of 255 sectors.
pub const MAX_GEOMETRY: u64 = 65535 * 16 * 255;
/// The most sectors of a disk: 2040 GiB.
pub const MAX_SECTORS: u64 = 0xff00_0000;

/// A geometry, as a footer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads, which is tracks of a cylinder.
    pub heads: u8,
    /// Sectors of a track.
    pub track: u8,
}

impl Geometry {
    /// The largest one, which says that the size is told elsewhere.
    pub const MAX: Self = Self { cylinders: 65535, heads: 16, track: 255 };

    /// Sectors of the whole disk.
    pub fn sectors(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.track)
    }

    /// The geometry of a disk with about so many sectors (VHD specification, "CHS calculation"); it has no
    /// more.
    pub fn about(sectors: u64) -> Self {
        let sectors = sectors.min(MAX_GEOMETRY);
        let (mut heads, mut track) = (16, 255);
        if sectors < 65535 * 16 * 63 {
            track = 17;
            heads = (sectors / track).div_ceil(1024).max(4);
            if sectors / track >= heads * 1024 || heads > 16 {
                (heads, track) = (16, 31);
            }
            if sectors / track >= heads * 1024 {
                (heads, track) = (16, 63);
            }
        }
        let cylinders = sectors / track / heads;
        // The sectors are no more than the largest geometry has.
        Self { cylinders: cylinders as u16, heads: heads as u8, track: track as u8 }
    }

    /// The smallest geometry that has at least so many sectors, or the largest one.
    fn at_least(wanted: u64) -> Self {
        let wanted = wanted.min(MAX_GEOMETRY);
        let mut geometry = Self { cylinders: 0, heads: 0, track: 0 };
        let mut tried = wanted;
        while geometry.sectors() < wanted {
            geometry = Self::about(tried);
            tried += 1;
        }
        geometry
    }
}

/// How the size of a disk is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeIn {
    /// By its geometry, which not every size has.
    Geometry,
    /// By itself.
    Bytes,
}

/// The geometry and the size of a new disk that is to have at least `size` bytes.
pub fn of_new_disk(size: u64, told: SizeIn) -> Result<(Geometry, u64)> {
    let geometry = match told {
        SizeIn::Bytes => Geometry::MAX,
        SizeIn::Geometry => Geometry::at_least(sectors(size) / SECTOR),
    };
    if geometry != Geometry::MAX {
        return Ok((geometry, geometry.sectors() * SECTOR));
    }
    let count = sectors(size) / SECTOR;
    if count > MAX_SECTORS {
        let text = "Disk size is too large, max size is 2040 GiB";
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok((geometry, count * SECTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_known_table() {
        let size = |wanted| of_new_disk(wanted, SizeIn::Geometry).unwrap().1;
        let known = [
            (0, 0),
            (1, 34_816),
            (1 << 20, 1_079_296),
            (5 << 20, 5_257_216),
            (10 << 20, 10_514_432),
            (504 << 20, 528_482_304),
            (1 << 30, 1_073_995_776),
            (127 << 30, 136_365_219_840),
            (128 << 30, 128 << 30),
            (2040 << 30, 2040 << 30),
        ];
        for (wanted, made) in known {
            assert_eq!(size(wanted), made, "{wanted}");
        }
        assert!(of_new_disk((2040 << 30) + 1, SizeIn::Geometry).is_err());
        assert_eq!(of_new_disk(1000, SizeIn::Bytes).unwrap(), (Geometry::MAX, 1024));
    }
}
