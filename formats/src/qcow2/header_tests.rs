//! Headers made by hand, whole and broken.

use super::*;

const CLUSTER: usize = 65536;

impl Header {
    /// A version 3 header of an empty 1 GiB image.
    pub(crate) fn sample() -> Self {
        Self {
            version: Version::V3,
            cluster_bits: 16,
            size: 1 << 30,
            encryption: None,
            l1: TableLocation { offset: HostOffset(0x30000), count: 2 },
            refcount_table: TableLocation { offset: HostOffset(0x10000), count: 1 },
            snapshots: TableLocation::default(),
            incompatible: Incompatible::empty(),
            compatible: Compatible::empty(),
            autoclear: Autoclear::empty(),
            refcount_order: 4,
            compression: Codec::Deflate,
            unknown_fields: Vec::new(),
            extensions: Extensions { feature_names: feature::standard_names(), ..Extensions::default() },
            backing_name: None,
        }
    }
}

fn cluster_of(header: &Header) -> Vec<u8> {
    let mut bytes = header.serialize().unwrap();
    bytes.resize(CLUSTER, 0);
    bytes
}

const READ: Purpose = Purpose::Use(Access::Read);
const WRITE: Purpose = Purpose::Use(Access::Write);

/// The report for the sample with `bytes` written at `at`.
fn report(at: usize, bytes: &[u8], purpose: Purpose) -> String {
    let mut cluster = cluster_of(&Header::sample());
    cluster[at..at + bytes.len()].copy_from_slice(bytes);
    Header::parse(&cluster, purpose).unwrap_err().report()
}

#[test]
fn a_default_header_ends_with_its_first_sector() {
    let bytes = Header::sample().serialize().unwrap();
    assert_eq!(bytes.len(), 512);
}

#[test]
fn headers_survive_the_round_trip() {
    let mut header = Header::sample();
    assert_eq!(Header::parse(&cluster_of(&header), READ).unwrap(), header);
    header.backing_name = Some(b"base.img".to_vec());
    header.extensions.backing_format = Some(b"raw".to_vec());
    header.unknown_fields = vec![7; 16];
    header.compatible = Compatible::from_bits_retain(0x8001);
    header.compression = Codec::Zstd;
    header.incompatible = Incompatible::COMPRESSION | Incompatible::DIRTY;
    assert_eq!(Header::parse(&cluster_of(&header), WRITE).unwrap(), header);
    header = Header { version: Version::V2, ..Header::sample() };
    header.extensions.feature_names.clear();
    assert_eq!(Header::parse(&cluster_of(&header), READ).unwrap(), header);
}

#[test]
fn broken_fields_are_named() {
    let be32 = |value: u32| value.to_be_bytes();
    let cases: &[(usize, &[u8], &str)] = &[
        (0, b"QFI\xfa", "Image is not in qcow2 format"),
        (4, &be32(1), "Unsupported qcow2 version 1"),
        (4, &be32(4), "Unsupported qcow2 version 4"),
        (8, &[0, 0, 0, 1], "Invalid backing file offset"),
        (20, &be32(8), "Unsupported cluster size: 2^8"),
        (20, &be32(22), "Unsupported cluster size: 2^22"),
        (32, &be32(3), "Unsupported encryption method 3"),
        (32, &be32(2), "Missing CRYPTO header for crypt method 2"),
        (36, &be32(1), "L1 table is too small"),
        (36, &be32((32 << 17) + 1), "Active L1 table too large"),
        (47, &[1], "Active L1 table offset invalid"),
        (40, &[0xff], "Active L1 table offset invalid"),
        (55, &[1], "Reference count table offset invalid"),
        (56, &be32(129), "Reference count table too large"),
        (56, &be32(0), "Image does not contain a reference count table"),
        (60, &be32(65537), "Snapshot table too large"),
        (71, &[1], "Snapshot table offset invalid"),
        (72, &[0x80], "Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000000000"),
        (79, &[8], "qcow2: Compression type incompatible feature bit must not be set"),
        (96, &be32(7), "Reference count entry width too large; may not exceed 64 bits"),
        (100, &be32(103), "qcow2 header too short"),
        (100, &be32(65537), "qcow2 header exceeds cluster size"),
        (104, &[1], "qcow2: Compression type incompatible feature bit must be set"),
        (104, &[2], "qcow2: unknown compression type: 2"),
    ];
    for (at, bytes, expected) in cases {
        assert_eq!(report(*at, bytes, READ), *expected, "at {at}: {bytes:?}");
    }
}

#[test]
fn a_check_tolerates_what_it_can_report() {
    let mut cluster = cluster_of(&Header::sample());
    cluster[60..64].copy_from_slice(&u32::MAX.to_be_bytes());
    cluster[56..60].fill(0);
    assert!(Header::parse(&cluster, Purpose::Check).is_ok());
    assert!(Header::parse(&cluster, READ).is_err());
}

#[test]
fn corrupt_images_are_for_reading() {
    let mut cluster = cluster_of(&Header::sample());
    cluster[79] = 2;
    assert!(Header::parse(&cluster, READ).is_ok());
    let error = Header::parse(&cluster, WRITE).unwrap_err();
    assert_eq!(error.report(), "qcow2: Image is corrupt; cannot be opened read/write");
}

#[test]
fn long_backing_names_are_refused() {
    let mut header = Header::sample();
    header.backing_name = Some(vec![b'x'; 1023]);
    assert!(Header::parse(&cluster_of(&header), READ).is_ok());
    header.backing_name = Some(vec![b'x'; 1024]);
    let error = Header::parse(&cluster_of(&header), READ).unwrap_err();
    assert_eq!(error.report(), "Backing file name too long");
}

#[test]
fn a_header_without_compression_type_means_zlib() {
    let mut cluster = cluster_of(&Header::sample());
    cluster[100..104].copy_from_slice(&104u32.to_be_bytes());
    // Behind 104 bytes the extensions begin: an end marker here.
    assert_eq!(Header::parse(&cluster, READ).unwrap().compression, Codec::Deflate);
}

#[test]
fn no_prefix_of_garbage_panics() {
    for fill in [0u8, 0x11, 0xff] {
        let mut cluster = cluster_of(&Header::sample());
        for at in 8..600 {
            let old = std::mem::replace(&mut cluster[at], fill);
            let _ = Header::parse(&cluster, READ);
            let _ = Header::parse(&cluster, Purpose::Check);
            cluster[at] = old;
        }
    }
}
