//! Writing any range of an image, aligned to what its format can allocate.

use journal::Zeroing;

use crate::codec::Encoder;
use crate::engine::read::read;
use crate::{Compressing, Compression, Error, GuestOffset, Image, Result, Writer};

/// What to put into a range.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// So many zeroes.
    Zeroes {
        /// How many bytes.
        len: u64,
        /// Whether their space is kept.
        how: Zeroing,
    },
}

impl Write<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeroes { len, .. } => *len,
        }
    }
}

/// Bytes that are put together at a time where a range is not aligned.
const PATCH_LEN: u64 = 2 << 20;

/// Writes at `at`. Where the format allocates in larger units, what stands around the range is
/// read through the chain and written again.
pub fn write(image: &Image, at: u64, what: Write<'_>) -> Result<()> {
    let writer = image.driver().writer().ok_or_else(|| Error::unsupported("Image is not writable"))?;
    let end = at.checked_add(what.len()).filter(|&end| end <= image.virtual_size());
    let end = end.ok_or_else(|| Error::invalid("Write past the end of the image"))?;
    let unit = writer.granularity();
    // The image's end counts as aligned: nothing stands behind it.
    let aligned_end = if end == image.virtual_size() { end } else { end / unit * unit };
    let aligned_start = at.next_multiple_of(unit).min(end);
    let is_whole = (aligned_start, aligned_end) == (at, end);
    if !is_whole && writer.compressing() == Compressing::Always {
        // What is compressed is not written again, which a part of a unit would need. It says so itself.
        return writer.prepare(GuestOffset(at), end - at).map(drop);
    }
    if aligned_start >= aligned_end {
        return patch(image, writer, at, end, &what, at);
    }
    patch(image, writer, at, aligned_start, &what, at)?;
    aligned(writer, aligned_start, aligned_end, &what, at)?;
    patch(image, writer, aligned_end, end, &what, at)
}

/// Writes `start..end`, which begins and ends on units.
fn aligned(writer: &dyn Writer, start: u64, end: u64, what: &Write<'_>, at: u64) -> Result<()> {
    match what {
        Write::Zeroes { how, .. } => writer.zero(GuestOffset(start), end - start, *how),
        Write::Data(bytes) => store(writer, start, &bytes[(start - at) as usize..(end - at) as usize]),
    }
}

/// Writes whole units.
fn store(writer: &dyn Writer, start: u64, bytes: &[u8]) -> Result<()> {
    match (writer.compressing(), writer.compression()) {
        (Compressing::Always | Compressing::Whole, Some(compression)) => {
            store_compressed(writer, &compression, start, bytes)
        }
        _ => store_plain(writer, start, bytes),
    }
}

fn store_plain(writer: &dyn Writer, mut start: u64, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let allocation = writer.prepare(GuestOffset(start), bytes.len() as u64)?;
        let (run, rest) = bytes.split_at(allocation.len as usize);
        allocation.disk.write_at(allocation.offset.0, run)?;
        writer.link(&allocation)?;
        start += allocation.len;
        bytes = rest;
    }
    Ok(())
}

/// Writes whole units, or what the image ends with, compressed.
fn store_compressed(writer: &dyn Writer, how: &Compression, mut start: u64, bytes: &[u8]) -> Result<()> {
    let mut encoder = Encoder::new(how.stream)?;
    let mut payload = vec![0; how.max_len as usize];
    for unit in bytes.chunks(how.cluster_size as usize) {
        match encoder.encode(unit, &mut payload) {
            Some(len) => writer.write_compressed(GuestOffset(start), &payload[..len])?,
            None if writer.compressing() == Compressing::Whole => store_plain(writer, start, unit)?,
            None => return Err(Error::invalid("A cluster gets too long by being compressed")),
        }
        start += unit.len() as u64;
    }
    Ok(())
}

/// Writes `start..end`, which covers its units in part only.
fn patch(image: &Image, writer: &dyn Writer, start: u64, end: u64, what: &Write<'_>, at: u64) -> Result<()> {
    let unit = writer.granularity();
    let mut piece_start = start;
    while piece_start < end {
        let unit_start = piece_start / unit * unit;
        let piece_end = end.min(unit_start + PATCH_LEN.next_multiple_of(unit));
        let unit_end = piece_end.next_multiple_of(unit).min(image.virtual_size());
        let mut bytes = vec![0; (unit_end - unit_start) as usize];
        read(image, unit_start, &mut bytes)?;
        let target = &mut bytes[(piece_start - unit_start) as usize..(piece_end - unit_start) as usize];
        match what {
            Write::Data(new) => {
                target.copy_from_slice(&new[(piece_start - at) as usize..(piece_end - at) as usize])
            }
            Write::Zeroes { .. } => target.fill(0),
        }
        store(writer, unit_start, &bytes)?;
        piece_start = piece_end;
    }
    Ok(())
}
