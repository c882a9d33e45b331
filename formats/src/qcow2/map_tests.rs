//! Runs over tables made by hand.

use std::ops::Range;

use journal::{Allocate, Claim, DiskStatus, Extent, Zeroing};

use super::*;
use crate::qcow2::entry::{L1Entry, Ownership, SubclusterBitmap};
use crate::qcow2::geometry::Version;

/// A disk that nobody touches.
#[derive(Debug)]
struct NoDisk;

impl Disk for NoDisk {
    fn len(&self) -> journal::Result<u64> {
        unreachable!()
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> journal::Result<usize> {
        unreachable!()
    }
    fn read_exact_at(&self, _: u64, _: &mut [u8]) -> journal::Result<()> {
        unreachable!()
    }
    fn write_vectored_at(&self, _: u64, _: &[std::io::IoSlice<'_>]) -> journal::Result<()> {
        unreachable!()
    }
    fn set_len(&self, _: u64) -> journal::Result<()> {
        unreachable!()
    }
    fn sync(&self) -> journal::Result<()> {
        unreachable!()
    }
    fn allocate(&self, _: Range<u64>, _: Allocate) -> journal::Result<()> {
        unreachable!()
    }
    fn zero(&self, _: Range<u64>, _: Zeroing) -> journal::Result<()> {
        unreachable!()
    }
    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> journal::Result<u64> {
        unreachable!()
    }
    fn extent_at(&self, _: u64) -> journal::Result<Extent> {
        unreachable!()
    }
    fn status(&self) -> journal::Result<DiskStatus> {
        unreachable!()
    }
    fn lock(&self, _: Claim) -> journal::Result<()> {
        unreachable!()
    }
}

/// Clusters of 64 KiB behind as many L1 entries as there are tables.
struct Tables {
    geometry: Geometry,
    l1: Vec<L1Entry>,
    tables: Vec<Option<L2Table>>,
}

impl L2Tables for Tables {
    fn l1_len(&self) -> usize {
        self.l1.len()
    }
    fn l1_entry(&self, index: usize) -> L1Entry {
        self.l1.get(index).copied().unwrap_or_default()
    }
    fn l2_table(&self, index: usize) -> Result<Option<L2Table>> {
        Ok(self.tables[index].clone())
    }
}

const CLUSTER: u64 = 65536;

impl Tables {
    fn new(geometry: Geometry, tables: &[&[(usize, L2Entry)]]) -> Self {
        let table = |entries: &&[(usize, L2Entry)]| {
            let mut table = L2Table::new(vec![0; CLUSTER as usize]);
            for (index, entry) in *entries {
                table.set(&geometry, *index, *entry);
            }
            (!entries.is_empty()).then_some(table)
        };
        let tables: Vec<_> = tables.iter().map(table).collect();
        let l1 = tables.iter().map(|table| match table {
            Some(_) => L1Entry::new(HostOffset(CLUSTER), Ownership::Sole),
            None => L1Entry::NONE,
        });
        Self { geometry, l1: l1.collect(), tables }
    }

    fn map(&self, at: u64, len: u64) -> Result<(u64, Target)> {
        let disk: Arc<dyn Disk> = Arc::new(NoDisk);
        let files = Files {
            image: &disk,
            data: &disk,
            holes: Holes::Ignored,
            codec: Codec::Deflate,
            corruption_told: &AtomicBool::new(false),
        };
        map(&self.geometry, self, &files, GuestOffset(at), len).map(|run| (run.len, run.target))
    }
}

fn plain() -> Geometry {
    Geometry {
        version: Version::V3,
        cluster_bits: 16,
        extended_l2: false,
        refcount_order: 4,
        external_data: false,
    }
}

fn normal(host: u64) -> L2Entry {
    L2Entry::normal(HostOffset(host * CLUSTER), Ownership::Sole)
}

fn data_offset(target: &Target) -> Option<u64> {
    match target {
        Target::Data { offset, .. } => Some(offset.0),
        _ => None,
    }
}

#[test]
fn contiguous_clusters_are_one_run_across_tables() {
    let last = plain().l2_entries() - 1;
    let tables = Tables::new(plain(), &[&[(last, normal(9))], &[(0, normal(10)), (1, normal(12))]]);
    let start = last as u64 * CLUSTER;
    let (len, target) = tables.map(start + 100, 1 << 30).unwrap();
    assert_eq!((len, data_offset(&target)), (2 * CLUSTER - 100, Some(9 * CLUSTER + 100)));
    let (len, target) = tables.map(start + 2 * CLUSTER, 10).unwrap();
    assert_eq!((len, data_offset(&target)), (10, Some(12 * CLUSTER)));
}

#[test]
fn missing_tables_are_passed_at_once() {
    let tables = Tables::new(plain(), &[&[], &[], &[(5, normal(7))]]);
    let (len, target) = tables.map(CLUSTER, 1 << 40).unwrap();
    assert!(matches!(target, Target::Unallocated { host: None }));
    assert_eq!(len, 2 * plain().l2_coverage() + 4 * CLUSTER);
}

#[test]
fn a_compressed_cluster_stands_alone() {
    let entry = L2Entry::compressed(&plain(), HostOffset(70000), 300).unwrap();
    let tables = Tables::new(plain(), &[&[(0, entry), (1, entry)]]);
    let (len, target) = tables.map(CLUSTER / 2, 1 << 20).unwrap();
    let Target::Compressed(run) = target else { panic!() };
    assert_eq!((len, run.cluster.0, run.offset.0), (CLUSTER / 2, 0, 70000));
}

#[test]
fn subclusters_join_their_neighbours() {
    let geometry = Geometry { extended_l2: true, ..plain() };
    let first = normal(9).with_bitmap(SubclusterBitmap::new(0xc000_0000, 0x3));
    let second = normal(10).with_bitmap(SubclusterBitmap::new(0x1, 0));
    let tables = Tables::new(geometry, &[&[(0, first), (1, second)]]);
    let (len, target) = tables.map(0, 1 << 20).unwrap();
    assert!(matches!(target, Target::Zero { host: Some(_) }));
    assert_eq!(len, 4096);
    let (len, target) = tables.map(4096, 1 << 20).unwrap();
    assert!(matches!(target, Target::Unallocated { host: Some(_) }));
    assert_eq!(len, 28 * 2048);
    let (len, target) = tables.map(30 * 2048, 1 << 20).unwrap();
    assert_eq!((len, data_offset(&target)), (3 * 2048, Some(9 * CLUSTER + 30 * 2048)));
}

#[test]
fn corruption_ends_a_run_and_fails_when_met_first() {
    let broken = L2Entry { descriptor: 0x50200, bitmap: SubclusterBitmap::NONE };
    let tables = Tables::new(plain(), &[&[(0, normal(3)), (1, broken)]]);
    assert_eq!(tables.map(0, 1 << 20).unwrap().0, CLUSTER);
    assert_eq!(tables.map(CLUSTER, 1 << 20).unwrap_err().report(), "Input/output error");
}
