//! The log: changes of metadata that were decided, and may not all have reached their place.

use std::collections::BTreeMap;

use journal::Disk;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Refusal;
use super::header::{CHECKSUM, Guid, Header, MIB};
use super::replay::{Change, Replay};
use crate::{Error, ErrorKind};

/// The log consists of sectors of this many bytes.
pub const LOG_SECTOR: u64 = 4096;
/// Changes that one log may ask for. Hyper-V's logs have a megabyte.
const MAX_CHANGES: u64 = 1 << 20;

/// The head of a log entry as it is in the file ([MS-VHDX] 2.3.1.1); descriptors follow, then data.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    signature: [u8; 4],
    checksum: U32,
    /// Bytes of the entry.
    length: U32,
    /// Where in the log the sequence starts that this entry ends.
    tail: U32,
    sequence: U64,
    descriptors: U32,
    reserved: U32,
    log_guid: Guid,
    /// Bytes of the file that were durable when the entry was written.
    flushed: U64,
    /// Bytes that the file must have when the entry has been replayed.
    last: U64,
}

/// A descriptor ([MS-VHDX] 2.3.1.2 and 2.3.1.3).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDescriptor {
    signature: [u8; 4],
    /// The data's last 4 bytes.
    trailing: [u8; 4],
    /// The data's first 8 bytes, or how many zeroes there are.
    leading: [u8; 8],
    /// Where in the file it goes.
    offset: U64,
    sequence: U64,
}

const DESCRIPTOR: u64 = size_of::<RawDescriptor>() as u64;
const ENTRY: [u8; 4] = *b"loge";
const DATA: [u8; 4] = *b"desc";
const ZEROES: [u8; 4] = *b"zero";
/// What the sector starts with that holds a data descriptor's bytes.
const DATA_SECTOR: [u8; 4] = *b"data";
const _: () = assert!(size_of::<RawEntry>() == 64 && DESCRIPTOR == 32);

/// The log of an image.
struct Log<'a> {
    disk: &'a dyn Disk,
    start: u64,
    length: u64,
    guid: Guid,
    /// Bytes that may still be read to look for entries: a log in which they overlap is none.
    left: u64,
}

/// What the log has to say, if it has anything.
pub fn read(disk: &dyn Disk, header: &Header) -> Result<Option<Replay>, Refusal> {
    let range = header.log();
    let length = range.end.saturating_sub(range.start);
    if header.log_guid == [0; 16] || length == 0 {
        return Ok(None);
    }
    if !length.is_multiple_of(MIB) {
        return Err(Refusal::Invalid);
    }
    let left = length * 4;
    let mut log = Log { disk, start: range.start, length, guid: header.log_guid, left };
    let entries = log.entries()?;
    let Some(sequence) = active_sequence(&entries, length) else { return Ok(None) };
    let mut replay = Replay::default();
    for at in sequence {
        let Some(entry) = entries.get(&at) else { return Err(Refusal::Invalid) };
        log.replay(at, entry, &mut replay)?;
    }
    Ok(Some(replay))
}

/// The entries that must be replayed, in their order: those up to the youngest one that is complete.
fn active_sequence(entries: &BTreeMap<u64, RawEntry>, length: u64) -> Option<Vec<u64>> {
    let mut heads: Vec<(u64, u64)> = entries.iter().map(|(&at, entry)| (entry.sequence.get(), at)).collect();
    heads.sort_unstable_by_key(|&(sequence, _)| std::cmp::Reverse(sequence));
    // In a log that somebody wrote, one of the first is it.
    let mut steps = entries.len().saturating_mul(4) + 16;
    for (_, head) in heads {
        let mut at = u64::from(entries.get(&head)?.tail.get());
        let mut sequence = Vec::new();
        while let Some(entry) = entries.get(&at) {
            steps = steps.checked_sub(1)?;
            sequence.push(at);
            if at == head {
                return Some(sequence);
            }
            let next = (at + u64::from(entry.length.get())) % length;
            let follows = entries
                .get(&next)
                .is_some_and(|next| Some(next.sequence.get()) == entry.sequence.get().checked_add(1));
            if !follows {
                break;
            }
            at = next;
        }
    }
    None
}

impl Log<'_> {
    /// Fills `buf`, which is within a sector, from a place in the log, which is a ring.
    fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), Refusal> {
        Ok(self.disk.read_padded(self.start + at % self.length, buf)?)
    }

    /// All entries that are complete, by their place.
    fn entries(&mut self) -> Result<BTreeMap<u64, RawEntry>, Refusal> {
        let mut entries = BTreeMap::new();
        let mut at = 0;
        while at < self.length {
            let mut bytes = [0; size_of::<RawEntry>()];
            self.read(at, &mut bytes)?;
            let entry: RawEntry = zerocopy::transmute!(bytes);
            if self.could_be(&entry) && self.is_complete(at, &entry)? {
                entries.insert(at, entry);
            }
            at += LOG_SECTOR;
        }
        Ok(entries)
    }

    fn could_be(&self, entry: &RawEntry) -> bool {
        let length = u64::from(entry.length.get());
        let descriptors = u64::from(entry.descriptors.get()) * DESCRIPTOR;
        entry.signature == ENTRY
            && (LOG_SECTOR..=self.length).contains(&length)
            && length.is_multiple_of(LOG_SECTOR)
            && u64::from(entry.tail.get()).is_multiple_of(LOG_SECTOR)
            && entry.sequence.get() > 0
            && entry.log_guid == self.guid
            && descriptors + size_of::<RawEntry>() as u64 <= length
    }

    /// Whether the whole of an entry was written.
    fn is_complete(&mut self, at: u64, entry: &RawEntry) -> Result<bool, Refusal> {
        let length = u64::from(entry.length.get());
        let too_much = || Error::new(ErrorKind::TooLarge, "The log's entries overlap too often");
        self.left = self.left.checked_sub(length).ok_or_else(too_much)?;
        let mut sum = 0;
        let mut sector = [0; LOG_SECTOR as usize];
        for within in (0..length).step_by(LOG_SECTOR as usize) {
            self.read(at + within, &mut sector)?;
            if within == 0 {
                sector[CHECKSUM].fill(0);
            }
            sum = crc32c::crc32c_append(sum, &sector);
        }
        Ok(sum == entry.checksum.get())
    }

    /// Takes note of what an entry changes.
    fn replay(&self, at: u64, entry: &RawEntry, replay: &mut Replay) -> Result<(), Refusal> {
        if entry.flushed.get() > self.disk.len()? {
            // The file has been cut off since.
            return Err(Refusal::Invalid);
        }
        let count = u64::from(entry.descriptors.get());
        let mut data = at + (count * DESCRIPTOR + size_of::<RawEntry>() as u64).next_multiple_of(LOG_SECTOR);
        let end = at + u64::from(entry.length.get());
        for index in 0..count {
            let mut bytes = [0; DESCRIPTOR as usize];
            self.read(at + size_of::<RawEntry>() as u64 + index * DESCRIPTOR, &mut bytes)?;
            let descriptor: RawDescriptor = zerocopy::transmute!(bytes);
            let offset = descriptor.offset.get();
            let number = u64::from_le_bytes(descriptor.leading);
            if descriptor.sequence.get() != entry.sequence.get() || !offset.is_multiple_of(LOG_SECTOR) {
                return Err(Refusal::Invalid);
            }
            let (len, change) = match descriptor.signature {
                ZEROES if number.is_multiple_of(LOG_SECTOR) => (number, Change::Zero),
                DATA if data < end => {
                    let change = self.data(data, &descriptor)?;
                    data += LOG_SECTOR;
                    (LOG_SECTOR, change)
                }
                _ => return Err(Refusal::Invalid),
            };
            let fits = offset.checked_add(len).is_some_and(|end| end <= crate::resize::MAX_DISK_SIZE);
            if !fits || replay.count() >= MAX_CHANGES {
                return Err(Error::new(ErrorKind::TooLarge, "The log asks for too much").into());
            }
            replay.put(offset, len, change);
        }
        replay.reach(entry.last.get());
        Ok(())
    }

    /// The change that a data descriptor and its sector ask for.
    fn data(&self, at: u64, descriptor: &RawDescriptor) -> Result<Change, Refusal> {
        let mut sector = [0; LOG_SECTOR as usize];
        self.read(at, &mut sector)?;
        let sequence = descriptor.sequence.get();
        let (high, low) = ((sequence >> 32) as u32, sequence as u32);
        let is_its_own = sector.starts_with(&DATA_SECTOR)
            && sector[4..8] == high.to_le_bytes()
            && sector[4092..] == low.to_le_bytes();
        if !is_its_own {
            return Err(Refusal::Invalid);
        }
        sector[..8].copy_from_slice(&descriptor.leading);
        sector[4092..].copy_from_slice(&descriptor.trailing);
        Ok(Change::Data(Box::new(sector)))
    }
}
