//! `map`: where an image's data is, run by run.

use std::ops::Range;

use formats::engine::{Status, told_layer_status};
use formats::{Below, Child, Format, Image, NodeName, Result};

/// A run of guest bytes that are all alike and lie one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapEntry<'a> {
    /// The first byte.
    pub start: u64,
    /// How many there are.
    pub length: u64,
    /// The image in the chain that decides; 0 is the top.
    pub depth: u32,
    /// Whether it holds the run.
    pub present: bool,
    /// Whether the run is known to read as zeroes.
    pub zero: bool,
    /// Whether there are bytes to read.
    pub data: bool,
    /// Whether they are compressed.
    pub compressed: bool,
    /// Where they are in a file, if they are plain.
    pub offset: Option<u64>,
    /// Which file that is.
    pub file: Option<&'a NodeName>,
}

/// The runs of `range`, which is cut at the end of the image, in order.
///
/// Where there is nothing to tell of, there is one run of no bytes.
pub fn map(image: &Image, range: Range<u64>) -> Runs<'_> {
    let end = range.end.min(image.virtual_size());
    let current = MapEntry { start: range.start, ..MapEntry::default() };
    Runs { image, end, current: Some(current) }
}

/// The runs of an image, found one at a time.
#[derive(Debug)]
pub struct Runs<'a> {
    image: &'a Image,
    end: u64,
    /// What is known of the next run; `None` when the last one has been told.
    current: Option<MapEntry<'a>>,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Result<MapEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut current = self.current.take()?;
        loop {
            let at = current.start + current.length;
            if at >= self.end {
                return Some(Ok(current));
            }
            match entry_at(self.image, at, self.end - at) {
                Ok(next) if current.length == 0 => current = next,
                Ok(next) if continues(&current, &next) => current.length += next.length,
                Ok(next) => {
                    self.current = Some(next);
                    return Some(Ok(current));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What the first image that knows anything of it says of the run from `at`.
fn entry_at(image: &Image, at: u64, len: u64) -> Result<MapEntry<'_>> {
    let mut layer = image;
    let mut depth = 0;
    let (mut holder, mut status) = held(layer, at, len)?;
    while !status.zero && !status.data {
        let Some(backing) = layer.backing() else { break };
        layer = backing;
        depth += 1;
        (holder, status) = held(layer, at, status.len)?;
    }
    Ok(entry(holder, at, depth, &status))
}

/// What one layer says of a run, and which image says it: raw over another image has nothing to say
/// itself.
fn held(layer: &Image, at: u64, len: u64) -> Result<(&Image, Status)> {
    let status = told_layer_status(layer, at, len)?;
    match (layer.format(), layer.children(), &status.host) {
        (Format::Raw, [Child { below: Below::Image(below), .. }], Some((_, offset))) => {
            held(below, offset.0, status.len)
        }
        _ => Ok((layer, status)),
    }
}

fn entry<'a>(layer: &'a Image, start: u64, depth: u32, status: &Status) -> MapEntry<'a> {
    MapEntry {
        start,
        length: status.len,
        depth,
        present: status.allocated,
        zero: status.zero,
        data: status.data,
        compressed: status.compressed,
        offset: status.host.as_ref().map(|(_, offset)| offset.0),
        file: status.host.as_ref().map(|(disk, _)| layer.name_of(disk)),
    }
}

/// Whether `next` tells the same of the bytes that follow `current`.
fn continues(current: &MapEntry<'_>, next: &MapEntry<'_>) -> bool {
    let alike = MapEntry {
        start: current.start,
        length: current.length,
        offset: next.offset.map(|offset| offset.wrapping_sub(current.length)),
        ..*next
    };
    alike == *current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_continue_only_where_their_bytes_do() {
        let first = MapEntry { start: 0, length: 10, data: true, offset: Some(100), ..MapEntry::default() };
        let next = MapEntry { start: 10, length: 5, offset: Some(110), ..first };
        assert!(continues(&first, &next));
        assert!(!continues(&first, &MapEntry { offset: Some(111), ..next }));
        assert!(!continues(&first, &MapEntry { offset: None, ..next }));
        assert!(!continues(&first, &MapEntry { zero: true, ..next }));
        assert!(!continues(&first, &MapEntry { depth: 1, ..next }));
        let nowhere = MapEntry { offset: None, ..first };
        assert!(continues(&nowhere, &MapEntry { offset: None, ..next }));
    }
}
