//! Headers written over headers.

use std::path::Path;

use journal::{Access, Fs, OpenOptions, SimFs};

use super::*;
use crate::HostOffset;
use crate::qcow2::geometry::Version;
use crate::qcow2::header::{Purpose, TableLocation};

fn header(cluster_bits: u32, version: Version) -> Header {
    let cluster = 1 << cluster_bits;
    Header {
        version,
        cluster_bits,
        size: 1 << 20,
        l1: TableLocation { offset: HostOffset(3 * cluster), count: 1 << 6 },
        refcount_table: TableLocation { offset: HostOffset(cluster), count: 1 },
        ..Header::sample()
    }
}

fn backed_by(header: &Header, name: &[u8], format: Option<&str>) -> Header {
    let mut header = header.clone();
    header.backing_name = (!name.is_empty()).then(|| name.to_vec());
    header.extensions.backing_format = format.map(|format| format.as_bytes().to_vec());
    header
}

/// A file that is nothing but a header's cluster.
fn file_with(header: &Header) -> Arc<dyn Disk> {
    let fs = SimFs::new();
    let mut cluster = header.serialize().unwrap();
    cluster.resize(1 << header.cluster_bits, 0);
    fs.add_file("/image", &cluster);
    fs.open(Path::new("/image"), OpenOptions::WRITE).unwrap()
}

/// The header in the file, as far as a reader cares for it.
fn read(disk: &Arc<dyn Disk>) -> Header {
    let mut header = Header::read(&**disk, Purpose::Use(Access::Read)).unwrap();
    header.extensions.feature_names.clear();
    header
}

/// Puts the headers one over the other. Before each flip the old header must be there, after it
/// the new one. Returns how many sectors each flip wrote.
fn flips(headers: &[Header]) -> Vec<usize> {
    let disk = file_with(&headers[0]);
    let plain = |header: &Header| {
        let mut header = header.clone();
        header.extensions.feature_names.clear();
        header
    };
    let mut sectors = Vec::new();
    for pair in headers.windows(2) {
        let flip = Flip::prepare(&disk, &pair[1]).unwrap();
        assert_eq!(read(&disk), plain(&pair[0]), "the old header must stay until the flip");
        assert!(flip.sectors.start == 0, "the first sector decides");
        sectors.push(flip.sectors.len() / SECTOR);
        flip.make().unwrap();
        assert_eq!(read(&disk), plain(&pair[1]));
    }
    sectors
}

#[test]
fn a_change_of_backing_files_takes_one_sector() {
    for (bits, version) in [(9, Version::V3), (12, Version::V3), (16, Version::V3), (16, Version::V2)] {
        let plain = header(bits, version);
        let chain = [
            plain.clone(),
            backed_by(&plain, b"base.qcow2", Some("qcow2")),
            backed_by(&plain, b"another-and-longer-name.img", Some("raw")),
            backed_by(&plain, b"x", Some("qcow2")),
            backed_by(&plain, b"x", Some("raw")),
            plain.clone(),
            backed_by(&plain, &[b'n'; 200], None),
            backed_by(&plain, &[b'm'; 100], Some("qcow2")),
            backed_by(&plain, &[b'n'; 200], Some("raw")),
            plain.clone(),
        ];
        assert_eq!(flips(&chain), [1; 9], "clusters of 2^{bits} bytes, {version:?}");
    }
}

#[test]
fn long_names_take_turns_where_both_fit() {
    let plain = header(12, Version::V3);
    let named = |byte: u8| backed_by(&plain, &[byte; 1023], Some("raw"));
    assert_eq!(flips(&[plain.clone(), named(b'a'), named(b'b'), named(b'c'), plain.clone()]), [1; 4]);
    let small = header(10, Version::V3);
    let named = |byte: u8| backed_by(&small, &[byte; 600], Some("raw"));
    assert_eq!(flips(&[small.clone(), named(b'a'), named(b'b')]), [1, 2], "there is no room for both");
}

#[test]
fn a_header_laid_out_by_others_keeps_its_places() {
    let old = backed_by(&header(16, Version::V3), b"base.raw", Some("raw"));
    let disk = file_with(&old);
    let name_at = 9000;
    let bytes = old.serialize_as(Layout { name_at: Some(name_at), ..Layout::default() }).unwrap();
    disk.write_at(0, &bytes).unwrap();
    let mut new = old.clone();
    new.l1.offset = HostOffset(7 << 16);
    let flip = Flip::prepare(&disk, &new).unwrap();
    assert_eq!(flip.sectors, 0..SECTOR);
    flip.make().unwrap();
    let mut found = vec![0; 8];
    disk.read_exact_at(name_at as u64, &mut found).unwrap();
    assert_eq!(found, b"base.raw");
    assert_eq!(read(&disk).l1, new.l1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let small = header(9, Version::V3);
    let disk = file_with(&small);
    let error = Flip::prepare(&disk, &backed_by(&small, &[b'n'; 500], Some("raw"))).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
}
