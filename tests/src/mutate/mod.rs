//! Damages images at random, mostly where it hurts.

mod checksums;

use std::fs;
use std::ops::Range;
use std::path::Path;

pub use self::checksums::cheapen;
pub(crate) use self::checksums::{remake, seal};
use crate::exercise::Opening;
use crate::script::Xorshift;
use crate::shapes::Shape;

/// Seeds larger than this make mutants slowly.
const SMALL_SEED: usize = 400 << 10;
/// Seeds larger than this make mutants too slowly.
const SEED_LIMIT: u64 = 10 << 20;
/// Where what is no data is looked for in large seeds.
const PAGE: usize = 4096;
/// Bytes at the start of an image that mostly are no data.
const HEAD: usize = 4096;
/// The same at its end.
const TAIL: usize = 1024;

/// An image to be damaged, and the files that stand behind it.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Where it comes from.
    pub name: String,
    /// Its format, and whether it is encrypted.
    pub opening: Opening<'static>,
    /// Its bytes.
    pub image: Vec<u8>,
    /// Files that it names.
    pub others: Vec<(String, Vec<u8>)>,
    /// Ranges of metadata: most damage goes there.
    pub hot: Vec<Range<usize>>,
}

impl Seed {
    /// The image of a shape and the other files of its directory, if they are small enough.
    pub fn load(shape: &Shape, dir: &Path) -> Option<Self> {
        let image = shape.image;
        let path = dir.join(image);
        if fs::metadata(&path).ok()?.len() > SEED_LIMIT {
            return None;
        }
        let image_bytes = fs::read(&path).ok()?;
        let others = fs::read_dir(dir).ok()?.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let small = entry.metadata().ok()?.len() <= SMALL_SEED as u64;
            let wanted = name != image && small && entry.file_type().ok()?.is_file();
            wanted.then(|| fs::read(entry.path()).ok().map(|bytes| (name, bytes)))?
        });
        let others = others.collect();
        let hot = match shape.format {
            "qcow2" => hot(&image_bytes),
            // The tables follow the descriptor's room.
            "vmdk" => ends(&image_bytes, 4 * HEAD),
            "vhdx" | "luks" => islands(&image_bytes),
            _ => ends(&image_bytes, HEAD),
        };
        let is_encrypted = shape.format == "luks" || shape.name.starts_with("encrypted/");
        let opening = if is_encrypted { Opening::WithSecret } else { Opening::AsItIs };
        let name = shape.name.to_owned();
        Some(Self { name, opening: opening(shape.format), image: image_bytes, others, hot })
    }

    /// Whether mutants of it are made slowly.
    pub fn is_large(&self) -> bool {
        self.image.len() > SMALL_SEED
    }

    /// The same image after a change.
    pub fn changed(&self, name: &str, change: impl FnOnce(&mut [u8])) -> Self {
        let mut changed = Self { name: name.to_owned(), ..self.clone() };
        change(&mut changed.image);
        changed.hot = islands(&changed.image);
        changed
    }

    /// The image with one to eight damages; checksums are right in half of all mutants.
    pub fn mutant(&self, random: &mut Xorshift) -> Vec<u8> {
        let mut bytes = self.image.clone();
        for _ in 0..=random.below(8) {
            damage(&mut bytes, &self.hot, random);
        }
        if random.below(2) == 0 {
            remake(self.opening.format(), &mut bytes);
        }
        if matches!(self.opening, Opening::WithSecret(_)) {
            cheapen(&mut bytes);
        }
        bytes
    }
}

/// The first and the last page of everything that is not zeroes: that is where formats of large structures have
/// them.
fn islands(bytes: &[u8]) -> Vec<Range<usize>> {
    let is_empty = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let pages: Vec<bool> = bytes.chunks(PAGE).map(is_empty).collect();
    let is_empty = |page: Option<usize>| page.and_then(|page| pages.get(page)).copied().unwrap_or(true);
    let at_a_shore =
        |&page: &usize| !is_empty(Some(page)) && (is_empty(page.checked_sub(1)) || is_empty(Some(page + 1)));
    let shores = (0..pages.len()).filter(at_a_shore);
    shores.map(|page| page * PAGE..((page + 1) * PAGE).min(bytes.len())).collect()
}

/// Where other formats have their headers, their tables, and what they keep at the end.
fn ends(bytes: &[u8], head: usize) -> Vec<Range<usize>> {
    let len = bytes.len();
    vec![0..len.min(head), len.saturating_sub(TAIL)..len]
}

/// The header, and every cluster that the tables of a sound image lead to without being data.
fn hot(bytes: &[u8]) -> Vec<Range<usize>> {
    let word = |at: usize| {
        bytes.get(at..at + 8).map_or(0, |it| u64::from_be_bytes(it.try_into().unwrap_or_default()))
    };
    let half = |at: usize| word(at) >> 32;
    let cluster = 1_usize << half(20).clamp(9, 21);
    let mut starts = vec![0];
    let tables = [(word(40), half(36)), (word(48), 4)];
    for (table, count) in tables {
        let table = table as usize;
        starts.push(table);
        for index in 0..(count as usize).min(64) {
            starts.push((word(table + index * 8) & 0x00ff_ffff_ffff_fe00) as usize);
        }
    }
    starts.push(word(64) as usize);
    // Bitmap directories and tables stand behind everything else that the oracle wrote.
    starts.extend((1..=4).map(|back| bytes.len().saturating_sub(back * cluster)));
    let known = starts.into_iter().filter(|&start| start < bytes.len());
    known.map(|start| start..(start + cluster.min(4096)).min(bytes.len())).collect()
}

fn damage(bytes: &mut Vec<u8>, hot: &[Range<usize>], random: &mut Xorshift) {
    match random.below(16) {
        0 => {
            let len = random.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate(len);
        }
        1 => {
            let len = bytes.len() + random.below(1 << 17) as usize;
            bytes.resize(len, random.next() as u8);
        }
        2 => copy_block(bytes, random),
        3..=5 => header_field(bytes, hot, random),
        6..=11 => word(bytes, hot, random),
        _ => byte(bytes, hot, random),
    }
}

/// A place, mostly in metadata.
fn place(len: usize, hot: &[Range<usize>], random: &mut Xorshift) -> usize {
    if hot.is_empty() || random.below(8) == 0 {
        return random.below(len as u64) as usize;
    }
    let range = &hot[random.below(hot.len() as u64) as usize];
    // The start of a table is used more than its end.
    let width = random.below(range.len() as u64 + 1) + 1;
    range.start + random.below(width) as usize
}

fn byte(bytes: &mut [u8], hot: &[Range<usize>], random: &mut Xorshift) {
    let at = place(bytes.len(), hot, random);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = if random.below(2) == 0 { *byte ^ (1 << random.below(8)) } else { random.next() as u8 };
    }
}

/// Replaces an aligned word by one that looks like an entry.
fn word(bytes: &mut [u8], hot: &[Range<usize>], random: &mut Xorshift) {
    let at = place(bytes.len(), hot, random) & !7;
    let len = bytes.len() as u64;
    let Some(slot) = bytes.get_mut(at..at + 8) else { return };
    let old = u64::from_be_bytes(slot.try_into().unwrap_or_default());
    let new = match random.below(8) {
        0 => interesting(random),
        1 => old ^ (1 << random.below(64)),
        2 => old.wrapping_add(512 << random.below(12)),
        3 => (random.below(len + 1) & !511) | (1 << 63),
        4 => (random.below(len + 1)) | (1 << 62) | (random.below(256) << 54),
        5 => random.below(len * 2 + 1) & !511,
        6 => (random.next() & 3) | (random.below(len + 1) & !511),
        _ => random.next(),
    };
    slot.copy_from_slice(&if random.below(2) == 0 { new.to_be_bytes() } else { new.to_le_bytes() });
}

fn interesting(random: &mut Xorshift) -> u64 {
    const VALUES: [u64; 12] = [
        0,
        1,
        2,
        511,
        512,
        u32::MAX as u64,
        1 << 31,
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
        0x00ff_ffff_ffff_fe00,
    ];
    VALUES[random.below(VALUES.len() as u64) as usize]
}

/// Sets a field of a header, four bytes or eight, to something that a parser may stumble over.
fn header_field(bytes: &mut [u8], hot: &[Range<usize>], random: &mut Xorshift) {
    let header = match random.below(hot.len() as u64 + 4) as usize {
        number if number < hot.len() => hot[number].start,
        _ => 0,
    };
    let at = header + 4 + 4 * random.below(40) as usize;
    let width = if random.below(2) == 0 { 4 } else { 8 };
    let value = if random.below(3) == 0 { random.below(64) } else { interesting(random) };
    if let Some(slot) = bytes.get_mut(at..at + width) {
        match random.below(2) {
            0 => slot.copy_from_slice(&value.to_be_bytes()[8 - width..]),
            _ => slot.copy_from_slice(&value.to_le_bytes()[..width]),
        }
    }
}

fn copy_block(bytes: &mut [u8], random: &mut Xorshift) {
    let len = 8 << random.below(8);
    let (from, to) =
        (random.below(bytes.len() as u64) as usize & !7, random.below(bytes.len() as u64) as usize & !7);
    if from + len <= bytes.len() && to + len <= bytes.len() {
        bytes.copy_within(from..from + len, to);
    }
}
