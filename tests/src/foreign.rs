//! Images of formats that QEMU does not write: Bochs, cloop and dmg.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::script::{noise, prose};

/// Bytes in a Bochs extent.
const EXTENT: usize = 4096;
/// Bytes in a sector.
const SECTOR: usize = 512;

/// A Bochs image of 48 KiB. Its extents stand in another order than on the disk, and not all of their
/// sectors are there.
pub fn bochs() -> Vec<u8> {
    let mut image = vec![0; SECTOR];
    image[..22].copy_from_slice(b"Bochs Virtual HD Image");
    image[32..39].copy_from_slice(b"Redolog");
    image[48..55].copy_from_slice(b"Growing");
    let numbers: [u32; 5] = [0x2_0000, SECTOR as u32, 16, 1, EXTENT as u32];
    for (at, number) in (64..).step_by(4).zip(numbers) {
        image[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    image[88..96].copy_from_slice(&(12 * EXTENT as u64).to_le_bytes());
    let extents = [(5, 0xff), (0, 0x0f), (11, 0xa5), (6, 0x80)];
    let mut catalog = [u32::MAX; 16];
    for (number, (extent, _)) in (0..).zip(extents) {
        catalog[extent] = number;
    }
    image.extend(catalog.iter().flat_map(|entry| entry.to_le_bytes()));
    for (number, (_, bitmap)) in (0..).zip(extents) {
        image.push(bitmap);
        image.extend([0; SECTOR - 1]);
        image.extend(noise(EXTENT as u64, number + 1));
    }
    image
}

/// A cloop image of 20 KiB.
pub fn cloop() -> Vec<u8> {
    const SCRIPT: &[u8] =
        b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\nexit $?\n";
    let disk = [prose(8192, 1), vec![0; 4096], noise(4096, 2), prose(4096, 3)].concat();
    let blocks: Vec<_> = disk.chunks(4096).map(zlib).collect();
    let mut image = SCRIPT.to_vec();
    image.resize(128, 0);
    image.extend(4096_u32.to_be_bytes());
    image.extend((blocks.len() as u32).to_be_bytes());
    let mut offset = 136 + 8 * (blocks.len() as u64 + 1);
    image.extend(offset.to_be_bytes());
    for block in &blocks {
        offset += block.len() as u64;
        image.extend(offset.to_be_bytes());
    }
    image.extend(blocks.concat());
    image
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

/// Where the list of chunks of a dmg image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListIn {
    /// In a property list.
    Properties,
    /// In a resource fork.
    Resources,
}

/// Kinds of chunks in a dmg image.
pub const ZERO: u32 = 0;
/// The bytes themselves.
pub const PLAIN: u32 = 1;
/// Apple Data Compression.
pub const ADC: u32 = 0x8000_0004;
/// zlib.
pub const ZLIB: u32 = 0x8000_0005;
/// bzip2.
pub const BZIP2: u32 = 0x8000_0006;
/// LZFSE.
pub const LZFSE: u32 = 0x8000_0007;
/// None: the end of the list.
const LAST: u32 = 0xffff_ffff;

/// A dmg image of chunks, each of a kind and with its bytes.
pub fn dmg(list: ListIn, chunks: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let (mut data, mut entries, mut first) = (Vec::new(), Vec::new(), 0);
    for (kind, bytes) in chunks {
        let (stored, sectors) = (compress(*kind, bytes), (bytes.len() / SECTOR) as u64);
        entries.extend(kind.to_be_bytes());
        entries.extend([0; 4]);
        for number in [first, sectors, data.len() as u64, stored.len() as u64] {
            entries.extend(number.to_be_bytes());
        }
        data.extend(stored);
        first += sectors;
    }
    let mut block = b"mish\0\0\0\x01".to_vec();
    block.resize(204, 0);
    block[16..24].copy_from_slice(&first.to_be_bytes());
    block[200..204].copy_from_slice(&(chunks.len() as u32 + 1).to_be_bytes());
    block.extend(entries);
    block.extend(LAST.to_be_bytes());
    block.extend([0; 4]);
    for number in [first, 0, data.len() as u64, 0] {
        block.extend(number.to_be_bytes());
    }
    let mut trailer = vec![0; SECTOR];
    // Its version, its length, and that the image is in one piece.
    for (at, number) in [(4, 4_u32), (8, SECTOR as u32), (0x0c, 1), (0x38, 1), (0x3c, 1), (0x1e8, 1)] {
        trailer[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    trailer[..4].copy_from_slice(b"koly");
    trailer[0x20..0x28].copy_from_slice(&(data.len() as u64).to_be_bytes());
    trailer[0x1ec..0x1f4].copy_from_slice(&first.to_be_bytes());
    let (field, lists) = match list {
        ListIn::Properties => (0xd8, property_list(&block)),
        ListIn::Resources => (0x28, resource_fork(&block)),
    };
    trailer[field..field + 8].copy_from_slice(&(data.len() as u64).to_be_bytes());
    trailer[field + 8..field + 16].copy_from_slice(&(lists.len() as u64).to_be_bytes());
    [data, lists, trailer].concat()
}

/// What qemu-img reads of a dmg image, in pieces.
pub fn usual_chunks() -> Vec<(u32, Vec<u8>)> {
    vec![
        (ZLIB, prose(8192, 1)),
        (ZERO, vec![0; 4096]),
        (PLAIN, noise(2048, 2)),
        (ZLIB, prose(1024, 3)),
        (ZERO, vec![0; 512]),
    ]
}

fn compress(kind: u32, bytes: &[u8]) -> Vec<u8> {
    match kind {
        ZERO => Vec::new(),
        ZLIB => zlib(bytes),
        // Plain bytes are a stream, too.
        ADC => bytes.chunks(128).flat_map(|part| [&[0x7f + part.len() as u8], part].concat()).collect(),
        BZIP2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(bytes).expect("a vector takes everything");
            encoder.finish().expect("a vector takes everything")
        }
        LZFSE => {
            let mut stream = Vec::new();
            lzfse_rust::encode_bytes(bytes, &mut stream).expect("a vector takes everything");
            stream
        }
        _ => bytes.to_vec(),
    }
}

fn property_list(block: &[u8]) -> Vec<u8> {
    let before =
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict><key>resource-fork</key>\
        <dict><key>blkx</key><array><dict><key>ID</key><string>0</string><key>Name</key><string>disk</string>\
        <key>Data</key><data>";
    [&before[..], &base64(block), b"</data></dict></array></dict></dict></plist>"].concat()
}

fn resource_fork(block: &[u8]) -> Vec<u8> {
    let resource = [&(block.len() as u32).to_be_bytes(), block].concat();
    let mut fork = vec![0; 256];
    fork[..4].copy_from_slice(&256_u32.to_be_bytes());
    fork[8..12].copy_from_slice(&(resource.len() as u32).to_be_bytes());
    fork.extend(resource);
    fork
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digit = |n: usize| match n <= group.len() {
            true => DIGITS[(bits >> (18 - 6 * n) & 63) as usize],
            false => b'=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}
