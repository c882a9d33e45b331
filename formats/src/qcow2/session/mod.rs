//! Changing an image: one session from the state in the file to the next one.
//!
//! ```text
//!   edit          prepare · link · zero · discard, on L2 entries
//!   compressed    packing compressed clusters
//!   fill          what a partly written cluster must keep
//!   preallocate   places for clusters that are written later
//!   bitmaps       persistent bitmaps
//!   resize        another size of the disk
//!   amend         another version, and zero clusters that it has not (expand)
//!   snapshots     internal snapshots, over what L2 tables refer to (references)
//!   backing       another backing image
//!   empty         nothing left but what shows through
//!     │
//!   tables        L1 and L2 tables        space   reference counts and free clusters
//!     └──────────── cache ─────────────────┘
//!   commit        write all of it, then the header
//! ```
//!
//! # What is never overwritten
//!
//! In [`Mode::Shadow`] a table or block that belongs to the committed state is never overwritten:
//! on its first change it is given a cluster that is free in the committed state, and may then be
//! rewritten there. Clusters that the session releases are not taken again in it. So the file
//! holds the old state, whole, until [`Session::commit`] writes the header, and the new one after.
//!
//! In [`Mode::InPlace`] nobody knows the file yet, and everything is written where it stands.

mod amend;
mod backing;
mod bitmaps;
mod cache;
mod commit;
mod compressed;
mod edit;
mod empty;
mod encryption;
mod expand;
mod fill;
mod preallocate;
mod references;
mod resize;
mod snapshots;
mod space;
mod tables;

use std::sync::Arc;

use journal::{Disk, RangeSet};

use self::bitmaps::BitmapSet;
pub use self::preallocate::Layout;
use self::space::Space;
use self::tables::Tables;
use super::entry::{ClusterKind, L1Entry, L2Entry};
use super::feature::{Autoclear, Incompatible};
use super::geometry::{Geometry, TABLE_ENTRY_SIZE};
use super::header::{Header, MAX_L1_SIZE, TableLocation};
use super::table::L2Table;
use crate::codec::Decoder;
use crate::qcow2::encryption::Encrypted;
use crate::resize::MAX_DISK_SIZE;
use crate::{Error, ErrorKind, HostOffset, Result};

/// What may be overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything: the file is not published yet.
    InPlace,
    /// Nothing of the committed state.
    Shadow,
}

/// The files of an image.
#[derive(Debug, Clone)]
pub struct Files {
    /// The image file.
    pub main: Arc<dyn Disk>,
    /// The external data file.
    pub data: Option<Arc<dyn Disk>>,
}

/// An image that is being changed.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    files: Files,
    header: Header,
    /// The header in the file.
    committed: Header,
    geometry: Geometry,
    space: Space,
    tables: Tables,
    bitmaps: BitmapSet,
    /// Clusters that were handed out and are not linked yet.
    prepared: RangeSet,
    /// Where the next compressed cluster may continue.
    tail: Option<HostOffset>,
    /// The file is to be at least so long.
    content_end: u64,
    /// How long the file was made so that it need not grow with each write; 0 if it was not.
    grown_to: u64,
    decoder: Decoder,
    /// How guest data is encrypted, if it is.
    encrypted: Option<Encrypted>,
}

impl Session {
    /// Lays out a new image in an empty file, its header not written yet.
    ///
    /// `header` says everything but the places of the tables.
    pub fn create(files: Files, mut header: Header) -> Result<Self> {
        if header.size > MAX_DISK_SIZE {
            let size = header.size;
            let text = format!("Could not resize image: offset({size}) exceeds maximum({MAX_DISK_SIZE})");
            return Err(Error::invalid(text));
        }
        let geometry = header.geometry();
        let mut space = Space::create(Arc::clone(&files.main), geometry)?;
        let entries = geometry.l1_entries_for(header.size);
        if entries > MAX_L1_SIZE / TABLE_ENTRY_SIZE {
            let text =
                "The image size is too large for file format 'qcow2' (try using a larger cluster size)";
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        header.l1 = TableLocation::default();
        if entries > 0 {
            header.l1.count = entries as u32;
            header.l1.offset = space.take_bytes(entries * TABLE_ENTRY_SIZE)?;
        }
        header.refcount_table = space.location();
        let tables = Tables::create(Arc::clone(&files.main), geometry, header.l1);
        Ok(Self::new(Mode::InPlace, files, header, space, tables, BitmapSet::default()))
    }

    /// Begins to change an existing image.
    pub(in crate::qcow2) fn open(
        mut files: Files,
        mut header: Header,
        encrypted: Option<Encrypted>,
    ) -> Result<Self> {
        // Whoever opened the image has repaired its counts.
        header.incompatible -= Incompatible::DIRTY;
        header.autoclear &= Autoclear::all();
        let geometry = header.geometry();
        // Guest data keeps its place in a data file, so it is overwritten there.
        files.data = files.data.map(|data| data.in_place().unwrap_or(data));
        let main = &files.main;
        let mut space = Space::open(Arc::clone(main), geometry, Mode::Shadow, header.refcount_table)?;
        let tables = Tables::open(Arc::clone(main), geometry, header.l1)?;
        tables.guard(&mut space);
        space.guard(header.snapshots.offset, u64::from(header.snapshots.count.min(1)));
        let bitmaps = BitmapSet::open(&**main, &geometry, &header)?;
        let mut session = Self::new(Mode::Shadow, files, header, space, tables, bitmaps);
        session.encrypted = encrypted;
        session.guard_withheld();
        Ok(session)
    }

    /// Keeps what a transaction has released from being handed out: the state on the disk may need
    /// it until the transaction is over.
    fn guard_withheld(&mut self) {
        for range in self.files.main.withheld() {
            self.space.guard(HostOffset(range.start), range.end - range.start);
        }
    }

    fn new(
        mode: Mode,
        files: Files,
        header: Header,
        space: Space,
        tables: Tables,
        bitmaps: BitmapSet,
    ) -> Self {
        let geometry = header.geometry();
        Self {
            mode,
            files,
            committed: header.clone(),
            header,
            geometry,
            space,
            tables,
            bitmaps,
            prepared: RangeSet::default(),
            tail: None,
            content_end: 0,
            grown_to: 0,
            decoder: Decoder::default(),
            encrypted: None,
        }
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The header as the session has it.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Entries of the L1 table.
    pub fn l1_len(&self) -> usize {
        self.tables.l1_len()
    }

    /// The L1 entry as the session has it.
    pub fn l1_entry(&self, index: usize) -> L1Entry {
        self.tables.l1_entry(index)
    }

    /// An L2 table as the session has it, if there is one.
    pub fn l2_table(&mut self, l1_index: usize) -> Result<Option<L2Table>> {
        self.tables.table(l1_index)
    }

    /// Whether a backing image shows through where nothing is allocated.
    fn has_backing(&self) -> bool {
        self.header.backing_name.is_some()
    }

    /// The external data file, if it must stay valid as a raw image.
    fn raw_data(&self) -> Option<&Arc<dyn Disk>> {
        self.files.data.as_ref().filter(|_| self.header.autoclear.contains(Autoclear::RAW_DATA))
    }

    /// What an entry means, if it may be believed.
    fn kind(&self, entry: L2Entry) -> Result<ClusterKind> {
        entry.validate(&self.geometry).map_err(|fault| Error::corrupt(fault.to_string()))
    }
}
