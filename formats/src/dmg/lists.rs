//! Where the lists of chunks are: in a property list or in a resource fork.

use std::ops::Range;

use journal::Disk;

use super::blocks::Chunks;
use super::trailer::Trailer;
use crate::Result;

/// A longer property list or resource fork is refused.
const MAX_LISTS: u64 = 16 << 20;

/// Reads all chunks; `None` if the lists make no sense.
pub(super) fn read(disk: &dyn Disk, trailer: &Trailer) -> Result<Option<Chunks>> {
    let (Some(data), Some(fork), Some(list)) = (trailer.data_offset(), trailer.resources(), trailer.list())
    else {
        return Ok(None);
    };
    let (is_fork, range) = if fork.is_empty() { (false, list) } else { (true, fork) };
    if range.is_empty() || range.end - range.start > MAX_LISTS {
        return Ok(None);
    }
    let bytes = part(disk, range)?;
    let mut chunks = Chunks::new(data);
    let understood = if is_fork { of_fork(&bytes, &mut chunks) } else { of_list(&bytes, &mut chunks) };
    Ok(understood.map(|()| chunks))
}

fn part(disk: &dyn Disk, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    disk.read_padded(range.start, &mut bytes)?;
    Ok(bytes)
}

/// A resource fork: offset of the resources at 0, their length at 8, and the resources, each behind its
/// length.
fn of_fork(fork: &[u8], chunks: &mut Chunks) -> Option<()> {
    let (start, len) = (number(fork, 0)?, number(fork, 8)?);
    let end = start.checked_add(len).filter(|_| len > 0)?;
    let mut resources = fork.get(start..end)?;
    while !resources.is_empty() {
        let len = number(resources, 0).filter(|&len| len > 0)?;
        let resource = resources.get(4..)?.get(..len)?;
        chunks.add(resource)?;
        resources = &resources[4 + len..];
    }
    Some(())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

/// A property list, of which only the data elements matter.
fn of_list(list: &[u8], chunks: &mut Chunks) -> Option<()> {
    const START: &[u8] = b"<data>";
    const END: &[u8] = b"</data>";
    let mut rest = list.split(|byte| *byte == 0).next()?;
    while let Some(start) = find(rest, START) {
        let text = &rest[start + START.len()..];
        let end = find(text, END)?;
        chunks.add(&from_base64(&text[..end]))?;
        rest = &text[end..];
    }
    Some(())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

/// The bytes of a Base64 text. What is not part of its alphabet is passed over.
fn from_base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in text.iter().take_while(|byte| **byte != b'=').filter_map(|byte| digit(*byte)) {
        bits = bits << 6 | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}
