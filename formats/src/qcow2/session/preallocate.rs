//! Giving guest clusters their places before anything is written.

use std::ops::Range;
use std::sync::Arc;

use super::Session;
use crate::{Allocation, GuestOffset, HostOffset, Result};

/// How preallocated clusters are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Each L2 table before its clusters.
    Interleaved,
    /// All clusters in one run.
    Contiguous,
}

/// What stands in newly linked clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// What was written there, if only zeroes.
    Written,
    /// Nothing: their subclusters, where there are any, stay unallocated.
    Reserved,
}

impl Session {
    /// Gives every guest cluster a place. Returns the bytes of the data's file from the first to
    /// the last place.
    pub fn preallocate(&mut self, layout: Layout) -> Result<Range<u64>> {
        self.preallocate_range(0..self.header.size, layout, Content::Reserved)
    }

    /// The same for guest bytes from the start of a cluster to the end of one, or of the disk.
    pub(super) fn preallocate_range(
        &mut self,
        guest: Range<u64>,
        layout: Layout,
        content: Content,
    ) -> Result<Range<u64>> {
        if guest.is_empty() {
            return Ok(0..0);
        }
        let (at, len) = (GuestOffset(guest.start), guest.end - guest.start);
        match (&self.files.data, layout) {
            (Some(data), _) => {
                let disk = Arc::clone(data);
                self.link_as(&Allocation { at, len, disk, offset: HostOffset(at.0) }, content)?;
                Ok(guest)
            }
            (None, Layout::Contiguous) => {
                // The tables that count the run and the first that maps it stand before it.
                self.space.cover(self.geometry.clusters_for(len))?;
                self.tables.own(self.geometry.index(at).l1, &mut self.space)?;
                let offset = self.space.take_bytes(len)?;
                let disk = Arc::clone(&self.files.main);
                self.link_as(&Allocation { at, len, disk, offset }, content)?;
                Ok(offset.0..self.content_end)
            }
            (None, Layout::Interleaved) => {
                let mut at = guest.start;
                let mut start = None;
                while at < guest.end {
                    let run = self.prepare(GuestOffset(at), guest.end - at)?;
                    self.link_as(&run, content)?;
                    start = start.or(Some(run.offset.0));
                    at += run.len;
                }
                Ok(start.unwrap_or(self.content_end)..self.content_end)
            }
        }
    }
}
