//! Changing what stands behind guest clusters.

use std::sync::Arc;

use journal::{DiskKind, Zeroing};

use super::preallocate::Content;
use super::{Mode, Session};
use crate::qcow2::entry::{ClusterKind, L2Entry, Ownership, SubclusterBitmap};
use crate::qcow2::geometry::{Geometry, GuestIndex, HostCluster, Version};
use crate::qcow2::table::{entry_at, put_entry};
use crate::{Allocation, Error, GuestOffset, HostOffset, Result};

/// Bytes that a new file is longer than what is in it.
const GROWTH: u64 = 1 << 30;

/// A part of one cluster that an operation touches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: GuestOffset,
    pub(super) index: GuestIndex,
    /// Bytes from `index.within` on.
    pub(super) len: u64,
    /// Whether it is the cluster, as far as the guest can see.
    pub(super) whole: bool,
    /// The subclusters it touches.
    pub(super) mask: u32,
}

impl Piece {
    /// Where its cluster begins.
    pub(super) fn cluster(&self) -> GuestOffset {
        GuestOffset(self.at.0 - self.index.within)
    }
}

/// The entry of a cluster after a piece of it was linked to a place.
fn linked(geometry: &Geometry, piece: &Piece, old: L2Entry, kind: ClusterKind, host: HostOffset) -> L2Entry {
    let bitmap = match kind {
        _ if !geometry.extended_l2 => SubclusterBitmap::NONE,
        // What was compressed has been written out in full.
        ClusterKind::Compressed(_) => SubclusterBitmap::new(u32::MAX, 0),
        _ => SubclusterBitmap::new(old.bitmap.allocated() | piece.mask, old.bitmap.zero() & !piece.mask),
    };
    L2Entry::normal(host, Ownership::Sole).with_bitmap(bitmap)
}

/// The cluster that an entry refers to, if that is a whole one.
fn place_of(kind: ClusterKind) -> Option<HostOffset> {
    match kind {
        ClusterKind::Normal(host) | ClusterKind::ZeroAllocated(host) => Some(host),
        ClusterKind::Unallocated | ClusterKind::ZeroPlain | ClusterKind::Compressed(_) => None,
    }
}

impl Session {
    /// See [`crate::Writer::prepare`].
    pub fn prepare(&mut self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let index = self.geometry.index(at);
        let coverage = self.geometry.l2_coverage();
        let len = len.min(coverage - (at.0 & (coverage - 1)));
        self.tables.own(index.l1, &mut self.space)?;
        if let Some(data) = &self.files.data {
            return Ok(Allocation { at, len, disk: Arc::clone(data), offset: HostOffset(at.0) });
        }
        let len = self.whole_or_part(at, len);
        let wanted = self.geometry.clusters_for(index.within + len);
        let (stays, run) = self.run_at(index, wanted)?;
        let (host, clusters) = match stays {
            Some(host) => (host, run),
            None => self.fresh_run(run)?,
        };
        let len = len.min((clusters << self.geometry.cluster_bits) - index.within);
        let allocation =
            Allocation { at, len, disk: Arc::clone(&self.files.main), offset: host + index.within };
        if stays.is_none() {
            self.keep_the_rest(&allocation)?;
        }
        Ok(allocation)
    }

    /// As much of a range as is whole clusters or a part of one.
    fn whole_or_part(&self, at: GuestOffset, len: u64) -> u64 {
        let size = self.geometry.cluster_size();
        let within = at.0 % size;
        if within > 0 || len < size {
            return len.min(size - within);
        }
        let to_the_end = at.0 + len >= self.header.virtual_size();
        if to_the_end { len } else { len / size * size }
    }

    /// Makes freshly taken clusters hold what their guest clusters hold outside the allocation.
    ///
    /// Where only a part of a cluster is written, it moves at once: the next allocation of another
    /// part, which may come before this one is linked, has to find the same place.
    fn keep_the_rest(&mut self, allocation: &Allocation) -> Result<()> {
        match self.pieces(allocation.at, allocation.len).next() {
            Some(part) if self.geometry.extended_l2 && !part.whole => {
                let host = allocation.offset.align_down(self.geometry.cluster_size());
                self.fill_around(&Piece { mask: 0, ..part }, host)?;
                self.reserve(allocation)
            }
            _ => self.fill_edges(allocation),
        }
    }

    /// The cluster behind an entry, if it may be written where it stands.
    fn reusable(&self, entry: L2Entry) -> Result<Option<HostOffset>> {
        let Some(host) = place_of(self.kind(entry)?) else { return Ok(None) };
        let own = entry.is_copied() && self.space.is_own(self.geometry.host_cluster(host));
        Ok(own.then_some(host))
    }

    /// How many clusters from `index` on, at most `wanted`, may be written where they stand, one
    /// after another, and where that is; or how many may not.
    fn run_at(&mut self, index: GuestIndex, wanted: u64) -> Result<(Option<HostOffset>, u64)> {
        let Some(table) = self.tables.table(index.l1)? else { return Ok((None, wanted)) };
        let mut entries = table.entries_from(&self.geometry, index.l2);
        let host = self.reusable(entries.next().unwrap_or(L2Entry::NONE))?;
        let mut clusters = 1;
        for entry in entries.take(wanted as usize - 1) {
            let next = host.map(|host| host + (clusters << self.geometry.cluster_bits));
            if self.reusable(entry)? != next {
                break;
            }
            clusters += 1;
        }
        Ok((host, clusters))
    }

    /// Takes some clusters in a row, at most `wanted`.
    fn fresh_run(&mut self, wanted: u64) -> Result<(HostOffset, u64)> {
        let run = self.space.take(1, wanted)?;
        self.make_long_enough(run.end)?;
        let clusters = run.end - run.start;
        let host = self.geometry.host_offset(HostCluster(run.start));
        self.prepared.insert(run);
        Ok((host, clusters))
    }

    /// Makes a new file longer than is needed now.
    ///
    /// Writes past the cache that make a file longer wait for one another, and each for the
    /// filesystem's own log. The commit cuts off what was too much.
    fn make_long_enough(&mut self, end: u64) -> Result<()> {
        let end = end << self.geometry.cluster_bits;
        if self.mode == Mode::Shadow || end <= self.grown_to {
            return Ok(());
        }
        let disk = &self.files.main;
        if disk.status()?.kind == DiskKind::Regular {
            disk.set_len(disk.len()?.max(end.saturating_add(GROWTH)))?;
            self.grown_to = disk.len()?;
        }
        Ok(())
    }

    /// See [`crate::Writer::link`].
    pub fn link(&mut self, allocation: &Allocation) -> Result<()> {
        self.link_as(allocation, Content::Written)
    }

    /// Links an allocation to which nothing is written yet.
    pub(super) fn reserve(&mut self, allocation: &Allocation) -> Result<()> {
        self.link_as(allocation, Content::Reserved)
    }

    pub(super) fn link_as(&mut self, allocation: &Allocation, content: Content) -> Result<()> {
        self.bitmaps.record(allocation.at, allocation.len);
        let geometry = self.geometry;
        let mut replaced = Vec::new();
        let mut pieces = self.pieces(allocation.at, allocation.len).peekable();
        while let Some(first) = pieces.peek().copied() {
            let l1 = first.index.l1;
            let table = self.tables.own_bytes(l1, &mut self.space)?;
            while let Some(mut piece) = pieces.next_if(|piece| piece.index.l1 == l1) {
                if content == Content::Reserved {
                    piece.mask = 0;
                }
                let host =
                    (allocation.offset + (piece.at - allocation.at)).align_down(geometry.cluster_size());
                let old = entry_at(&geometry, table, piece.index.l2);
                let kind = old.validate(&geometry).map_err(|fault| Error::corrupt(fault.to_string()))?;
                put_entry(&geometry, table, piece.index.l2, linked(&geometry, &piece, old, kind, host));
                if place_of(kind) != Some(host) && kind != ClusterKind::Unallocated {
                    replaced.push(kind);
                }
            }
        }
        for kind in replaced {
            self.release_cluster(kind)?;
        }
        self.note_linked(allocation);
        Ok(())
    }

    /// The allocation is not merely prepared any more.
    fn note_linked(&mut self, allocation: &Allocation) {
        if self.files.data.is_none() {
            let first = self.geometry.host_cluster(allocation.offset).0;
            let end = self.geometry.clusters_for(allocation.offset.0 + allocation.len);
            self.prepared.remove(first..end);
            self.content_end = self.content_end.max(end << self.geometry.cluster_bits);
        }
    }

    /// Drops the reference to what an entry referred to.
    pub(super) fn release_cluster(&mut self, kind: ClusterKind) -> Result<()> {
        match kind {
            _ if self.files.data.is_some() => Ok(()),
            ClusterKind::Unallocated | ClusterKind::ZeroPlain => Ok(()),
            ClusterKind::Normal(host) | ClusterKind::ZeroAllocated(host) => {
                self.space.release(host, self.geometry.cluster_size())
            }
            ClusterKind::Compressed(run) => self.space.release(run.offset, run.len),
        }
    }

    /// See [`crate::Writer::zero`].
    pub fn zero(&mut self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.bitmaps.record(at, len);
        if let Some(data) = self.raw_data() {
            data.zero(at.0..at.0 + len, how)?;
        }
        if self.geometry.version == Version::V2 {
            return if self.has_backing() { self.store_zeroes(at, len) } else { self.discard(at, len) };
        }
        for piece in self.pieces(at, len) {
            if self.has_backing() || self.tables.has_table(piece.index.l1) {
                self.zero_piece(&piece, how)?;
            }
        }
        Ok(())
    }

    fn zero_piece(&mut self, piece: &Piece, how: Zeroing) -> Result<()> {
        let mut old = self.tables.entry(piece.index)?;
        let mut kind = self.kind(old)?;
        if kind == ClusterKind::Unallocated && !self.has_backing() {
            return Ok(());
        }
        self.tables.own(piece.index.l1, &mut self.space)?;
        if !piece.whole && matches!(kind, ClusterKind::Compressed(_)) {
            self.expand(piece)?;
            old = self.tables.entry(piece.index)?;
            kind = self.kind(old)?;
        }
        let keep = match kind {
            ClusterKind::Normal(_) | ClusterKind::ZeroAllocated(_) => how == Zeroing::Keep || !piece.whole,
            _ => false,
        };
        if !keep {
            self.release_cluster(kind)?;
        }
        let descriptor = if keep { old.descriptor } else { 0 };
        let bitmap = if piece.whole {
            SubclusterBitmap::new(0, u32::MAX)
        } else {
            SubclusterBitmap::new(old.bitmap.allocated() & !piece.mask, old.bitmap.zero() | piece.mask)
        };
        let entry = if self.geometry.extended_l2 {
            L2Entry { descriptor, bitmap }
        } else {
            let zero = L2Entry::zero_plain();
            L2Entry { descriptor: descriptor | zero.descriptor, ..zero }
        };
        self.tables.set(piece.index, entry)
    }

    /// Zeroes for version 2, which has no other way to hide a backing image.
    fn store_zeroes(&mut self, mut at: GuestOffset, mut len: u64) -> Result<()> {
        while len > 0 {
            let allocation = self.prepare(at, len)?;
            let start = allocation.offset.0;
            allocation.disk.zero(start..start + allocation.len, Zeroing::Unmap)?;
            self.write_guest_zeroes(&allocation)?;
            self.link(&allocation)?;
            at = at + allocation.len;
            len -= allocation.len;
        }
        Ok(())
    }

    /// See [`crate::Writer::discard`].
    pub fn discard(&mut self, at: GuestOffset, len: u64) -> Result<()> {
        self.bitmaps.record(at, len);
        if let Some(data) = self.raw_data() {
            data.zero(at.0..at.0 + len, Zeroing::Unmap)?;
        }
        for piece in self.pieces(at, len) {
            if self.tables.has_table(piece.index.l1) {
                self.discard_piece(&piece)?;
            }
        }
        Ok(())
    }

    fn discard_piece(&mut self, piece: &Piece) -> Result<()> {
        let old = self.tables.entry(piece.index)?;
        if old == L2Entry::NONE {
            return Ok(());
        }
        let kind = self.kind(old)?;
        self.tables.own(piece.index.l1, &mut self.space)?;
        if piece.whole {
            self.release_cluster(kind)?;
            return self.tables.set(piece.index, L2Entry::NONE);
        }
        if matches!(kind, ClusterKind::Compressed(_)) {
            self.expand(piece)?;
        }
        let entry = self.tables.entry(piece.index)?;
        let (allocated, zero) = (entry.bitmap.allocated() & !piece.mask, entry.bitmap.zero() & !piece.mask);
        self.tables.set(piece.index, entry.with_bitmap(SubclusterBitmap::new(allocated, zero)))
    }

    /// A guest range cluster by cluster.
    pub(super) fn pieces(&self, at: GuestOffset, len: u64) -> impl Iterator<Item = Piece> + use<> {
        let geometry = self.geometry;
        let disk_end = self.header.virtual_size();
        let end = at.0.saturating_add(len);
        let mut next = at.0;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let at = GuestOffset(next);
            let index = geometry.index(at);
            let len = (geometry.cluster_size() - index.within).min(end - next);
            next += len;
            let to_end = index.within + len == geometry.cluster_size() || next >= disk_end;
            let first = index.within / geometry.subcluster_size();
            let last = (index.within + len - 1) / geometry.subcluster_size();
            let mask = (u32::MAX << first) & (u32::MAX >> (31 - last.min(31)));
            Some(Piece { at, index, len, whole: index.within == 0 && to_end, mask })
        })
    }

    /// Whether a cluster's bytes beyond the guest's end may be something else than zeroes.
    pub(super) fn space_is_recycled(&self) -> bool {
        self.mode == Mode::Shadow
    }
}
