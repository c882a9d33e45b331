//! [`Writer`] over a [`Session`], safe to use from several threads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::Zeroing;

use super::amend;
use super::geometry::Geometry;
use super::session::Session;
use crate::amend::AmendRequest;
use crate::bitmaps::{BitmapWriter, DirtySource, Recording};
use crate::encryption::Encryption;
use crate::resize::Remainder;
use crate::{
    Allocation, Amend, Amendment, BackingReference, BitmapInfo, Codec, Compression, Durability, Error,
    GuestOffset, NewSize, NewSnapshot, Overlay, Resize, Result, SnapshotWriter, Writer,
};

/// Changes an image. Only finding places and linking them happens one at a time; writing to them
/// does not.
pub struct Qcow2Writer {
    session: Mutex<Session>,
    geometry: Geometry,
    codec: Codec,
    encryption: Option<Encryption>,
    /// Size of the virtual disk, known without waiting for the session.
    size: AtomicU64,
}

impl Qcow2Writer {
    /// A writer over a session.
    pub fn new(session: Session) -> Self {
        let header = session.header();
        let (geometry, codec) = (header.geometry(), header.compression);
        let size = AtomicU64::new(header.virtual_size());
        let encryption = session.encryption().cloned();
        Self { session: Mutex::new(session), geometry, codec, encryption, size }
    }

    /// Size of the virtual disk as the session has it.
    pub(super) fn virtual_size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn note_size(&self, session: &Session) {
        self.size.store(session.header().virtual_size(), Ordering::Release);
    }

    /// The session, for looking things up in it.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer for Qcow2Writer {
    fn granularity(&self) -> u64 {
        self.geometry.subcluster_size()
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let allocation = self.session().prepare(at, len)?;
        match &self.encryption {
            Some(encryption) => Ok(encryption.encrypting(allocation)),
            None => Ok(allocation),
        }
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.session().link(allocation)
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.session().zero(at, len, how)
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.session().discard(at, len)
    }

    fn compression(&self) -> Option<Compression> {
        let cluster_size = self.geometry.cluster_size();
        // A stream as long as the cluster would gain nothing.
        let compression = Compression { stream: self.codec.into(), cluster_size, max_len: cluster_size - 1 };
        (!self.geometry.external_data && self.encryption.is_none()).then_some(compression)
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        if !at.is_aligned(self.geometry.cluster_size()) {
            return Err(Error::invalid("A compressed write begins on a cluster"));
        }
        let place = self.session().place_compressed(at, payload.len() as u64)?;
        place.disk.write_at(place.offset.0, payload)?;
        self.session().link_compressed(&place)
    }

    fn snapshots(&self) -> Option<&dyn SnapshotWriter> {
        Some(self)
    }

    fn bitmaps(&self) -> Option<&dyn BitmapWriter> {
        Some(self)
    }

    fn amender(&self) -> Option<&dyn Amend> {
        Some(self)
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        self.session().commit(durability)
    }

    fn unwritten_is_noise(&self) -> bool {
        // Space that was given out without being written decrypts to anything.
        self.encryption.is_some() && self.session().is_preallocated()
    }

    fn overwrites(&self) -> bool {
        self.geometry.external_data
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        Some(self)
    }
}

impl Overlay for Qcow2Writer {
    fn set_backing(&self, reference: Option<&BackingReference>) -> Result<()> {
        self.session().set_backing(reference)
    }

    fn make_empty(&self) -> Result<()> {
        self.session().make_empty()
    }
}

impl Amend for Qcow2Writer {
    fn plan(&self, request: &AmendRequest<'_>) -> Result<Amendment> {
        amend::plan(self.session().header(), request)
    }

    fn add(&self, amendment: &Amendment) -> Result<()> {
        if let Some(slots) = &amendment.slots {
            self.session().change_slots(slots)?;
        }
        match &amendment.features {
            Some(features) => self.session().add_features(features, amendment.size),
            None => Ok(()),
        }
    }

    fn remove(&self, amendment: &Amendment) -> Result<()> {
        match &amendment.features {
            Some(features) => self.session().remove_features(features),
            None => Ok(()),
        }
    }
}

impl Resize for Qcow2Writer {
    fn resize(&self, request: &NewSize) -> Result<Remainder> {
        let mut session = self.session();
        let remainder = session.resize(request)?;
        self.note_size(&session);
        Ok(remainder)
    }

    fn settle(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let recording = self.session().record_writes(Recording::Off);
        let result = work();
        self.session().record_writes(recording);
        result
    }
}

impl SnapshotWriter for Qcow2Writer {
    fn supported(&self) -> Result<()> {
        match self.geometry.external_data {
            true => Err(Error::unsupported("Operation not supported")),
            false => Ok(()),
        }
    }

    fn create(&self, new: &NewSnapshot) -> Result<()> {
        self.session().create_snapshot(new)
    }

    fn apply(&self, index: usize) -> Result<()> {
        let mut session = self.session();
        session.apply_snapshot(index)?;
        self.note_size(&session);
        Ok(())
    }

    fn delete(&self, index: usize) -> Result<()> {
        self.session().delete_snapshot(index)
    }
}

impl BitmapWriter for Qcow2Writer {
    fn list(&self) -> Vec<BitmapInfo> {
        self.session().bitmap_infos()
    }

    fn default_granularity(&self) -> u64 {
        self.session().default_bitmap_granularity()
    }

    fn add(&self, bitmap: &BitmapInfo) -> Result<()> {
        self.session().add_bitmap(bitmap)
    }

    fn remove(&self, index: usize) -> Result<()> {
        self.session().remove_bitmap(index)
    }

    fn clear(&self, index: usize) -> Result<()> {
        self.session().clear_bitmap(index)
    }

    fn record(&self, index: usize, recording: Recording) -> Result<()> {
        self.session().record_in_bitmap(index, recording)
    }

    fn merge(&self, index: usize, source: &mut DirtySource<'_>) -> Result<()> {
        self.session().merge_into_bitmap(index, source)
    }

    fn merge_own(&self, index: usize, source: usize) -> Result<()> {
        self.session().merge_own_bitmap(index, source)
    }
}

impl fmt::Debug for Qcow2Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2Writer").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
