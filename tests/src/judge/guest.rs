//! What a guest reads.

use std::ops::Range;

use super::image::{Image, Layer};

/// Bits 9 to 55: an offset in a file.
pub const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit 63: the cluster's count is exactly one.
pub const COPIED: u64 = 1 << 63;
/// Bit 62: compressed.
pub const COMPRESSED: u64 = 1 << 62;
/// The header's method of encryption in which the place in the file counts, not that on the disk.
const LUKS: u32 = 2;
const SECTOR: usize = 512;
/// Bytes of an unallocated run that are looked at behind it at a time.
const STRIDE: u64 = 64 << 10;

/// What tells contents apart: places and bytes of every sector that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u64; 2]);

/// Whether a buffer was filled with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Zeroes,
    Bytes,
}

/// One cluster's L2 entry, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first word.
    pub word: u64,
    /// The subclusters' bits: allocated in the low half, zero in the high one.
    pub bitmap: u64,
}

/// What an entry says of a part of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unallocated,
    Zero,
    Data(u64),
    Compressed,
}

impl Entry {
    /// What is said of the subcluster of that number (0 where there are none).
    pub fn kind(&self, image: &Image<'_>, subcluster: u64) -> Kind {
        if self.word & COMPRESSED != 0 {
            return Kind::Compressed;
        }
        let offset = self.word & OFFSET;
        // Offset 0 is a place in a data file.
        let has_place = offset != 0 || image.header.external_data() && self.word & COPIED != 0;
        let (allocated, zero) = if image.header.extended_l2() {
            (has_place && self.bitmap >> subcluster & 1 == 1, self.bitmap >> (32 + subcluster) & 1 == 1)
        } else {
            (has_place, image.header.facts.version >= 3 && self.word & 1 == 1)
        };
        match (allocated, zero) {
            (_, true) => Kind::Zero,
            (true, false) => Kind::Data(offset),
            (false, false) => Kind::Unallocated,
        }
    }
}

impl Layer<'_> {
    /// What the guest reads, all of it.
    pub fn digest(&self) -> Result<Digest, String> {
        let mut hasher = Hasher::default();
        match self {
            Self::Raw(raw) => {
                let mut buf = vec![0; STRIDE as usize];
                for at in (0..raw.len).step_by(buf.len()) {
                    raw.reader.read(raw.file, at, &mut buf);
                    hasher.add(at, &buf);
                }
            }
            Self::Qcow2(image) => image.digest(&image.l1, 0..image.header.size, &mut hasher)?,
        }
        Ok(hasher.finish())
    }

    fn fill(&self, at: u64, buf: &mut [u8]) -> Result<Filled, String> {
        let len = self.size().saturating_sub(at).min(buf.len() as u64) as usize;
        let (inside, outside) = buf.split_at_mut(len);
        outside.fill(0);
        if inside.is_empty() {
            return Ok(Filled::Zeroes);
        }
        match self {
            Self::Raw(raw) => {
                raw.reader.read(raw.file, at, inside);
                Ok(Filled::Bytes)
            }
            Self::Qcow2(image) => image.fill(&image.l1, at, inside),
        }
    }
}

impl Image<'_> {
    /// Adds what a guest with that L1 table reads in a range.
    pub fn digest(&self, l1: &[u64], range: Range<u64>, hasher: &mut Hasher) -> Result<(), String> {
        let mut buf = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let table = l1.get((at / self.header.l1_coverage()) as usize).copied().unwrap_or(0) & OFFSET;
            let step = if table == 0 { self.header.l1_coverage() } else { self.header.cluster_size() };
            let end = ((at / step + 1) * step).min(range.end);
            if table != 0 || self.backing.is_some() {
                for part in (at..end).step_by(STRIDE as usize) {
                    buf.resize((end - part).min(STRIDE) as usize, 0);
                    if self.fill(l1, part, &mut buf)? == Filled::Bytes {
                        hasher.add(part, &buf);
                    }
                }
            }
            at = end;
        }
        Ok(())
    }

    /// The L2 entry of the cluster at a guest offset.
    pub fn entry(&self, l1: &[u64], at: u64) -> Result<Entry, String> {
        let table = l1.get((at / self.header.l1_coverage()) as usize).copied().unwrap_or(0) & OFFSET;
        if table == 0 {
            return Ok(Entry { word: 0, bitmap: 0 });
        }
        let table = self.table(table)?;
        let index = at / self.header.cluster_size() % self.header.l2_entries();
        let words = self.header.l2_entry_size() / 8;
        let word = |of: u64| table.get((index * words + of) as usize).copied().unwrap_or(0);
        Ok(Entry { word: word(0), bitmap: if words == 2 { word(1) } else { 0 } })
    }

    fn fill(&self, l1: &[u64], at: u64, buf: &mut [u8]) -> Result<Filled, String> {
        let mut filled = Filled::Zeroes;
        let cluster_size = self.header.cluster_size();
        let unit = if self.header.extended_l2() { cluster_size / 32 } else { cluster_size };
        let mut done = 0;
        while done < buf.len() {
            let here = at + done as u64;
            let len = ((here / unit + 1) * unit - here).min((buf.len() - done) as u64) as usize;
            let part = &mut buf[done..done + len];
            let entry = self.entry(l1, here)?;
            let inside = here % cluster_size;
            let of_part = match entry.kind(self, inside / unit) {
                Kind::Zero => zeroes(part),
                Kind::Unallocated => match &self.backing {
                    Some(backing) => backing.fill(here, part)?,
                    None => zeroes(part),
                },
                Kind::Data(offset) => {
                    self.reader.read(self.data, offset + inside, part);
                    match self.header.facts.encryption {
                        0 => {}
                        LUKS => veil(part, offset + inside),
                        _ => veil(part, here),
                    }
                    Filled::Bytes
                }
                Kind::Compressed => {
                    let cluster = self.decompress(entry.word)?;
                    part.copy_from_slice(&cluster[inside as usize..][..len]);
                    Filled::Bytes
                }
            };
            if of_part == Filled::Bytes {
                filled = Filled::Bytes;
            }
            done += len;
        }
        Ok(filled)
    }

    /// Where a compressed cluster's bytes are: from a byte, up to the end of a sector.
    pub fn compressed_range(&self, word: u64) -> Range<u64> {
        let bits = 62 - (self.header.facts.cluster_bits - 8);
        let start = word & ((1 << bits) - 1);
        let more_sectors = (word & !COPIED & !COMPRESSED) >> bits;
        start..(start / SECTOR as u64 + more_sectors + 1) * SECTOR as u64
    }

    fn decompress(&self, word: u64) -> Result<Vec<u8>, String> {
        let range = self.compressed_range(word);
        let packed = self.reader.bytes(self.file, range.start, range.end - range.start)?;
        let mut cluster = vec![0; self.header.cluster_size() as usize];
        let unpacked = match self.header.facts.compression {
            0 => inflate(&packed, &mut cluster),
            _ => zstd_frame(&packed, &mut cluster),
        };
        if unpacked { Ok(cluster) } else { Err(format!("compressed data at {:#x} is damaged", range.start)) }
    }
}

/// What encrypted bytes mean is not known here, but that it depends on where they are.
fn veil(part: &mut [u8], place: u64) {
    for (at, sector) in (place..).step_by(SECTOR).zip(part.chunks_mut(SECTOR)) {
        sector.iter_mut().zip(at.to_le_bytes()).for_each(|(byte, place)| *byte ^= place);
    }
}

fn zeroes(part: &mut [u8]) -> Filled {
    part.fill(0);
    Filled::Zeroes
}

fn inflate(packed: &[u8], cluster: &mut [u8]) -> bool {
    let mut inflater = flate2::Decompress::new(false);
    // The sectors may hold the next cluster's bytes behind this one's.
    inflater.decompress(packed, cluster, flate2::FlushDecompress::Finish).is_ok()
        && inflater.total_out() == cluster.len() as u64
}

fn zstd_frame(packed: &[u8], cluster: &mut [u8]) -> bool {
    use std::io::Read;
    zstd::Decoder::new(packed).is_ok_and(|decoder| decoder.single_frame().read_exact(cluster).is_ok())
}

/// Makes a [`Digest`]: fast, and good against accidents, which is all that a test needs.
#[derive(Debug)]
pub struct Hasher([u64; 2]);

impl Default for Hasher {
    fn default() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

impl Hasher {
    /// Adds bytes at a place, which is a multiple of 512.
    pub fn add(&mut self, at: u64, bytes: &[u8]) {
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            if sector.iter().any(|byte| *byte != 0) {
                self.mix(at + (index * SECTOR) as u64);
                match sector.as_chunks::<8>() {
                    (words, []) => words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word))),
                    _ => sector.iter().for_each(|byte| self.mix(u64::from(*byte))),
                }
                // A short sector is one with zeroes behind it.
                (sector.len() / 8..SECTOR / 8).for_each(|_| self.mix(0));
            }
        }
    }

    fn mix(&mut self, word: u64) {
        let [left, right] = self.0;
        let left = (left ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let right = (right.rotate_left(23) ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.0 = [left ^ left >> 29, right];
    }

    /// The sum.
    pub fn finish(self) -> Digest {
        let [left, right] = self.0;
        Digest([left ^ right.rotate_left(32), right ^ right >> 31])
    }
}
