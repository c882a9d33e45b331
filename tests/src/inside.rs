//! What a qcow2 file holds beside the disk as it is now: the disk as it was at each snapshot, and
//! what its bitmaps have recorded.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use crate::compare::Difference;
use crate::effects::{Pair, crossed};

/// Every snapshot of the file holds the same in both directories, as each program reads what the
/// other wrote.
pub fn snapshots(pair: Pair<'_>, name: &str, description: &Value) -> Vec<Difference> {
    let list = description["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|snapshot| snapshot["id"].as_str()).flat_map(|id| one(pair, name, id)).collect()
}

fn one(pair: Pair<'_>, name: &str, id: &str) -> Option<Difference> {
    let (path, selector) = (format!("./{name}"), format!("snapshot.id={id}"));
    let text = crossed(pair, &["convert", "-O", "raw", "-l", &selector, &path])?;
    Some(Difference::content(format!("snapshot {id} of '{name}': {text}")))
}

/// The bitmaps of the file are the same in both directories, bit by bit.
pub fn bitmaps(pair: Pair<'_>, name: &str) -> Vec<Difference> {
    let (left, right) = (read(&pair.expected.join(name)), read(&pair.got.join(name)));
    if left == right {
        return Vec::new();
    }
    vec![Difference::content(format!("bitmaps of '{name}': expected {left:?}, got {right:?}"))]
}

/// A bitmap as it stands in a file.
#[derive(Debug, PartialEq, Eq)]
struct Bitmap {
    name: String,
    flags: u32,
    granularity_bits: u8,
    /// Runs of set bits; none are told of a bitmap in use.
    bits: Vec<Range<u64>>,
}

/// The bitmaps extension's type.
const BITMAPS: u32 = 0x2385_2875;

/// Reads the bitmaps of a file that is known to be sound; nothing of one that has none.
fn read(path: &Path) -> Vec<Bitmap> {
    let file = fs::read(path).unwrap_or_default();
    let size = number(&file, 24, 8).unwrap_or(0);
    directory(&file).map(|(directory, count)| list(&file, directory, count, size)).unwrap_or_default()
}

/// The directory's place and the number of bitmaps.
fn directory(file: &[u8]) -> Option<(usize, usize)> {
    if number(file, 4, 4)? != 3 || number(file, 95, 1)? & 1 == 0 {
        return None;
    }
    let mut at = number(file, 100, 4)? as usize;
    loop {
        match number(file, at, 4)? as u32 {
            0 => return None,
            BITMAPS => return Some((number(file, at + 24, 8)? as usize, number(file, at + 8, 4)? as usize)),
            _ => at += 8 + (number(file, at + 4, 4)? as usize).next_multiple_of(8),
        }
    }
}

fn list(file: &[u8], mut at: usize, count: usize, size: u64) -> Vec<Bitmap> {
    let mut all = Vec::new();
    for _ in 0..count {
        let field = |offset: usize, width: usize| number(file, at + offset, width).unwrap_or(0);
        let (table, entries) = (field(0, 8) as usize, field(8, 4) as usize);
        let name_size = field(18, 2) as usize;
        let name = file.get(at + 24..at + 24 + name_size).unwrap_or_default();
        let (flags, granularity_bits) = (field(12, 4) as u32, field(17, 1) as u8);
        let valid = size.div_ceil(1 << granularity_bits);
        all.push(Bitmap {
            name: String::from_utf8_lossy(name).into_owned(),
            flags,
            granularity_bits,
            bits: if flags & 1 == 0 { bits(file, table, entries, valid) } else { Vec::new() },
        });
        at += (24 + name_size).next_multiple_of(8);
    }
    all
}

/// The set ones of the bits that stand for a part of the disk.
fn bits(file: &[u8], table: usize, entries: usize, valid: u64) -> Vec<Range<u64>> {
    let cluster = 1_usize << number(file, 20, 4).unwrap_or(16);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for index in 0..entries {
        let entry = number(file, table + 8 * index, 8).unwrap_or(0);
        let offset = (entry & 0x00ff_ffff_ffff_fe00) as usize;
        for bit in 0..cluster * 8 {
            let byte = if offset == 0 { 0 } else { file.get(offset + bit / 8).copied().unwrap_or(0) };
            if entry & 1 == 0 && byte >> (bit % 8) & 1 == 0 {
                continue;
            }
            let bit = (index * cluster * 8 + bit) as u64;
            if bit >= valid {
                return runs;
            }
            match runs.last_mut() {
                Some(run) if run.end == bit => run.end += 1,
                _ => runs.push(bit..bit + 1),
            }
        }
    }
    runs
}

fn number(file: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = file.get(at..at + width)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
