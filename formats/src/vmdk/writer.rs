//! Writing into a VMDK image.
//!
//! A grain that is there is written where it is; one that is not gets a place at the end of its file. Over
//! another image grains are written as a whole, and entered in the tables when they are. Compressed grains are
//! written once.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, MutexGuard, PoisonError};

use journal::Zeroing;

use super::descriptor;
use super::extents::{Body, Extent};
use super::grains::{Grain, MAX_WHOLE_GRAIN, Sparse, Storage};
use super::space::{Entering, Place, max_payload};
use super::{EMBEDDED_AT, NO_PARENT, Vmdk, invalid};
use crate::raw::{SECTOR, sectors};
use crate::{
    Allocation, Compressing, Compression, Driver, Durability, Error, GuestOffset, HostOffset, Result, Stream,
    Writer,
};

/// What changes of an image as a whole.
#[derive(Debug)]
pub(super) struct Changes {
    /// Its identity now.
    pub(super) identity: u32,
    /// The identity of the image behind it, if that has become another one.
    parent: Option<u32>,
    /// Whether its content was changed since the last commit.
    has_changed: bool,
}

impl Changes {
    pub(super) fn new(identity: u32) -> Self {
        Self { identity, parent: None, has_changed: false }
    }
}

/// An identity for new content.
pub(super) fn random_identity() -> u32 {
    let random = RandomState::new().hash_one(std::process::id()) as u32;
    if random == NO_PARENT { 1 } else { random }
}

impl Vmdk {
    pub(super) fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sparse(&self) -> impl Iterator<Item = (&Extent, &Sparse)> {
        self.extents.iter().filter_map(|extent| match &extent.body {
            Body::Sparse(sparse) => Some((extent, &**sparse)),
            Body::Flat { .. } => None,
        })
    }

    fn is_compressed(&self) -> bool {
        self.extents.iter().any(Extent::is_compressed)
    }

    fn entering(&self) -> Entering {
        if self.parent.is_some() { Entering::WhenWritten } else { Entering::AtOnce }
    }

    /// Whether what is written goes into whole grains.
    fn needs_whole_grains(&self) -> bool {
        self.parent.is_some() || self.is_compressed()
    }

    /// Whether it can be written: whole grains must be of one size, and one unit of the disk each; and what
    /// ends with its header cannot grow.
    pub(super) fn can_write(&self) -> bool {
        let is_regular = |(extent, sparse): (&Extent, &Sparse)| {
            let size = sparse.layout.grain_size();
            let is_whole = size <= MAX_WHOLE_GRAIN && extent.start.is_multiple_of(size);
            !sparse.layout.has_footer
                && (is_whole && size == self.granularity() || !self.needs_whole_grains())
        };
        let is_alike = self.extents.iter().all(|extent| extent.is_compressed() == self.is_compressed());
        let is_nothing = self.extents.is_empty() && !super::extents::is_described(&self.create_type);
        is_alike && !is_nothing && self.sparse().all(is_regular)
    }

    /// Writes the descriptor with the identities as they are now.
    fn write_descriptor(&self, changes: &Changes) -> Result<()> {
        self.edit_descriptor(|text| {
            let set = descriptor::set_identity(text, b"CID", changes.identity);
            let set_parent = match changes.parent {
                Some(parent) => descriptor::set_identity(text, b"parentCID", parent),
                None => Some(()),
            };
            set.and(set_parent).ok_or_else(invalid)
        })
    }

    /// Writes the descriptor with another text.
    pub(super) fn edit_descriptor(&self, edit: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let in_place = self.file.in_place().unwrap_or_else(|| Arc::clone(&self.file));
        let is_embedded = self.descriptor_at == EMBEDDED_AT;
        let mut text = descriptor::read(&*in_place, self.descriptor_at)?;
        if is_embedded {
            text.truncate(descriptor::LOOKED_AT);
        }
        let before = text.len();
        edit(&mut text)?;
        if is_embedded && text.len() > descriptor::LOOKED_AT {
            return Err(Error::corrupt("The descriptor has no room for what is to be in it"));
        }
        // Whole sectors, as QEMU leaves it.
        let len = sectors(text.len().max(before) as u64) as usize;
        text.resize(if is_embedded { len.min(descriptor::LOOKED_AT) } else { len }, 0);
        Ok(in_place.write_at(self.descriptor_at, &text)?)
    }
}

impl Writer for Vmdk {
    fn granularity(&self) -> u64 {
        let size = self.sparse().next().map(|(_, sparse)| sparse.layout.grain_size());
        size.filter(|_| self.needs_whole_grains()).unwrap_or(1)
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let extent = self.extent(at.0)?;
        let (within, len) = (at.0 - extent.start, len.min(extent.end - at.0));
        let place = match &extent.body {
            Body::Flat { in_place, offset, .. } => {
                Place { disk: Arc::clone(in_place), offset: offset.saturating_add(within), len }
            }
            Body::Sparse(sparse) if sparse.layout.storage == Storage::Plain => {
                sparse.place(within, len, self.entering())?
            }
            Body::Sparse(sparse) => {
                let is_there = matches!(sparse.grain(within / sparse.layout.grain_size())?, Grain::At(_));
                return Err(if is_there { sparse.written_once() } else { invalid() });
            }
        };
        self.changes().has_changed = true;
        Ok(Allocation { at, len: place.len, disk: place.disk, offset: HostOffset(place.offset) })
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        let extent = self.extent(allocation.at.0)?;
        match &extent.body {
            Body::Sparse(sparse) if self.parent.is_some() => {
                let size = sparse.layout.grain_size();
                let count = allocation.len.div_ceil(size);
                sparse.enter_run((allocation.at.0 - extent.start) / size, count, allocation.offset.0)
            }
            _ => Ok(()),
        }
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let end = at.0.saturating_add(len);
        let mut at = at.0;
        self.changes().has_changed |= at < end;
        while at < end {
            let extent = self.extent(at)?;
            let (within, len) = (at - extent.start, end.min(extent.end) - at);
            match &extent.body {
                Body::Flat { in_place, offset, .. } => {
                    let start = offset.saturating_add(within);
                    in_place.zero(start..start.saturating_add(len), how)?;
                }
                Body::Sparse(sparse) => sparse.zero(within, len, extent.start, how, self.entering())?,
            }
            at += len;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn compression(&self) -> Option<Compression> {
        let cluster_size = self.granularity();
        let compression =
            Compression { stream: Stream::Zlib, cluster_size, max_len: max_payload(cluster_size) };
        self.is_compressed().then_some(compression)
    }

    fn compressing(&self) -> Compressing {
        if self.is_compressed() {
            Compressing::Always
        } else if self.sparse().next().is_some() {
            Compressing::InVain
        } else {
            Compressing::Never
        }
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        let extent = self.extent(at.0)?;
        let Body::Sparse(sparse) = &extent.body else { return Err(invalid()) };
        let number = (at.0 - extent.start) / sparse.layout.grain_size();
        sparse.put(number, at.0 / SECTOR, payload)?;
        self.changes().has_changed = true;
        Ok(())
    }

    fn overwrites(&self) -> bool {
        !self.is_compressed()
    }

    fn follow(&self, backing: &dyn Driver) {
        if self.parent.is_some() {
            self.changes().parent = backing.content_id().filter(|&id| id != self.identities.1);
        }
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut changes = self.changes();
        for (_, sparse) in self.sparse() {
            sparse.flush()?;
        }
        if changes.has_changed || changes.parent.is_some() {
            if std::mem::take(&mut changes.has_changed) {
                changes.identity = random_identity();
            }
            self.write_descriptor(&changes)?;
            changes.parent = None;
        }
        if durability == Durability::Durable {
            for file in self.files() {
                file.disk.sync()?;
            }
        }
        Ok(())
    }
}
