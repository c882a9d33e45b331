//! From guest offsets to runs: as long as the tables prove.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::Disk;

use super::entry::{AltHex, ClusterKind, CompressedDescriptor, EntryFault, L2Entry, SubclusterKind};
use super::geometry::Geometry;
use super::table::{L2Table, L2Tables};
use crate::{Codec, CompressedRun, Error, GuestOffset, Holes, HostOffset, Mapping, Result, Target, notice};

/// One run is found from at most this many L2 entries: the caller may use only the run's start,
/// and must not pay for a whole table of the rest each time.
const MAX_ENTRIES: usize = 1 << 17;

/// Where an image's bytes are, apart from its tables.
#[derive(Debug)]
pub struct Files<'a> {
    /// The image file: tables and compressed clusters.
    pub image: &'a Arc<dyn Disk>,
    /// The file with plain clusters: the image file or the external data file.
    pub data: &'a Arc<dyn Disk>,
    /// What holes of it mean.
    pub holes: Holes,
    /// How compressed clusters are compressed.
    pub codec: Codec,
    /// Whether the user was told already that the image is corrupt.
    pub corruption_told: &'a AtomicBool,
}

/// What a run of guest bytes is, in the terms of runs that can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unallocated,
    /// Unallocated too, but the cluster has space for it.
    Reserved(HostOffset),
    ZeroPlain,
    ZeroAllocated(HostOffset),
    Data(HostOffset),
    Compressed(CompressedDescriptor),
}

impl Kind {
    /// The kind that a run of this kind goes on with after `len` bytes.
    fn after(self, len: u64) -> Option<Self> {
        match self {
            Self::Unallocated | Self::ZeroPlain => Some(self),
            Self::Reserved(host) => Some(Self::Reserved(host + len)),
            Self::ZeroAllocated(host) => Some(Self::ZeroAllocated(host + len)),
            Self::Data(host) => Some(Self::Data(host + len)),
            Self::Compressed(_) => None,
        }
    }
}

/// A run under construction.
#[derive(Debug, Clone, Copy)]
struct Run {
    kind: Kind,
    len: u64,
}

/// Finds the run at `at`, of at most `len` bytes, which are within the image.
pub fn map(
    geometry: &Geometry,
    tables: &dyn L2Tables,
    files: &Files<'_>,
    at: GuestOffset,
    len: u64,
) -> Result<Mapping> {
    let end = at.0.saturating_add(len);
    let mut finder = Finder { geometry, tables, at, end, run: None, budget: MAX_ENTRIES };
    if let Err(stop) = finder.search() {
        // What was found before the trouble can be used; the next question meets it first.
        if finder.run.is_none() {
            return Err(stop.into_error(files.corruption_told));
        }
    }
    let run = finder.run.unwrap_or(Run { kind: Kind::Unallocated, len });
    let target = match run.kind {
        Kind::Unallocated => Target::Unallocated { host: None },
        Kind::Reserved(offset) => Target::Unallocated { host: Some((Arc::clone(files.data), offset)) },
        Kind::ZeroPlain => Target::Zero { host: None },
        Kind::ZeroAllocated(offset) => Target::Zero { host: Some((Arc::clone(files.data), offset)) },
        Kind::Data(offset) => Target::Data { disk: Arc::clone(files.data), offset, holes: files.holes },
        Kind::Compressed(descriptor) => Target::Compressed(CompressedRun {
            disk: Arc::clone(files.image),
            offset: descriptor.offset,
            len: descriptor.len,
            cluster: at.align_down(geometry.cluster_size()),
            cluster_size: geometry.cluster_size(),
            stream: files.codec.into(),
        }),
    };
    Ok(Mapping { len: run.len.min(len), target })
}

type Found<T> = std::result::Result<T, Stop>;

/// Why a run cannot be found.
enum Stop {
    /// Reading a table failed.
    Failure(Error),
    /// A table says something impossible.
    Corruption(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

impl Stop {
    fn into_error(self, told: &AtomicBool) -> Error {
        match self {
            Self::Failure(error) => error,
            Self::Corruption(fault) => {
                if !told.swap(true, Ordering::Relaxed) {
                    notice::tell(&format!(
                        "qcow2: Image is corrupt: {fault}; further non-fatal corruption events will be suppressed"
                    ));
                }
                Error::corrupt("Input/output error")
            }
        }
    }
}

/// Whether a run may grow further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    Open,
    Done,
}

struct Finder<'a> {
    geometry: &'a Geometry,
    tables: &'a dyn L2Tables,
    at: GuestOffset,
    end: u64,
    run: Option<Run>,
    budget: usize,
}

impl Finder<'_> {
    fn search(&mut self) -> Found<()> {
        while self.position() < self.end && self.budget > 0 {
            let index = self.geometry.index(GuestOffset(self.position()));
            if index.l1 >= self.tables.l1_len() {
                self.extend(Kind::Unallocated, self.end - self.position());
                return Ok(());
            }
            let growth = match self.table(index.l1)? {
                Some(table) => self.search_table(&table, index.l1, index.l2)?,
                None => {
                    self.budget -= 1;
                    let coverage = self.geometry.l2_coverage();
                    let rest = coverage - (self.position() & (coverage - 1));
                    self.extend(Kind::Unallocated, rest)
                }
            };
            if growth == Growth::Done {
                return Ok(());
            }
        }
        Ok(())
    }

    fn table(&self, l1: usize) -> Found<Option<L2Table>> {
        match self.tables.l1_entry(l1).table() {
            Some(offset) if !self.geometry.is_cluster_start(offset) => Err(Stop::Corruption(format!(
                "L2 table offset {offset} unaligned (L1 index: {})",
                AltHex(l1 as u64)
            ))),
            _ => Ok(self.tables.l2_table(l1)?),
        }
    }

    /// The first guest byte that the run does not cover.
    fn position(&self) -> u64 {
        self.at.0 + self.run.map_or(0, |run| run.len)
    }

    fn search_table(&mut self, table: &L2Table, l1: usize, l2: usize) -> Found<Growth> {
        for (number, entry) in table.entries_from(self.geometry, l2).enumerate() {
            if self.position() >= self.end || self.budget == 0 {
                return Ok(Growth::Done);
            }
            self.budget -= 1;
            if self.search_cluster(entry, l1, l2 + number)? == Growth::Done {
                return Ok(Growth::Done);
            }
        }
        Ok(Growth::Open)
    }

    #[inline]
    fn search_cluster(&mut self, entry: L2Entry, l1: usize, l2: usize) -> Found<Growth> {
        let geometry = self.geometry;
        let kind = entry.validate(geometry).map_err(|fault| self.entry_fault(fault, l1, l2))?;
        if geometry.external_data {
            self.check_identity(kind, l1, l2)?;
        }
        let within = geometry.within(self.position());
        let rest = geometry.cluster_size() - within;
        Ok(match kind {
            ClusterKind::Compressed(descriptor) => self.extend(Kind::Compressed(descriptor), rest),
            ClusterKind::ZeroPlain => self.extend(Kind::ZeroPlain, rest),
            ClusterKind::ZeroAllocated(host) => self.extend(Kind::ZeroAllocated(host + within), rest),
            ClusterKind::Unallocated if !geometry.extended_l2 => self.extend(Kind::Unallocated, rest),
            ClusterKind::Normal(host) if !geometry.extended_l2 => {
                self.extend(Kind::Data(host + within), rest)
            }
            ClusterKind::Unallocated | ClusterKind::Normal(_) => self.search_subclusters(entry),
        })
    }

    fn search_subclusters(&mut self, entry: L2Entry) -> Growth {
        let size = self.geometry.subcluster_size();
        let mut within = self.geometry.within(self.position());
        while within < self.geometry.cluster_size() {
            let host = entry.offset() + within;
            let kind = match entry.subcluster(self.geometry, (within / size) as u32) {
                Some(SubclusterKind::Normal) => Kind::Data(host),
                Some(SubclusterKind::ZeroAllocated) => Kind::ZeroAllocated(host),
                Some(SubclusterKind::ZeroPlain) => Kind::ZeroPlain,
                Some(SubclusterKind::UnallocatedAllocated) => Kind::Reserved(host),
                _ => Kind::Unallocated,
            };
            let step = size - within % size;
            if self.extend(kind, step) == Growth::Done {
                return Growth::Done;
            }
            within += step;
        }
        Growth::Open
    }

    /// Adds `len` bytes of a kind to the run, if they go on where it ends.
    #[inline]
    fn extend(&mut self, kind: Kind, len: u64) -> Growth {
        match &mut self.run {
            None => self.run = Some(Run { kind, len }),
            Some(run) if run.kind.after(run.len) == Some(kind) => run.len += len,
            Some(_) => return Growth::Done,
        }
        if matches!(kind, Kind::Compressed(_)) { Growth::Done } else { Growth::Open }
    }

    /// In an external data file every cluster stands where the guest sees it.
    fn check_identity(&self, kind: ClusterKind, l1: usize, l2: usize) -> Found<()> {
        let guest = self.geometry.guest_offset(l1, l2);
        match kind {
            ClusterKind::Normal(host) | ClusterKind::ZeroAllocated(host) if host.0 != guest.0 => {
                let (host, guest, l2) = (AltHex(host.0), AltHex(guest.0), AltHex(l2 as u64));
                Err(Stop::Corruption(format!(
                    "External data file host cluster offset {host} does not match guest cluster offset: {guest}, L2 index: {l2})"
                )))
            }
            _ => Ok(()),
        }
    }

    fn entry_fault(&self, fault: EntryFault, l1: usize, l2: usize) -> Stop {
        let table = self.tables.l1_entry(l1).table().unwrap_or_default();
        Stop::Corruption(format!("{fault} (L2 offset: {table}, L2 index: {})", AltHex(l2 as u64)))
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
