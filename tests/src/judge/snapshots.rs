//! Internal snapshots.

use super::bytes::{u16_at, u32_at, u64_at, words};
use super::guest::{Digest, Hasher};
use super::image::Image;

/// What a snapshot is to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Its number, as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The guest's clock. When it was taken is left out: that is another time in each run.
    pub clock: u64,
    /// Size of the machine state.
    pub state_size: u64,
    /// Size of the virtual disk then.
    pub disk_size: u64,
    /// What a guest reads, and the machine state behind it.
    pub content: Digest,
}

/// A snapshot, with its tables.
#[derive(Debug)]
pub struct Snapshot {
    pub facts: SnapshotFacts,
    pub l1_offset: u64,
    pub l1: Vec<u64>,
    /// Bytes of its entry, padding included.
    pub entry_len: u64,
}

/// More than any image under test has.
const MAX_SNAPSHOTS: u32 = 64;

/// Every snapshot of an image.
pub fn read(image: &Image<'_>) -> Result<Vec<Snapshot>, String> {
    if image.header.snapshots > MAX_SNAPSHOTS {
        return Err(format!("{} snapshots", image.header.snapshots));
    }
    let mut at = image.header.snapshots_offset;
    let mut list = Vec::new();
    for _ in 0..image.header.snapshots {
        let snapshot = read_one(image, at)?;
        at += snapshot.entry_len;
        list.push(snapshot);
    }
    Ok(list)
}

fn read_one(image: &Image<'_>, at: u64) -> Result<Snapshot, String> {
    let fixed = image.reader.bytes(image.file, at, 40)?;
    let (id_len, name_len) = (u64::from(u16_at(&fixed, 12)), u64::from(u16_at(&fixed, 14)));
    let extra_len = u64::from(u32_at(&fixed, 36));
    if extra_len > 1024 {
        return Err(format!("a snapshot with {extra_len} bytes of extra data"));
    }
    let rest = image.reader.bytes(image.file, at + 40, extra_len + id_len + name_len)?;
    let (extra, names) = rest.split_at(extra_len as usize);
    let (id, name) = names.split_at(id_len as usize);
    let state_size = if extra_len >= 8 { u64_at(extra, 0) } else { u64::from(u32_at(&fixed, 32)) };
    let disk_size = if extra_len >= 16 { u64_at(extra, 8) } else { image.header.size };
    let l1_offset = u64_at(&fixed, 0);
    let l1 = words(&image.reader.bytes(image.file, l1_offset, u64::from(u32_at(&fixed, 8)) * 8)?);
    let coverage = image.header.l1_coverage();
    if disk_size.div_ceil(coverage) > l1.len() as u64 {
        return Err("a snapshot's L1 table is too small for its disk".to_owned());
    }
    let mut hasher = Hasher::default();
    image.digest(&l1, 0..disk_size, &mut hasher)?;
    let state = disk_size.div_ceil(coverage) * coverage;
    image.digest(&l1, state..state.saturating_add(state_size), &mut hasher)?;
    let facts = SnapshotFacts {
        id: String::from_utf8_lossy(id).into_owned(),
        name: String::from_utf8_lossy(name).into_owned(),
        clock: u64_at(&fixed, 24),
        state_size,
        disk_size,
        content: hasher.finish(),
    };
    let entry_len = (40 + extra_len + id_len + name_len).next_multiple_of(8);
    Ok(Snapshot { facts, l1_offset, l1, entry_len })
}
