//! VMDK files that QEMU reads but does not write: extents of ESX, and streams with their header at the end.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::script::{noise, prose};

/// Bytes in a sector.
const SECTOR: usize = 512;

/// The file of that kind.
///
/// # Panics
///
/// If there is no such kind.
pub fn file(kind: &str) -> Vec<u8> {
    match kind {
        "cowd" => cowd(),
        "sesparse" => sesparse(),
        "stream" => stream(),
        _ => panic!("no such VMDK file: {kind}"),
    }
}

/// A descriptor of a type and its extents' lines.
pub fn descriptor(create_type: &str, extents: &[String]) -> Vec<u8> {
    let extents = extents.join("\n");
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"{create_type}\"\n\n\
         # Extent description\n{extents}\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\n"
    )
    .into_bytes()
}

fn put(bytes: &mut [u8], at: usize, number: impl Into<u64>, len: usize) {
    bytes[at..at + len].copy_from_slice(&number.into().to_le_bytes()[..len]);
}

/// An extent of ESX Server of 5 MiB with grains of one sector: two of its three tables are there.
fn cowd() -> Vec<u8> {
    const TABLE: usize = 4096 * 4 / SECTOR;
    let mut bytes = vec![0; (5 + 2 * TABLE) * SECTOR];
    bytes[..4].copy_from_slice(b"COWD");
    for (at, number) in (4..).step_by(4).zip([1_u32, 3, 10_240, 1, 4, 3]) {
        put(&mut bytes, at, number, 4);
    }
    let tables = [5, 0, 5 + TABLE];
    for (number, table) in tables.iter().enumerate() {
        put(&mut bytes, 4 * SECTOR + 4 * number, *table as u64, 4);
    }
    for (number, grain) in [(0, 4000), (0, 0), (0, 1), (0, 2), (2, 5), (2, 2047)] {
        let sector = bytes.len() / SECTOR;
        put(&mut bytes, tables[number] * SECTOR + 4 * grain, sector as u64, 4);
        bytes.extend(noise(SECTOR as u64, sector as u64));
    }
    let end = bytes.len() / SECTOR;
    put(&mut bytes, 28, end as u64, 4);
    bytes
}

/// A space-efficient extent of 40 MiB: of its three tables the second is not there.
fn sesparse() -> Vec<u8> {
    const TABLE: usize = 64;
    const GRAINS: usize = 16 + 2 * TABLE;
    let mut bytes = vec![0; GRAINS * SECTOR];
    for (field, number) in [
        (0, 0xcafe_babe_u64),
        (1, 0x2_0000_0001),
        (2, 40 << 11),
        (3, 8),
        (4, TABLE as u64),
        (10, 1),
        (11, 1),
        (16, 8),
        (17, 1),
        (18, 16),
        (19, 2 * TABLE as u64),
        (24, GRAINS as u64),
    ] {
        put(&mut bytes, 8 * field, number, 8);
    }
    put(&mut bytes, SECTOR, 0xcafe_cafe_u64, 8);
    for (entry, table) in [(0, 0_u64), (2, 1)] {
        put(&mut bytes, 8 * SECTOR + 8 * entry, 1 << 60 | table, 8);
    }
    let entry = |table: usize, grain: usize| (16 + table * TABLE) * SECTOR + 8 * grain;
    for (number, (table, grain)) in [(0, 0), (0, 1), (1, 7), (0, 4095)].into_iter().enumerate() {
        put(&mut bytes, entry(table, grain), 3 << 60 | (number as u64) << 48, 8);
        bytes.extend(noise(8 * SECTOR as u64, number as u64 + 1));
    }
    put(&mut bytes, entry(0, 2), 1_u64 << 60, 8);
    put(&mut bytes, entry(0, 3), 2_u64 << 60, 8);
    bytes
}

/// What stands before something in a stream.
fn marker(sectors: usize, kind: u32) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    put(&mut bytes, 0, sectors as u64, 8);
    put(&mut bytes, 12, kind, 4);
    bytes
}

/// A stream of 1 MiB as VMware writes it: tables follow the grains, and the header that counts is at the end.
fn stream() -> Vec<u8> {
    const GRAIN: usize = 128;
    let text = descriptor("streamOptimized", &["RW 2048 SPARSE \"a.vmdk\"".to_owned()]);
    let mut header = vec![0; SECTOR];
    header[..4].copy_from_slice(b"KDMV");
    for (at, number, len) in [
        (4, 3, 4),
        (8, 0x3_0001, 4),
        (12, 2048, 8),
        (20, GRAIN as u64, 8),
        (28, 1, 8),
        (36, 20, 8),
        (44, 512, 4),
        (56, u64::MAX, 8),
        (64, GRAIN as u64, 8),
        (77, 1, 2),
    ] {
        put(&mut header, at, number, len);
    }
    header[73..77].copy_from_slice(b"\n \r\n");
    let mut bytes = header.clone();
    bytes.extend(text);
    bytes.resize(GRAIN * SECTOR, 0);
    let mut table = vec![0; 4 * SECTOR];
    for (grain, content) in [
        (0, noise((GRAIN * SECTOR) as u64, 1)),
        (3, prose((GRAIN * SECTOR) as u64, 2)),
        (15, prose((GRAIN * SECTOR) as u64, 3)),
    ] {
        let sector = bytes.len() / SECTOR;
        put(&mut table, 4 * grain, sector as u64, 4);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&content).expect("memory can be written");
        let packed = encoder.finish().expect("memory can be written");
        bytes.extend(((grain * GRAIN) as u64).to_le_bytes());
        bytes.extend((packed.len() as u32).to_le_bytes());
        bytes.extend(packed);
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    }
    bytes.extend(marker(4, 1));
    let table_at = bytes.len() / SECTOR;
    bytes.extend(table);
    bytes.extend(marker(1, 2));
    let directory_at = bytes.len() / SECTOR;
    let mut directory = vec![0; SECTOR];
    put(&mut directory, 0, table_at as u64, 4);
    bytes.extend(directory);
    bytes.extend(marker(1, 3));
    put(&mut header, 56, directory_at as u64, 8);
    bytes.extend(header);
    bytes.extend(marker(0, 0));
    bytes
}
