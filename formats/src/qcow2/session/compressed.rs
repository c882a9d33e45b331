//! Compressed clusters, packed one behind another.

use std::sync::Arc;

use super::Session;
use super::space::Shared;
use crate::qcow2::entry::L2Entry;
use crate::qcow2::geometry::HostCluster;
use crate::{Allocation, Error, ErrorKind, GuestOffset, HostOffset, Result};

impl Session {
    /// Finds a place for a compressed cluster of `len` bytes, at most one cluster.
    ///
    /// It continues where the last one ended if the clusters it would share can be counted once
    /// more. The place is counted; [`Session::link_compressed`] makes it visible.
    pub fn place_compressed(&mut self, at: GuestOffset, len: u64) -> Result<Allocation> {
        if self.files.data.is_some() {
            return Err(Error::unsupported("Compression not supported for this file format"));
        }
        if len == 0 || len > self.geometry.cluster_size() {
            return Err(Error::invalid("A compressed cluster is neither empty nor larger than a cluster"));
        }
        self.tables.own(self.geometry.index(at).l1, &mut self.space)?;
        let offset = match self.continue_tail(len)? {
            Some(offset) => offset,
            None => self.space.take_one()?,
        };
        let end = offset + len;
        self.tail = (self.geometry.within(end.0) != 0).then_some(end);
        let file_end = self.geometry.clusters_for(end.0) << self.geometry.cluster_bits;
        self.content_end = self.content_end.max(file_end);
        Ok(Allocation { at, len, disk: Arc::clone(&self.files.main), offset })
    }

    /// The end of the last compressed cluster, if `len` bytes more can be stored there.
    fn continue_tail(&mut self, len: u64) -> Result<Option<HostOffset>> {
        let Some(tail) = self.tail.take() else { return Ok(None) };
        let shared = self.geometry.host_cluster(tail);
        let overflows = self.geometry.within(tail.0) + len > self.geometry.cluster_size();
        if overflows && !self.space.take_at(HostCluster(shared.0 + 1))? {
            return Ok(None);
        }
        match self.space.share(shared.0..shared.0 + 1)? {
            Shared::Counted => Ok(Some(tail)),
            // The cluster after it, if it was taken, begins a run of its own.
            Shared::Full if overflows => Ok(Some(self.geometry.host_offset(HostCluster(shared.0 + 1)))),
            Shared::Full => Ok(None),
        }
    }

    /// Makes a compressed cluster visible that has been written to its place.
    pub fn link_compressed(&mut self, allocation: &Allocation) -> Result<()> {
        let index = self.geometry.index(allocation.at);
        let left = self.header.virtual_size().saturating_sub(allocation.at.0);
        self.bitmaps.record(allocation.at, self.geometry.cluster_size().min(left));
        self.tables.own(index.l1, &mut self.space)?;
        let entry =
            L2Entry::compressed(&self.geometry, allocation.offset, allocation.len).ok_or_else(|| {
                Error::new(ErrorKind::TooLarge, "The image file would exceed the limits of its format")
            })?;
        let old = self.tables.entry(index)?;
        let kind = self.kind(old)?;
        self.release_cluster(kind)?;
        self.tables.set(index, entry)
    }
}
