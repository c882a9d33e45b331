//! The bits of one bitmap, changed cluster by cluster.
//!
//! Clusters that do not change stay where they are; one that does moves to a place of the
//! session's own.

use std::ops::Range;

use journal::Disk;

use crate::Result;
use crate::qcow2::bitmap::BitmapCluster;
use crate::qcow2::geometry::{Geometry, TABLE_ENTRY_SIZE};
use crate::qcow2::session::space::Space;

/// Bits that are being changed.
#[derive(Debug)]
pub(super) struct Content<'a> {
    disk: &'a dyn Disk,
    space: &'a mut Space,
    geometry: Geometry,
    clusters: Vec<BitmapCluster>,
    open: Option<OpenCluster>,
}

/// A cluster of bits in memory.
#[derive(Debug)]
struct OpenCluster {
    index: usize,
    bits: Vec<u8>,
    changed: bool,
}

impl<'a> Content<'a> {
    /// The bits in those clusters.
    pub(super) fn new(
        disk: &'a dyn Disk,
        space: &'a mut Space,
        geometry: Geometry,
        clusters: Vec<BitmapCluster>,
    ) -> Self {
        Self { disk, space, geometry, clusters, open: None }
    }

    /// Sets a run of bits. Runs in ascending order touch each cluster once.
    pub(super) fn set(&mut self, bits: Range<u64>) -> Result<()> {
        self.change(bits, set_bits)
    }

    /// Clears a run of bits.
    pub(super) fn clear(&mut self, bits: Range<u64>) -> Result<()> {
        self.change(bits, |bytes, bits| {
            let mut mask = vec![0; bytes.len()];
            set_bits(&mut mask, bits);
            bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= !mask);
        })
    }

    fn change(&mut self, bits: Range<u64>, apply: fn(&mut [u8], Range<u64>)) -> Result<()> {
        let per_cluster = self.geometry.cluster_size() * 8;
        let mut rest = bits;
        while rest.start < rest.end {
            let index = (rest.start / per_cluster) as usize;
            let first = index as u64 * per_cluster;
            let end = rest.end.min(first + per_cluster);
            if index >= self.clusters.len() {
                return Ok(());
            }
            let open = self.opened(index)?;
            apply(&mut open.bits, rest.start - first..end - first);
            open.changed = true;
            rest.start = end;
        }
        Ok(())
    }

    fn opened(&mut self, index: usize) -> Result<&mut OpenCluster> {
        let open = match self.open.take() {
            Some(open) if open.index == index => open,
            other => {
                self.close(other)?;
                OpenCluster { index, bits: self.load(index)?, changed: false }
            }
        };
        Ok(self.open.insert(open))
    }

    fn load(&self, index: usize) -> Result<Vec<u8>> {
        let size = self.geometry.cluster_size() as usize;
        Ok(match self.clusters.get(index) {
            Some(BitmapCluster::At(offset)) => {
                let mut bits = vec![0; size];
                self.disk.read_padded(offset.0, &mut bits)?;
                bits
            }
            Some(BitmapCluster::Set) => vec![0xff; size],
            Some(BitmapCluster::Clear) | None => vec![0; size],
        })
    }

    fn close(&mut self, open: Option<OpenCluster>) -> Result<()> {
        let Some(OpenCluster { index, bits, changed: true }) = open else { return Ok(()) };
        let Some(cluster) = self.clusters.get_mut(index) else { return Ok(()) };
        let old = *cluster;
        let place = match old {
            BitmapCluster::At(offset) if self.space.is_own(self.geometry.host_cluster(offset)) => offset,
            _ => self.space.take_one()?,
        };
        self.disk.write_at(place.0, &bits)?;
        *cluster = BitmapCluster::At(place);
        match old {
            BitmapCluster::At(offset) if offset != place => {
                self.space.release(offset, self.geometry.cluster_size())
            }
            _ => Ok(()),
        }
    }

    /// The clusters as they are in the end, the table not written yet.
    pub(super) fn finish(mut self) -> Result<Vec<BitmapCluster>> {
        let open = self.open.take();
        self.close(open)?;
        Ok(self.clusters)
    }
}

/// The bytes of a bitmap table.
pub(super) fn table_bytes(clusters: &[BitmapCluster]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(clusters.len() * TABLE_ENTRY_SIZE as usize);
    for cluster in clusters {
        bytes.extend_from_slice(&cluster.entry().0.to_be_bytes());
    }
    bytes
}

/// Sets a run of bits, the least significant bit of each byte first.
fn set_bits(bytes: &mut [u8], bits: Range<u64>) {
    let mut bit = bits.start;
    while bit < bits.end {
        let (byte, shift) = ((bit / 8) as usize, bit % 8);
        let whole = ((bits.end - bit) / 8) as usize;
        if shift == 0 && whole > 0 {
            if let Some(run) = bytes.get_mut(byte..byte + whole) {
                run.fill(0xff);
            }
            bit += whole as u64 * 8;
            continue;
        }
        let count = (8 - shift).min(bits.end - bit);
        let mask = ((0xff_u16 >> (8 - count)) << shift) as u8;
        if let Some(byte) = bytes.get_mut(byte) {
            *byte |= mask;
        }
        bit += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_bits_start_and_end_anywhere() {
        for start in 0..24 {
            for end in start..=24 {
                let mut bytes = [0; 3];
                set_bits(&mut bytes, start..end);
                let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                let expected = ((1_u64 << end) - (1_u64 << start)) as u32;
                assert_eq!(value, expected, "{start}..{end}");
            }
        }
    }
}
