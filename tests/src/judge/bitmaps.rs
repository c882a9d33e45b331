//! Persistent bitmaps.

use super::bytes::{u16_at, u32_at, u64_at, words};
use super::guest::{Digest, Hasher, OFFSET};
use super::image::Image;

/// What a bitmap is to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitmapFacts {
    /// Its name.
    pub name: String,
    /// Bit 0: in use; bit 1: recording.
    pub flags: u32,
    /// Guest bytes under a bit, as a power of two.
    pub granularity_bits: u8,
    /// Which bits are set.
    pub bits: Digest,
}

/// A bitmap, with its table.
#[derive(Debug)]
pub struct Bitmap {
    pub facts: BitmapFacts,
    pub table_offset: u64,
    pub table: Vec<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Bitmaps {
    pub list: Vec<Bitmap>,
    /// What the directory has wrong.
    pub faults: Vec<String>,
}

/// More than any image under test has.
const MAX_BITMAPS: u32 = 64;

/// Every bitmap of an image.
pub fn read(image: &Image<'_>) -> Result<Bitmaps, String> {
    let Some(place) = image.header.bitmaps else { return Ok(Bitmaps::default()) };
    if place.count > MAX_BITMAPS || place.count == 0 {
        return Err(format!("{} bitmaps", place.count));
    }
    let directory = image.reader.bytes(image.file, place.offset, place.size)?;
    let mut bitmaps = Bitmaps::default();
    let mut at = 0;
    for _ in 0..place.count {
        let entry = directory.get(at..).filter(|entry| entry.len() >= 24).ok_or("a bitmap is cut")?;
        let (name_len, extra_len) = (u16_at(entry, 18) as usize, u32_at(entry, 20) as usize);
        let name = entry.get(24 + extra_len..24 + extra_len + name_len).ok_or("a bitmap's name is cut")?;
        bitmaps.list.push(read_one(image, entry, name)?);
        at += (24 + extra_len + name_len).next_multiple_of(8);
    }
    if at as u64 != place.size {
        bitmaps.faults.push(format!("the bitmap directory has {at} bytes, not {}", place.size));
    }
    Ok(bitmaps)
}

fn read_one(image: &Image<'_>, entry: &[u8], name: &[u8]) -> Result<Bitmap, String> {
    let table_offset = u64_at(entry, 0);
    let table = words(&image.reader.bytes(image.file, table_offset, u64::from(u32_at(entry, 8)) * 8)?);
    let cluster = image.header.cluster_size();
    let granularity_bits = entry[17];
    let bits = image.header.size.div_ceil(1 << granularity_bits.min(63));
    let mut hasher = Hasher::default();
    for (index, word) in table.iter().enumerate() {
        let first = index as u64 * cluster * 8;
        let mut bytes = match word & OFFSET {
            0 if word & 1 == 1 => vec![0xff; cluster as usize],
            0 => continue,
            offset => image.reader.bytes(image.file, offset, cluster)?,
        };
        clear_from(&mut bytes, bits.saturating_sub(first));
        hasher.add(index as u64 * cluster, &bytes);
    }
    let facts = BitmapFacts {
        name: String::from_utf8_lossy(name).into_owned(),
        flags: u32_at(entry, 12),
        granularity_bits,
        bits: hasher.finish(),
    };
    Ok(Bitmap { facts, table_offset, table })
}

/// Clears the bits that stand for nothing.
fn clear_from(bytes: &mut [u8], bits: u64) {
    let whole = (bits / 8).min(bytes.len() as u64) as usize;
    if let Some(last) = bytes.get_mut(whole) {
        *last &= (1_u8 << (bits % 8)).wrapping_sub(1);
        bytes[whole + 1..].fill(0);
    }
}
