//! `check -r`: the catalogue of damage, repaired; and images that are repaired when they are opened.

use testkit::case::{Case, label};
use testkit::shapes;

use crate::check::{DAMAGE, Damage};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = DAMAGE.iter().chain(FURTHER).flat_map(of_damage).collect();
    all.extend(SHAPES.iter().flat_map(|shape| of_damage(&("none", shape, ""))));
    all.extend(UNCLEAN.iter().flat_map(of_unclean));
    all.extend(lines());
    all
}

/// Damage that makes a difference to a repair only.
const FURTHER: &[Damage] = &[
    // Counts.
    ("counts-1-bit", "qcow2/refcount-1", "poke a.qcow2 @131072:1 = 0x0f\npoke a.qcow2 @131074:1 = 0xff"),
    ("counts-2-bit", "qcow2/refcount-2", "poke a.qcow2 @131073:1 = 0xff"),
    ("counts-64-bit", "qcow2/refcount-64", "poke a.qcow2 rb[0][6] = 0\npoke a.qcow2 rb[0][20] = 7"),
    ("blocks-512", "qcow2/clusters-512", "poke a.qcow2 rt[0] = 0\npoke a.qcow2 rt[1] = 0"),
    ("blocks-512-one", "qcow2/clusters-512", "poke a.qcow2 rb[0][5] = 0"),
    ("blocks-512-leak", "qcow2/clusters-512", "poke a.qcow2 l2[0][3] = 0\npoke a.qcow2 l2[1][3] = 0"),
    ("block-4k", "qcow2/clusters-4k", "poke a.qcow2 rt[0] = 0"),
    ("block-2M", "qcow2/clusters-2M", "poke a.qcow2 rt[0] = 0"),
    ("block-2M-leak", "qcow2/clusters-2M", "poke a.qcow2 l2[0][0] = 0"),
    ("block-is-l1", "qcow2/fragmented", "poke a.qcow2 rt[0] = 0x30000"),
    ("block-is-header", "qcow2/fragmented", "poke a.qcow2 rt[3] = 0x10000"),
    ("table-is-l2", "qcow2/fragmented", "poke a.qcow2 refcount_table_offset = 0x40000"),
    ("leaks-in-a-row", "qcow2/dense", "poke a.qcow2 l1[0] = 0"),
    ("leaks-at-the-end", "qcow2/dense", "poke a.qcow2 l2[0][31] = 0\npoke a.qcow2 l2[0][30] = 0"),
    ("leak-and-missing", "qcow2/fragmented", "poke a.qcow2 l2[0][0] = 0\npoke a.qcow2 rb[0][10] = 0"),
    ("compressed-shared", "qcow2/zlib", "poke a.qcow2 l2[0][1] = l2[0][0]"),
    ("compressed-lost", "qcow2/zlib", "poke a.qcow2 rt[0] = 0"),
    ("v2-lost", "qcow2/v2", "poke a.qcow2 rt[0] = 0"),
    ("v2-leak", "qcow2/v2", "poke a.qcow2 l2[0][0] = 0"),
    ("data-file-lost", "data/plain", "poke a.qcow2 rt[0] = 0"),
    ("data-file-flags", "data/plain", "poke a.qcow2 l2[0][16] ^= 0x8000000000000000"),
    ("backed-lost", "chain/two", "poke a.qcow2 rt[0] = 0"),
    ("tail-cut-lost", "qcow2/dense", "cut a.qcow2 1900000\npoke a.qcow2 rt[0] = 0"),
    ("tail-cut-leak", "qcow2/dense", "cut a.qcow2 1900000\npoke a.qcow2 l2[0][0] = 0"),
    // Tables that change, and who else refers to them.
    ("snapshot-shares-flags", "snap/three", "poke a.qcow2 l2[0][0] |= 0x8000000000000000"),
    ("snapshot-lost", "snap/three", "poke a.qcow2 rt[0] = 0"),
    ("snapshot-leak", "snap/three", "poke a.qcow2 rb[0][60] = 2"),
    ("snapshot-v2-lost", "snap/v2", "poke a.qcow2 rt[0] = 0"),
    ("snapshot-v2-extra", "snap/v2", "poke a.qcow2 snap[0]+36:4 = 8"),
    ("snapshot-vm-state", "snap/vm-state", "poke a.qcow2 rt[0] = 0"),
    ("snapshot-compressed", "snap/compressed", "poke a.qcow2 rb[0][5] = 1"),
    ("kept-unaligned", "qcow2/prealloc-written", "poke a.qcow2 l2[0][9] |= 0x200"),
    (
        "zero-unaligned-twice",
        "qcow2/zeroes",
        "poke a.qcow2 l2[0][4] |= 0x200\npoke a.qcow2 l2[0][5] |= 0x400",
    ),
    ("sub-kept-unaligned", "sub/prealloc", "poke a.qcow2 l2[0][3] |= 0x200\npoke a.qcow2 l2[0][4] |= 0x400"),
    ("sub-lost", "sub/mixed", "poke a.qcow2 rt[0] = 0"),
    ("sub-flags", "sub/mixed", "poke a.qcow2 l2[0][0] ^= 0x8000000000000000"),
    ("l1-twice", "qcow2/clusters-512", "poke a.qcow2 l1[1] = l1[0]"),
    // Bits of the header.
    ("corrupt-bit", "qcow2/fragmented", "poke a.qcow2 incompatible |= 2"),
    ("corrupt-bit-left", "qcow2/fragmented", "poke a.qcow2 incompatible |= 2\npoke a.qcow2 l2[0][0] |= 2"),
    ("dirty-bit-leak", "qcow2/lazy", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 l2[0][16] = 0"),
    ("dirty-bit-missing", "qcow2/lazy", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 rb[0][9] = 0"),
    ("autoclear-bits", "qcow2/one", "poke a.qcow2 autoclear |= 0x8000"),
    ("bitmaps-leak", "bitmap/one", "poke a.qcow2 rb[0][40] = 1\ncut a.qcow2 3M"),
    ("bitmaps-lost", "bitmap/several", "poke a.qcow2 rt[0] = 0"),
    ("bitmaps-in-use-lost", "bitmap/in-use", "poke a.qcow2 rt[0] = 0"),
    (
        "bitmaps-and-snapshots",
        "bitmap/one",
        "img snapshot -c s1 a.qcow2\npoke a.qcow2 rb[0][40] = 1\ncut a.qcow2 3M",
    ),
];

/// Sound images: there is nothing to do.
const SHAPES: &[&str] = &[
    "qcow2/empty",
    "qcow2/nothing",
    "qcow2/dense",
    "qcow2/clusters-512",
    "qcow2/v2",
    "qcow2/zlib",
    "qcow2/marked-dirty",
    "qcow2/marked-corrupt",
    "qcow2/extension-unknown",
    "sub/backed",
    "data/raw",
    "snap/three",
    "bitmap/several",
    "chain/two",
    "raw/sparse",
];

/// Each is repaired as far as leaks go, and altogether; told to people and to programs.
fn of_damage(&(name, shape, script): &Damage) -> Vec<Case> {
    const VARIANTS: [(&str, &str); 4] = [
        ("leaks", "check -f {fmt} -r leaks {img}"),
        ("all", "check -f {fmt} -r all {img}"),
        ("leaks-json", "check -f {fmt} --repair=leaks --output=json {img}"),
        ("all-json", "check -f {fmt} --repair=all --output=json {img}"),
    ];
    let base = shapes::named(shape);
    let (name, variants) = match name {
        "none" => (format!("none/{shape}"), &VARIANTS[..2]),
        _ if name.starts_with("header") || name.starts_with("extension") => (name.to_owned(), &VARIANTS[..2]),
        _ => (name.to_owned(), &VARIANTS[..]),
    };
    let setup = format!("{}\n{script}", base.script);
    let case = |&(variant, line): &(&str, &str)| {
        let line = line.replace("{img}", base.image).replace("{fmt}", base.format);
        Case::after(format!("repair/{name}/{variant}"), setup.clone(), &line)
    };
    variants.iter().map(case).collect()
}

/// Images that were not closed cleanly, or are known to be corrupt: name and what is wrong.
const UNCLEAN: &[(&str, &str)] = &[
    ("sound", "poke a.qcow2 incompatible |= 1"),
    ("missing", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 rb[0][9] = 0\npoke a.qcow2 rb[0][10] = 0"),
    ("leak", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 l2[0][20] = 0"),
    ("lost", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 rt[0] = 0"),
    ("flags", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 l2[0][17] ^= 0x8000000000000000"),
    ("damage-left", "poke a.qcow2 incompatible |= 1\npoke a.qcow2 l2[0][90] = 0x8000000040000000"),
    ("corrupt", "poke a.qcow2 incompatible |= 2"),
    ("both", "poke a.qcow2 incompatible |= 3"),
];

/// Commands that open an image for writing, and some that do not.
fn of_unclean(&(name, script): &(&str, &str)) -> Vec<Case> {
    const LINES: &[&str] = &[
        "bench -w -f qcow2 -c 1 -o 1M -s 64k a.qcow2",
        "convert -n -f raw -O qcow2 n.raw a.qcow2",
        "convert -f qcow2 -O raw a.qcow2 out",
        "check a.qcow2",
        "info a.qcow2",
    ];
    let base = shapes::named("qcow2/lazy");
    let setup = format!("{}\nprose n.raw 3M 1\n{script}", base.script);
    let case = |line: &&str| {
        let word = label(line.split(' ').take(2).collect::<Vec<_>>().join(" ").as_str());
        Case::after(format!("unclean/{name}/{word}"), setup.clone(), line)
    };
    LINES.iter().map(case).collect()
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "check -q -r all a.qcow2",
        "check -q -r leaks --output json a.qcow2",
        "check -r leaks -r all a.qcow2",
        "check -r all -U a.qcow2",
        "check -r all -T none a.qcow2",
        "check -r all -T unsafe a.qcow2",
        "check -r all -f raw a.qcow2",
        "check -r all gone.qcow2",
        "check -r all --image-opts driver=qcow2,file.filename=a.qcow2",
        "check -r all --image-opts driver=qcow2,file.filename=a.qcow2,read-only=on",
        "check -r ALL a.qcow2",
        "check -rall a.qcow2",
        "check --repair=leaks --out=json a.qcow2",
    ];
    let base = shapes::named("qcow2/fragmented");
    let setup = format!("{}\npoke a.qcow2 l2[0][0] = 0", base.script);
    let case = |line: &&str| Case::after(format!("repair/line/{}", label(line)), setup.clone(), line);
    LINES.iter().map(case).collect()
}
