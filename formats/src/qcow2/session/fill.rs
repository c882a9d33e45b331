//! What a cluster must keep when only a part of it is written anew.

use std::sync::Arc;

use journal::{Disk, Zeroing};

use super::Session;
use super::edit::Piece;
use crate::qcow2::entry::{ClusterKind, CompressedDescriptor, L2Entry, Ownership, SubclusterBitmap};
use crate::{Allocation, HostOffset, Result};

impl Session {
    /// Copies into freshly taken clusters what their guest clusters hold outside the allocation.
    pub(super) fn fill_edges(&mut self, allocation: &Allocation) -> Result<()> {
        for piece in self.pieces(allocation.at, allocation.len) {
            let host =
                (allocation.offset + (piece.at - allocation.at)).align_down(self.geometry.cluster_size());
            if !piece.whole {
                self.fill_around(&piece, host)?;
            }
            let end = piece.index.within + piece.len;
            if piece.whole && end < self.geometry.cluster_size() && self.space_is_recycled() {
                // The disk ends here; should it grow one day, the rest must read as zeroes.
                let range = host.0 + end..host.0 + self.geometry.cluster_size();
                self.files.main.zero(range, Zeroing::Keep)?;
            }
        }
        Ok(())
    }

    pub(super) fn fill_around(&mut self, piece: &Piece, host: HostOffset) -> Result<()> {
        let old = self.tables.entry(piece.index)?;
        match self.kind(old)? {
            ClusterKind::Normal(from) => self.copy_subclusters(old, piece, from, host),
            ClusterKind::Compressed(run) => {
                let cluster = self.decompress(run)?;
                self.guest_disk(piece.cluster(), host).write_at(host.0, &cluster)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn copy_subclusters(
        &mut self,
        old: L2Entry,
        piece: &Piece,
        from: HostOffset,
        to: HostOffset,
    ) -> Result<()> {
        let size = self.geometry.subcluster_size();
        let mut bytes = vec![0; size as usize];
        let (source, target) = (self.guest_disk(piece.cluster(), from), self.guest_disk(piece.cluster(), to));
        for subcluster in 0..self.geometry.subclusters() {
            let bit = 1_u32 << subcluster;
            if old.bitmap.allocated() & bit & !piece.mask != 0 {
                let within = u64::from(subcluster) * size;
                source.read_padded(from.0 + within, &mut bytes)?;
                target.write_at(to.0 + within, &bytes)?;
            }
        }
        Ok(())
    }

    /// Turns a compressed cluster into a plain one.
    pub(super) fn expand(&mut self, piece: &Piece) -> Result<()> {
        let old = self.tables.entry(piece.index)?;
        let kind = self.kind(old)?;
        let ClusterKind::Compressed(run) = kind else { return Ok(()) };
        let cluster = self.decompress(run)?;
        let host = self.space.take_one()?;
        self.guest_disk(piece.cluster(), host).write_at(host.0, &cluster)?;
        self.release_cluster(kind)?;
        let bitmap = if self.geometry.extended_l2 {
            SubclusterBitmap::new(u32::MAX, 0)
        } else {
            SubclusterBitmap::NONE
        };
        self.tables.set(piece.index, L2Entry::normal(host, Ownership::Sole).with_bitmap(bitmap))
    }

    fn decompress(&mut self, run: CompressedDescriptor) -> Result<Vec<u8>> {
        let disk: Arc<dyn Disk> = Arc::clone(&self.files.main);
        // At most two clusters: the length field has no more bits.
        let mut payload = vec![0; run.len as usize];
        disk.read_padded(run.offset.0, &mut payload)?;
        let mut cluster = vec![0; self.geometry.cluster_size() as usize];
        self.decoder.decode(self.header.compression, &payload, &mut cluster)?;
        Ok(cluster)
    }
}
