//! `check`: every shape, and a catalogue of damage.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = shapes::readable().chain(shapes::BROKEN).flat_map(of_shape).collect();
    all.extend(DAMAGE.iter().flat_map(of_damage));
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let variants = [
        ("human", "check {img}"),
        ("json", "check -U --output=json {img}"),
        ("quiet", "check -q -f {fmt} {img}"),
    ];
    variants
        .into_iter()
        .map(|(variant, line)| Case::reads(format!("check/{}/{variant}", shape.name), shape, line))
        .collect()
}

/// A sound image made unsound: name, shape, steps.
pub type Damage = (&'static str, &'static str, &'static str);

/// One entry for each thing that can be wrong, and some for several at once.
pub const DAMAGE: &[Damage] = &[
    // Refcounts.
    ("leak", "qcow2/fragmented", "poke a.qcow2 rb[0][40] = 1\ncut a.qcow2 4M"),
    ("leak-inside", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0"),
    ("refcount-zero", "qcow2/fragmented", "poke a.qcow2 rb[0][6] = 0"),
    ("refcount-high", "qcow2/fragmented", "poke a.qcow2 rb[0][6] = 5"),
    ("refcount-header-zero", "qcow2/fragmented", "poke a.qcow2 rb[0][0] = 0"),
    ("refcount-l1-zero", "qcow2/fragmented", "poke a.qcow2 rb[0][3] = 0"),
    ("refcount-table-zero", "qcow2/fragmented", "poke a.qcow2 rb[0][1] = 0"),
    ("refcount-block-zero", "qcow2/fragmented", "poke a.qcow2 rb[0][2] = 0"),
    ("refcount-block-missing", "qcow2/fragmented", "poke a.qcow2 rt[0] = 0"),
    ("refcount-block-unaligned", "qcow2/fragmented", "poke a.qcow2 rt[0] |= 0x200"),
    ("refcount-block-reserved", "qcow2/fragmented", "poke a.qcow2 rt[0] |= 1"),
    ("refcount-block-outside", "qcow2/fragmented", "poke a.qcow2 rt[0] = 0x40000000"),
    ("refcount-block-twice", "qcow2/fragmented", "poke a.qcow2 rt[1] = rt[0]"),
    ("refcount-block-far", "qcow2/fragmented", "poke a.qcow2 rt[5] = 0x90000"),
    ("refcount-1-zero", "qcow2/refcount-1", "poke a.qcow2 @131072:1 = 0xfe"),
    ("refcount-64-huge", "qcow2/refcount-64", "poke a.qcow2 rb[0][6] = 0xffffffffffffffff"),
    (
        "refcounts-all-zero",
        "qcow2/one",
        "poke a.qcow2 rb[0][0] = 0\npoke a.qcow2 rb[0][1] = 0\npoke a.qcow2 rb[0][2] = 0\npoke a.qcow2 rb[0][3] = 0\npoke a.qcow2 rb[0][4] = 0\npoke a.qcow2 rb[0][5] = 0",
    ),
    // L1 and L2 entries.
    ("l1-unaligned", "qcow2/fragmented", "poke a.qcow2 l1[0] |= 0x200"),
    ("l1-reserved", "qcow2/fragmented", "poke a.qcow2 l1[0] |= 1"),
    ("l1-not-copied", "qcow2/fragmented", "poke a.qcow2 l1[0] ^= 0x8000000000000000"),
    ("l1-outside", "qcow2/fragmented", "poke a.qcow2 l1[0] = 0x8000000040000000"),
    ("l1-past-end", "qcow2/fragmented", "poke a.qcow2 l1[0] = 0x80fffffffffe0000"),
    ("l1-is-header", "qcow2/fragmented", "poke a.qcow2 l1[0] = 0x8000000000000000"),
    ("l1-is-refcount-table", "qcow2/fragmented", "poke a.qcow2 l1[0] = 0x8000000000010000"),
    ("l1-is-l1", "qcow2/fragmented", "poke a.qcow2 l1[0] = 0x8000000000030000"),
    ("l2-unaligned", "qcow2/fragmented", "poke a.qcow2 l2[0][0] |= 0x200"),
    ("l2-reserved", "qcow2/fragmented", "poke a.qcow2 l2[0][0] |= 2"),
    ("l2-reserved-high", "qcow2/fragmented", "poke a.qcow2 l2[0][0] |= 0x2000000000000000"),
    ("l2-not-copied", "qcow2/fragmented", "poke a.qcow2 l2[0][16] ^= 0x8000000000000000"),
    (
        "l2-all-not-copied",
        "qcow2/one",
        "poke a.qcow2 l2[0][16] ^= 0x8000000000000000\npoke a.qcow2 l1[0] ^= 0x8000000000000000",
    ),
    ("l2-copied-shared", "snap/one", "poke a.qcow2 l2[0][0] |= 0x8000000000000000"),
    ("l2-outside", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0x8000000040000000"),
    ("l2-past-end", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0x80ffffffffff0000"),
    ("l2-cross-link", "qcow2/fragmented", "poke a.qcow2 l2[0][1] = l2[0][0]"),
    ("l2-is-header", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0x8000000000000000"),
    ("l2-is-l1", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0x8000000000030000"),
    ("l2-is-l2", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = l1[0]"),
    ("l2-zero-unaligned", "qcow2/zeroes", "poke a.qcow2 l2[0][4] |= 0x200"),
    ("l2-zero-in-v2", "qcow2/v2", "poke a.qcow2 l2[0][0] |= 1"),
    ("l2-past-size", "qcow2/odd-size", "poke a.qcow2 l2[0][200] = l2[0][0]"),
    ("compressed-outside", "qcow2/zlib", "poke a.qcow2 l2[0][0] = 0x4000000040000000"),
    ("compressed-long", "qcow2/zlib", "poke a.qcow2 l2[0][0] |= 0x3fc0000000000000"),
    ("compressed-copied", "qcow2/zlib", "poke a.qcow2 l2[0][0] |= 0x8000000000000000"),
    ("compressed-in-data-file", "data/plain", "poke a.qcow2 l2[0][0] |= 0x4000000000000000"),
    ("compressed-past-end", "qcow2/zlib", "poke a.qcow2 l2[0][0] = 0x7fffffffffffffff"),
    ("data-file-offset", "data/raw", "poke a.qcow2 l2[0][16] = 0x8000000000200000"),
    ("data-file-outside", "data/plain", "poke a.qcow2 l2[0][16] = 0x8000000040000000"),
    // Subclusters.
    ("sub-both", "sub/mixed", "poke a.qcow2 sub[0][0] = 0x0000000200000002"),
    ("sub-data-without-cluster", "sub/mixed", "poke a.qcow2 l2[0][1] = 0"),
    ("sub-compressed-bitmap", "sub/compressed", "poke a.qcow2 sub[0][0] = 1"),
    ("sub-zero-flag", "sub/mixed", "poke a.qcow2 l2[0][2] |= 1"),
    // The header.
    ("header-magic", "qcow2/one", "poke a.qcow2 magic = 0x514649fc"),
    ("header-version-1", "qcow2/one", "poke a.qcow2 version = 1"),
    ("header-version-4", "qcow2/one", "poke a.qcow2 version = 4"),
    ("header-cluster-bits-small", "qcow2/one", "poke a.qcow2 cluster_bits = 8"),
    ("header-cluster-bits-large", "qcow2/one", "poke a.qcow2 cluster_bits = 22"),
    ("header-cluster-bits-wild", "qcow2/one", "poke a.qcow2 cluster_bits = 0xffffffff"),
    ("header-size-huge", "qcow2/one", "poke a.qcow2 size = 0x7fffffffffffffff"),
    ("header-size-negative", "qcow2/one", "poke a.qcow2 size = 0xffffffffffffffff"),
    ("header-size-odd", "qcow2/one", "poke a.qcow2 size = 8388609"),
    ("header-size-zero", "qcow2/one", "poke a.qcow2 size = 0"),
    ("header-crypt-1", "qcow2/one", "poke a.qcow2 crypt_method = 1"),
    ("header-crypt-2", "qcow2/one", "poke a.qcow2 crypt_method = 2"),
    ("header-crypt-3", "qcow2/one", "poke a.qcow2 crypt_method = 3"),
    ("header-l1-small", "qcow2/one", "poke a.qcow2 l1_size = 0"),
    ("header-l1-large", "qcow2/one", "poke a.qcow2 l1_size = 0x7fffffff"),
    ("header-l1-unaligned", "qcow2/one", "poke a.qcow2 l1_table_offset |= 0x200"),
    ("header-l1-outside", "qcow2/one", "poke a.qcow2 l1_table_offset = 0x40000000"),
    ("header-l1-overflow", "qcow2/one", "poke a.qcow2 l1_table_offset = 0xfffffffffffe0000"),
    ("header-refcount-table-zero", "qcow2/one", "poke a.qcow2 refcount_table_offset = 0"),
    ("header-refcount-table-unaligned", "qcow2/one", "poke a.qcow2 refcount_table_offset |= 0x200"),
    ("header-refcount-table-outside", "qcow2/one", "poke a.qcow2 refcount_table_offset = 0x40000000"),
    ("header-refcount-table-empty", "qcow2/one", "poke a.qcow2 refcount_table_clusters = 0"),
    ("header-refcount-table-large", "qcow2/one", "poke a.qcow2 refcount_table_clusters = 0x10000"),
    ("header-refcount-table-wild", "qcow2/one", "poke a.qcow2 refcount_table_clusters = 0xffffffff"),
    ("header-refcount-order", "qcow2/one", "poke a.qcow2 refcount_order = 7"),
    ("header-refcount-order-wild", "qcow2/one", "poke a.qcow2 refcount_order = 0xffffffff"),
    ("header-length-short", "qcow2/one", "poke a.qcow2 header_length = 100"),
    ("header-length-odd", "qcow2/one", "poke a.qcow2 header_length = 105"),
    ("header-length-long", "qcow2/one", "poke a.qcow2 header_length = 0x10008"),
    ("header-length-wild", "qcow2/one", "poke a.qcow2 header_length = 0xffffffff"),
    ("header-backing-outside", "qcow2/one", "poke a.qcow2 backing_file_offset = 0x10001"),
    ("header-backing-long", "chain/two", "poke a.qcow2 backing_file_size = 1024"),
    ("header-backing-longest", "chain/two", "poke a.qcow2 backing_file_size = 1023"),
    ("header-backing-wild", "chain/two", "poke a.qcow2 backing_file_size = 0xffffffff"),
    ("header-incompatible", "qcow2/one", "poke a.qcow2 incompatible |= 0x20"),
    ("header-incompatible-many", "qcow2/one", "poke a.qcow2 incompatible |= 0xff00000000000060"),
    (
        "header-incompatible-named",
        "qcow2/one",
        "poke a.qcow2 incompatible |= 0x20\npoke a.qcow2 ext[6803f857]+1:1 = 5",
    ),
    ("header-compression-without-bit", "qcow2/one", "poke a.qcow2 compression_type = 1"),
    ("header-compression-bit-without-type", "qcow2/one", "poke a.qcow2 incompatible |= 8"),
    ("header-compression-wild", "qcow2/zstd", "poke a.qcow2 compression_type = 2"),
    ("header-data-file-bit", "qcow2/one", "poke a.qcow2 incompatible |= 4"),
    ("header-subcluster-bit", "qcow2/one", "poke a.qcow2 incompatible |= 0x10"),
    ("header-subcluster-small", "qcow2/clusters-4k", "poke a.qcow2 incompatible |= 0x10"),
    ("header-dirty", "qcow2/fragmented", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 rb[0][6] = 0"),
    ("header-dirty-corrupt", "qcow2/fragmented", "poke a.qcow2 incompatible |= 3"),
    // Header extensions.
    ("extension-long", "qcow2/one", "poke a.qcow2 magic[6803f857]+4:4 = 0xffff"),
    ("extension-wild", "qcow2/one", "poke a.qcow2 magic[6803f857]+4:4 = 0xffffffff"),
    ("extension-format-long", "chain/two", "poke a.qcow2 magic[e2792aca]+4:4 = 16"),
    ("extension-data-file-long", "data/plain", "poke a.qcow2 magic[44415441]+4:4 = 2000"),
    // Snapshots.
    ("snapshot-count", "snap/one", "poke a.qcow2 nb_snapshots = 2"),
    ("snapshot-count-wild", "snap/one", "poke a.qcow2 nb_snapshots = 0xffffffff"),
    ("snapshot-count-large", "snap/one", "poke a.qcow2 nb_snapshots = 65536"),
    ("snapshot-offset-unaligned", "snap/one", "poke a.qcow2 snapshots_offset |= 0x200"),
    ("snapshot-offset-outside", "snap/one", "poke a.qcow2 snapshots_offset = 0x40000000"),
    ("snapshot-l1-unaligned", "snap/one", "poke a.qcow2 snap[0]+0:8 |= 0x200"),
    ("snapshot-l1-outside", "snap/one", "poke a.qcow2 snap[0]+0:8 = 0x40000000"),
    ("snapshot-l1-large", "snap/one", "poke a.qcow2 snap[0]+8:4 = 0x7fffffff"),
    ("snapshot-l1-empty", "snap/one", "poke a.qcow2 snap[0]+8:4 = 0"),
    ("snapshot-extra-large", "snap/one", "poke a.qcow2 snap[0]+36:4 = 0x10000"),
    ("snapshot-extra-small", "snap/one", "poke a.qcow2 snap[0]+36:4 = 8"),
    ("snapshot-extra-unknown", "snap/one", "poke a.qcow2 snap[0]+36:4 = 32"),
    ("snapshot-id-long", "snap/one", "poke a.qcow2 snap[0]+12:2 = 0xffff"),
    ("snapshot-name-long", "snap/one", "poke a.qcow2 snap[0]+14:2 = 0xffff"),
    ("snapshot-refcount", "snap/one", "poke a.qcow2 rb[0][5] = 1"),
    // Bitmaps.
    ("bitmap-count", "bitmap/one", "poke a.qcow2 ext[23852875]+0:4 = 2"),
    ("bitmap-count-zero", "bitmap/one", "poke a.qcow2 ext[23852875]+0:4 = 0"),
    ("bitmap-count-wild", "bitmap/one", "poke a.qcow2 ext[23852875]+0:4 = 0xffffffff"),
    ("bitmap-reserved", "bitmap/one", "poke a.qcow2 ext[23852875]+4:4 = 1"),
    ("bitmap-directory-size", "bitmap/one", "poke a.qcow2 ext[23852875]+8:8 = 8"),
    ("bitmap-directory-large", "bitmap/one", "poke a.qcow2 ext[23852875]+8:8 = 0x7fffffffff"),
    ("bitmap-directory-unaligned", "bitmap/one", "poke a.qcow2 ext[23852875]+16:8 |= 0x200"),
    ("bitmap-directory-outside", "bitmap/one", "poke a.qcow2 ext[23852875]+16:8 = 0x40000000"),
    ("bitmap-not-autoclear", "bitmap/one", "poke a.qcow2 autoclear = 0"),
    ("bitmap-table-outside", "bitmap/one", "poke a.qcow2 bm[0]+0:8 = 0x40000000"),
    ("bitmap-table-unaligned", "bitmap/one", "poke a.qcow2 bm[0]+0:8 |= 0x200"),
    ("bitmap-table-large", "bitmap/one", "poke a.qcow2 bm[0]+8:4 = 0xffffffff"),
    ("bitmap-table-long", "bitmap/one", "poke a.qcow2 bm[0]+8:4 = 9"),
    ("bitmap-table-empty", "bitmap/one", "poke a.qcow2 bm[0]+8:4 = 0"),
    ("bitmap-flags", "bitmap/one", "poke a.qcow2 bm[0]+12:4 |= 0x80"),
    ("bitmap-type", "bitmap/one", "poke a.qcow2 bm[0]+16:1 = 2"),
    ("bitmap-granularity-small", "bitmap/one", "poke a.qcow2 bm[0]+17:1 = 8"),
    ("bitmap-granularity-large", "bitmap/one", "poke a.qcow2 bm[0]+17:1 = 32"),
    ("bitmap-granularity-wild", "bitmap/one", "poke a.qcow2 bm[0]+17:1 = 200"),
    ("bitmap-name-empty", "bitmap/one", "poke a.qcow2 bm[0]+18:2 = 0"),
    ("bitmap-name-long", "bitmap/one", "poke a.qcow2 bm[0]+18:2 = 2000"),
    ("bitmap-extra", "bitmap/one", "poke a.qcow2 bm[0]+20:4 = 8"),
    ("bitmap-data-outside", "bitmap/one", "poke a.qcow2 bmt[0][0] = 0x40000000"),
    ("bitmap-data-unaligned", "bitmap/one", "poke a.qcow2 bmt[0][0] |= 0x200"),
    ("bitmap-data-reserved", "bitmap/one", "poke a.qcow2 bmt[0][0] |= 2"),
    ("bitmap-data-cross-link", "bitmap/one", "poke a.qcow2 bmt[0][0] = 0x50000"),
    ("bitmap-data-ones", "bitmap/one", "poke a.qcow2 bmt[0][0] = 1"),
    // Everything at once.
    (
        "several",
        "qcow2/fragmented",
        "poke a.qcow2 rb[0][6] = 0\npoke a.qcow2 rb[0][7] = 3\npoke a.qcow2 l2[0][16] ^= 0x8000000000000000\npoke a.qcow2 l2[0][1] = l2[0][0]\npoke a.qcow2 l2[0][63] = 0x8000000040000000",
    ),
    ("tail-garbage", "qcow2/one", "append a.qcow2 'some bytes that belong to nobody'"),
    ("tail-cut", "qcow2/one", "cut a.qcow2 340000"),
    ("tail-cut-hard", "qcow2/one", "cut a.qcow2 300000"),
];

/// Each damage is checked, and described, mapped and listed by the commands that only read.
fn of_damage(&(name, shape, script): &Damage) -> Vec<Case> {
    let shape = shapes::named(shape).further(format!("damage/{name}"), script);
    let reads = |variant: &str, line: &str| Case::reads(format!("{}/{variant}", shape.name), shape, line);
    let makes = |variant: &str, line: &str| Case::makes(format!("{}/{variant}", shape.name), shape, line);
    let mut all = vec![
        reads("check", "check -f qcow2 a.qcow2"),
        reads("check-json", "check -f qcow2 --output=json a.qcow2"),
        reads("info", "info -f qcow2 a.qcow2"),
    ];
    if !name.starts_with("refcount") {
        all.push(reads("map", "map -f qcow2 --output=json a.qcow2"));
        all.push(makes("convert", "convert -f qcow2 -O raw a.qcow2 out"));
    }
    if shape.traits.snapshots {
        all.push(reads("snapshots", "snapshot -l a.qcow2"));
        all.push(makes("convert-snapshot", "convert -f qcow2 -O raw -l s1 a.qcow2 out"));
    }
    if shape.traits.bitmaps {
        all.push(makes("convert-bitmaps", "convert -f qcow2 -O qcow2 --bitmaps a.qcow2 out"));
        all.push(reads("measure", "measure -f qcow2 -O qcow2 a.qcow2"));
    }
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "check",
        "check a.qcow2 b.qcow2",
        "check gone.qcow2",
        "check --output=yaml a.qcow2",
        "check --output json a.qcow2",
        "check -f raw a.qcow2",
        "check -f raw --output=json a.qcow2",
        "check -f foo a.qcow2",
        "check -f vmdk a.qcow2",
        "check -q a.qcow2",
        "check -T none a.qcow2",
        "check -T foo a.qcow2",
        "check --cache=writethrough a.qcow2",
        "check -r foo a.qcow2",
        "check -r",
        "check -U a.qcow2",
        "check --image-opts driver=qcow2,file.filename=a.qcow2",
        "check --image-opts file.filename=a.qcow2",
        "check --image-opts a.qcow2",
        "check --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2",
        "check json:{\"driver\":\"qcow2\",\"file.filename\":\"a.qcow2\"}",
        "check -x a.qcow2",
        "check --foo a.qcow2",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let case = |line: &&str| Case::reads(format!("check/line/{}", label(line)), shape, line);
    LINES.iter().map(case).collect()
}
