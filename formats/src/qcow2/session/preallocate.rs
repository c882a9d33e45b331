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

impl Session {
    /// Gives every guest cluster a place. Returns the bytes of the data's file from the first to
    /// the last place.
    pub fn preallocate(&mut self, layout: Layout) -> Result<Range<u64>> {
        let size = self.header.size;
        if size == 0 {
            return Ok(0..0);
        }
        match (&self.files.data, layout) {
            (Some(data), _) => {
                let disk = Arc::clone(data);
                self.reserve(&Allocation { at: GuestOffset(0), len: size, disk, offset: HostOffset(0) })?;
                Ok(0..size)
            }
            (None, Layout::Contiguous) => {
                // The tables that count the run and the first that maps it stand before it.
                self.space.cover(self.geometry.clusters_for(size))?;
                self.tables.own(0, &mut self.space)?;
                let offset = self.space.take_bytes(size)?;
                let disk = Arc::clone(&self.files.main);
                self.reserve(&Allocation { at: GuestOffset(0), len: size, disk, offset })?;
                Ok(offset.0..self.content_end)
            }
            (None, Layout::Interleaved) => {
                let mut at = 0;
                let mut start = None;
                while at < size {
                    let run = self.prepare(GuestOffset(at), size - at)?;
                    self.reserve(&run)?;
                    start = start.or(Some(run.offset.0));
                    at += run.len;
                }
                Ok(start.unwrap_or(self.content_end)..self.content_end)
            }
        }
    }
}
