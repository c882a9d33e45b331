//! An image that can be changed: its tables are those of a session.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::Qcow2;
use super::cache::L2Cache;
use super::entry::L1Entry;
use super::session::{Files, Session};
use super::snapshot::SnapshotTable;
use super::writer::Qcow2Writer;
use crate::{Holes, Result};

impl Qcow2 {
    /// A new image that a session has laid out.
    pub fn create(session: Session) -> Self {
        let header = session.header().clone();
        let geometry = header.geometry();
        Self {
            file: Arc::clone(&session.files().main),
            data_file: session.files().data.clone(),
            backing: header.backing(),
            geometry,
            l1: vec![L1Entry::NONE; header.l1.count as usize],
            cache: L2Cache::new(&geometry),
            snapshots: SnapshotTable::default(),
            snapshot_infos: Vec::new(),
            bitmaps: Vec::new(),
            bitmap_infos: Vec::new(),
            holes: OnceLock::from(Holes::Ignored),
            corruption_told: AtomicBool::new(false),
            encrypted: session.encrypted().cloned(),
            header,
            writer: Some(Qcow2Writer::new(session)),
        }
    }

    /// The same image, to be changed.
    pub(super) fn with_writer(self) -> Result<Self> {
        let files = Files { main: Arc::clone(&self.file), data: self.data_file.clone() };
        let session = Session::open(files, self.header.clone(), self.encrypted.clone())?;
        Ok(Self { writer: Some(Qcow2Writer::new(session)), ..self })
    }
}
