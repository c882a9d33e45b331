//! `convert`: every shape to every kind of target, and every option.

use testkit::case::{Case, Traits, label};
use testkit::shapes::{self, Shape};

/// Targets that every shape is converted to.
const TARGETS: [(&str, &str); 31] = [
    ("raw", "-O raw"),
    ("qcow2", "-O qcow2"),
    ("v2", "-O qcow2 -o compat=0.10"),
    ("clusters-4k", "-O qcow2 -o cluster_size=4k"),
    ("clusters-2M", "-O qcow2 -o cluster_size=2M"),
    ("subclusters", "-O qcow2 -o extended_l2=on"),
    ("zlib", "-c -O qcow2"),
    ("zstd", "-c -O qcow2 -o compression_type=zstd"),
    ("unordered", "-O qcow2 -W -m 16"),
    ("vdi", "-O vdi"),
    ("vdi-static", "-O vdi -o static=on"),
    ("vhdx", "-O vhdx"),
    ("vhdx-1M", "-O vhdx -o block_size=1M"),
    ("vhdx-fixed", "-O vhdx -o subformat=fixed"),
    ("vhdx-in-order", "-O vhdx -o subformat=fixed,block_state_zero=off"),
    ("vpc", "-O vpc"),
    ("vpc-fixed", "-O vpc -o subformat=fixed"),
    ("vpc-forced", "-O vpc -o force_size=on"),
    ("parallels", "-O parallels"),
    ("parallels-64k", "-O parallels -o cluster_size=64k"),
    ("qcow1", "-O qcow"),
    ("qcow1-compressed", "-c -O qcow"),
    ("qed", "-O qed"),
    ("qed-4k", "-O qed -o cluster_size=4k,table_size=2"),
    ("vmdk", "-O vmdk"),
    ("vmdk-flat", "-O vmdk -o subformat=monolithicFlat"),
    ("vmdk-pieces", "-O vmdk -o subformat=twoGbMaxExtentSparse"),
    ("vmdk-flat-pieces", "-O vmdk -o subformat=twoGbMaxExtentFlat"),
    ("vmdk-stream", "-O vmdk -o subformat=streamOptimized"),
    ("vmdk-compressed", "-c -O vmdk"),
    ("vmdk-zeroed", "-O vmdk -o zeroed_grain=on"),
];

pub fn cases() -> Vec<Case> {
    // Walking a pebibyte takes the oracle minutes.
    let mut all: Vec<Case> =
        shapes::readable().filter(|shape| shape.name != "qcow2/pebibyte").flat_map(of_shape).collect();
    all.extend(shapes::BROKEN.iter().map(|shape| {
        Case::makes(format!("convert/{}", shape.name), shape, "convert -f {fmt} -O qcow2 {img} out")
    }));
    all.extend(options());
    all.extend(backed_targets());
    all.extend(existing_targets());
    all.extend(several_sources());
    all.extend(snapshots());
    all.extend(bitmaps());
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    // Of VHDX the oracle reads every byte, wherever it is, of VMDK it asks for every grain, and holes of a tebibyte
    // in Parallels make it abort.
    let fits = |name: &str| {
        let is_slow = ["vhdx", "vmdk", "parallels"].iter().any(|format| name.starts_with(format));
        !shape.traits.huge
            || !["raw", "clusters-4k", "qed-4k", "qcow1", "qcow1-compressed"].contains(&name) && !is_slow
    };
    // Where there is nothing to compress, qemu-img does not fail at it.
    let is_nothing = shape.name == "raw/empty" || shape.name.ends_with("/nothing");
    TARGETS
        .iter()
        .filter(|(name, _)| fits(name) && !(*name == "qcow1-compressed" && is_nothing))
        .map(|(name, options)| {
            let line = format!("convert -f {{fmt}} {options} {{img}} out");
            Case::makes(format!("convert/{}/{name}", shape.name), shape, &line)
        })
        .collect()
}

/// Options of the copy and of the target, over a few shapes that have a bit of everything.
fn options() -> Vec<Case> {
    const OPTIONS: &[(&str, &str)] = &[
        ("preallocation-off", "-O raw -o preallocation=off"),
        ("preallocation-falloc-raw", "-O raw -o preallocation=falloc"),
        ("preallocation-full-raw", "-O raw -o preallocation=full"),
        ("preallocation-falloc", "-O qcow2 -o preallocation=falloc"),
        ("preallocation-metadata", "-O qcow2 -o preallocation=metadata"),
        ("preallocation-full", "-O qcow2 -o preallocation=full"),
        ("lazy", "-O qcow2 -o lazy_refcounts=on"),
        ("refcount-1", "-O qcow2 -o refcount_bits=1"),
        ("refcount-64", "-O qcow2 -o refcount_bits=64"),
        ("clusters-512", "-O qcow2 -o cluster_size=512"),
        ("data-file", "-O qcow2 -o data_file=d.raw"),
        ("data-file-raw", "-O qcow2 -o data_file=d.raw,data_file_raw=on"),
        ("data-file-compressed", "-c -O qcow2 -o data_file=d.raw"),
        ("size", "-O qcow2 -o size=100M"),
        ("size-small", "-O qcow2 -o size=64k"),
        ("size-raw", "-O raw -o size=10M"),
        ("sub-compressed", "-c -O qcow2 -o extended_l2=on"),
        ("v2-compressed", "-c -O qcow2 -o compat=0.10"),
        ("compressed-512", "-c -O qcow2 -o cluster_size=512"),
        ("compressed-2M", "-c -O qcow2 -o cluster_size=2M"),
        ("compressed-zstd-2M", "-c -O qcow2 -o cluster_size=2M,compression_type=zstd"),
        ("compressed-metadata", "-c -O qcow2 -o preallocation=metadata"),
        ("compressed-raw", "-c -O raw"),
        ("compressed-unordered", "-c -W -O qcow2"),
        ("sparse-0", "-S 0 -O raw"),
        ("sparse-0-qcow2", "-S 0 -O qcow2"),
        ("sparse-0-compressed", "-c -S 0 -O qcow2"),
        ("sparse-512", "-S 512 -O qcow2"),
        ("sparse-64k", "-S 64k -O qcow2"),
        ("sparse-1M", "-S 1M -O raw"),
        ("sparse-odd", "-S 1000 -O raw"),
        ("sparse-foo", "-S foo -O raw"),
        ("sparse-negative", "-S -1 -O raw"),
        ("sparse-huge", "-S 8E -O raw"),
        ("one-coroutine", "-m 1 -O qcow2"),
        ("sixteen-coroutines", "-m 16 -O qcow2"),
        ("zero-coroutines", "-m 0 -O qcow2"),
        ("many-coroutines", "-m 17 -O qcow2"),
        ("foo-coroutines", "-m foo -O qcow2"),
        ("unordered-raw", "-W -O raw"),
        ("offloading", "-C -O raw"),
        ("offloading-qcow2", "-C -O qcow2"),
        ("offloading-sparse", "-C -S 4k -O raw"),
        ("offloading-compressed", "-C -c -O qcow2"),
        ("salvage", "--salvage -O qcow2"),
        ("salvage-offloading", "--salvage -C -O raw"),
        ("rate", "-r 1G -O qcow2"),
        ("rate-foo", "-r foo -O qcow2"),
        ("rate-zero", "-r 0 -O qcow2"),
        ("target-none", "-t none -O qcow2"),
        ("target-writethrough", "-t writethrough -O qcow2"),
        ("target-directsync", "-t directsync -O raw"),
        ("target-unsafe", "-t unsafe -O qcow2"),
        ("target-foo", "-t foo -O qcow2"),
        ("source-none", "-T none -O qcow2"),
        ("source-directsync", "-T directsync -O raw"),
        ("source-foo", "-T foo -O qcow2"),
        ("progress", "-p -O qcow2"),
        ("progress-raw", "-p -O raw"),
        ("quiet", "-q -O qcow2"),
        ("progress-quiet", "-p -q -O qcow2"),
        ("share", "-U -O qcow2"),
        ("nothing-to-skip", "--skip-broken-bitmaps -O qcow2"),
        ("bitmaps-none", "--bitmaps -O qcow2"),
        ("bitmaps-raw", "--bitmaps -O raw"),
        ("zero-without-n", "--target-is-zero -O raw"),
        ("foo-format", "-O foo"),
        ("cloop-format", "-O cloop"),
        ("empty-format", "-O ''"),
        ("unknown-option", "-O qcow2 -o foo=1"),
        ("unknown-raw-option", "-O raw -o cluster_size=4k"),
        ("bad-cluster-size", "-O qcow2 -o cluster_size=3k"),
        ("options-twice", "-O qcow2 -o cluster_size=4k -o lazy_refcounts=on"),
        ("encryption", "-O qcow2 -o encryption=on"),
    ];
    let names = ["raw/mixed", "qcow2/compressed-mixed", "chain/three-clusters"];
    let mut all = Vec::new();
    for shape in names.map(shapes::named) {
        for (variant, options) in OPTIONS {
            let line = format!("convert -f {{fmt}} {options} {{img}} out");
            all.push(Case::makes(format!("convert/option/{variant}/{}", shape.name), shape, &line));
        }
    }
    all
}

/// `-B` and `-F`: the target stands on a backing image.
fn backed_targets() -> Vec<Case> {
    const SETUP: &str = "img create -f qcow2 base.qcow2 4M\nio -f qcow2 base.qcow2 | write -P 1 0 3M
        img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2
        io -f qcow2 a.qcow2 | write -P 2 1M 1M | write -z 0 256k
        img create -f qcow2 small.qcow2 1M\nio -f qcow2 small.qcow2 | write -P 1 0 1M
        img create -f qcow2 large.qcow2 9M\nio -f qcow2 large.qcow2 | write -P 1 0 9M
        img convert -O raw base.qcow2 base.raw";
    const OPTIONS: &[&str] = &[
        "-O qcow2 -B base.qcow2 -F qcow2",
        "-O qcow2 -B base.qcow2 -F qcow2 -o cluster_size=4k",
        "-O qcow2 -B base.qcow2 -F qcow2 -o extended_l2=on",
        "-O qcow2 -B base.qcow2 -F qcow2 -o compat=0.10",
        "-O qcow2 -B base.qcow2 -F qcow2 -c",
        "-O qcow2 -B base.qcow2 -F qcow2 -S 0",
        "-O qcow2 -B base.qcow2 -F qcow2 -W",
        "-O qcow2 -B base.raw -F raw",
        "-O qcow2 -B small.qcow2 -F qcow2",
        "-O qcow2 -B large.qcow2 -F qcow2",
        "-O qcow2 -B base.qcow2",
        "-O qcow2 -B gone.qcow2 -F qcow2",
        "-O qcow2 -B base.qcow2 -F raw",
        "-O qcow2 -B base.qcow2 -F foo",
        "-O qcow2 -F qcow2",
        "-O raw -B base.qcow2 -F qcow2",
        "-O qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2",
        "-O qcow2 -o backing_file=base.qcow2",
        "-O qcow2 -o backing_file=base.qcow2 -F qcow2",
        "-O qcow2 -B base.qcow2 -F qcow2 -o backing_file=small.qcow2",
        "-O qcow2 -B base.qcow2 -F qcow2 --bitmaps",
        "-O qcow2 -B base.qcow2 -F qcow2 -o preallocation=metadata",
        "-O qcow2 -B base.qcow2 -F qcow2 -o data_file=d.raw",
        "-O qcow2 -B base.qcow2 -F qcow2 -C",
        "-O qcow2 -B ''",
    ];
    let case = |options: &&str| {
        let line = format!("convert {options} a.qcow2 out");
        Case::after(format!("convert/backing/{}", label(options)), SETUP, &line)
    };
    OPTIONS.iter().map(case).collect()
}

/// `-n`, and targets that stand there already.
fn existing_targets() -> Vec<Case> {
    const SOURCE: &str = "img create -f qcow2 a.qcow2 4M
        io -f qcow2 a.qcow2 | write -P 1 0 1M | write -P 2 3M 300k | write -z 2M 64k";
    const TARGETS: &[(&str, &str)] = &[
        ("raw", "noise out 4M 1"),
        ("raw-small", "noise out 1M 1"),
        ("raw-large", "noise out 5M 1"),
        ("raw-empty", "sparse out 4M"),
        ("vdi", "noise n 4M 1\nimg convert -f raw -O vdi n out\nremove n"),
        ("vdi-empty", "img create -f vdi out 4M"),
        ("vdi-large", "img create -f vdi out 9M\nio -f vdi out | write -P 9 0 8M"),
        ("parallels", "noise n 4M 1\nimg convert -f raw -O parallels -o cluster_size=64k n out\nremove n"),
        ("parallels-empty", "img create -f parallels out 4M"),
        ("parallels-large", "img create -f parallels out 9M\nio -f parallels out | write -P 9 0 8M"),
        ("vdi-static", "img create -f vdi -o static=on out 4M\nio -f vdi out | write -P 9 1M 2M"),
        ("vhdx", "noise n 4M 1\nimg convert -f raw -O vhdx n out\nremove n"),
        ("vhdx-empty", "img create -f vhdx out 4M"),
        ("vhdx-large", "img create -f vhdx -o block_size=1M out 9M\nio -f vhdx out | write -P 9 0 8M"),
        ("vhdx-fixed", "img create -f vhdx -o subformat=fixed out 4M\nio -f vhdx out | write -P 9 1M 2M"),
        ("vpc", "noise n 4M 1\nimg convert -f raw -O vpc n out\nremove n"),
        ("vpc-empty", "img create -f vpc out 4M"),
        ("vpc-large", "img create -f vpc -o force_size=on out 9M\nio -f vpc out | write -P 9 0 8M"),
        ("vpc-fixed", "img create -f vpc -o subformat=fixed out 4M\nio -f vpc out | write -P 9 1M 2M"),
        ("qcow1", "noise n 4M 1\nimg convert -f raw -O qcow n out\nremove n"),
        ("qcow1-empty", "img create -f qcow out 4M"),
        ("qcow1-large", "img create -f qcow out 9M\nio -f qcow out | write -P 9 0 8M"),
        (
            "qcow1-packed",
            "img create -f qcow out 4M\nio -f qcow out | write -c -P 5 0 4k | write -c -P 6 1M 4k | write -P 7 2M 1M",
        ),
        ("qcow1-backed", "noise n 4M 1\nimg create -f qcow -b n -F raw out 4M"),
        ("qed", "noise n 4M 1\nimg convert -f raw -O qed n out\nremove n"),
        ("qed-empty", "img create -f qed out 4M"),
        ("qed-large", "img create -f qed -o cluster_size=4k out 9M\nio -f qed out | write -P 9 0 8M"),
        ("qed-backed", "noise n 4M 1\nimg create -f qed -b n -F raw out 4M"),
        ("qcow2", "noise n 4M 1\nimg convert -f raw -O qcow2 n out\nremove n"),
        ("qcow2-large", "img create -f qcow2 out 9M\nio -f qcow2 out | write -P 9 0 9M"),
        ("qcow2-small", "img create -f qcow2 out 1M"),
        ("qcow2-empty", "img create -f qcow2 out 4M"),
        ("qcow2-4k", "img create -f qcow2 -o cluster_size=4k out 4M\nio -f qcow2 out | write -P 9 100k 2M"),
        ("qcow2-compressed", "prose n 4M 1\nimg convert -c -f raw -O qcow2 n out\nremove n"),
        (
            "qcow2-subclusters",
            "img create -f qcow2 -o extended_l2=on out 4M\nio -f qcow2 out | write -P 9 0 4M",
        ),
        ("qcow2-v2", "img create -f qcow2 -o compat=0.10 out 4M\nio -f qcow2 out | write -P 9 0 4M"),
        (
            "qcow2-backed",
            "img create -f qcow2 b.qcow2 4M\nio -f qcow2 b.qcow2 | write -P 9 0 4M
             img create -f qcow2 -b b.qcow2 -F qcow2 out",
        ),
        (
            "qcow2-snapshot",
            "img create -f qcow2 out 4M\nio -f qcow2 out | write -P 9 0 2M\nimg snapshot -c s out",
        ),
        (
            "qcow2-data-file",
            "img create -f qcow2 -o data_file=d.raw out 4M\nio -f qcow2 out | write -P 9 0 4M",
        ),
        ("qcow2-bitmap", "img create -f qcow2 out 4M\nimg bitmap --add out b"),
        ("qcow2-corrupt", "img create -f qcow2 out 4M\npoke out incompatible |= 2"),
        ("missing", ""),
        ("directory", "dir out"),
    ];
    const OPTIONS: &[(&str, &str)] = &[
        ("fresh", ""),
        ("kept", "-n "),
        ("kept-zero", "-n --target-is-zero "),
        ("kept-compressed", "-n -c "),
    ];
    let mut all = Vec::new();
    for (target, setup) in TARGETS {
        for (option, options) in OPTIONS {
            // What stands in a target that is said to be zero, but is not, nobody promises.
            if *option == "kept-zero" && !target.ends_with("empty") {
                continue;
            }
            let known = ["qcow2", "qcow", "qed", "vdi", "vhdx", "vpc", "parallels"]
                .into_iter()
                .find(|format| target.starts_with(format));
            let format = known.unwrap_or("raw");
            let line = format!("convert {options}-O {format} a.qcow2 out");
            let setup = format!("{SOURCE}\n{setup}");
            all.push(Case::after(format!("convert/existing/{target}/{option}"), setup, &line));
        }
    }
    all
}

/// Images to be put one after another.
static SOURCES: Shape = Shape {
    name: "convert-sources",
    image: "a.raw",
    format: "raw",
    traits: Traits::PLAIN,
    script: "prose a.raw 1M 1\nprose b.raw 70000 2\nsparse c.raw 2M\nsparse z.raw 0
        img create -f qcow2 d.qcow2 3M\nio -f qcow2 d.qcow2 | write -P 1 1M 100k
        img create -f qcow2 -o cluster_size=4k e.qcow2 1000448\nio -f qcow2 e.qcow2 | write -P 2 512k 4k",
};

fn several_sources() -> Vec<Case> {
    const LISTS: &[&str] = &[
        "-f raw a.raw c.raw",
        "-f raw a.raw b.raw a.raw",
        "-f raw b.raw b.raw b.raw",
        "-f raw a.raw z.raw c.raw",
        "-f qcow2 d.qcow2 e.qcow2",
        "d.qcow2 e.qcow2 d.qcow2",
        "-f raw a.raw gone.raw",
        "-f qcow2 d.qcow2 a.raw",
        "-l s1 d.qcow2 e.qcow2",
        "--bitmaps d.qcow2 e.qcow2",
        "-B d.qcow2 -F qcow2 d.qcow2 e.qcow2",
        "-c -f raw a.raw b.raw",
        "-C -f raw a.raw c.raw",
        "-W -f raw a.raw b.raw c.raw",
    ];
    let mut all = Vec::new();
    for sources in LISTS {
        for format in ["raw", "qcow2"] {
            let line = format!("convert -O {format} {sources} out");
            all.push(Case::makes(format!("convert/several/{}/{format}", label(sources)), &SOURCES, &line));
        }
    }
    all
}

/// `-l`, by id, by name and in words.
fn snapshots() -> Vec<Case> {
    const SELECTIONS: &[(&str, &str)] = &[
        ("name", "s1"),
        ("id", "1"),
        ("by-name", "snapshot.name=s1"),
        ("by-id", "snapshot.id=1"),
        ("by-both", "snapshot.id=1,snapshot.name=s1"),
        ("contradiction", "snapshot.id=7,snapshot.name=s1"),
        ("missing", "gone"),
        ("missing-by-name", "snapshot.name=gone"),
        ("missing-by-id", "snapshot.id=99"),
        ("empty", "''"),
        ("unknown-key", "snapshot.foo=1"),
        ("two", "2"),
        ("spaces", "'second one'"),
    ];
    let mut all = Vec::new();
    for shape in shapes::SNAPSHOTS {
        for (variant, selection) in SELECTIONS {
            let line = format!("convert -l {selection} -O qcow2 {{img}} out");
            all.push(Case::makes(format!("convert/snapshot/{}/{variant}", shape.name), shape, &line));
        }
        let line = "convert -c -l 1 -O qcow2 -o cluster_size=4k {img} out";
        all.push(Case::makes(format!("convert/snapshot/{}/compressed", shape.name), shape, line));
        let line = "convert -l snapshot.id=1 -O raw {img} out";
        all.push(Case::makes(format!("convert/snapshot/{}/raw", shape.name), shape, line));
    }
    all
}

fn bitmaps() -> Vec<Case> {
    const OPTIONS: &[(&str, &str)] = &[
        ("copied", "--bitmaps -O qcow2"),
        ("broken-skipped", "--bitmaps --skip-broken-bitmaps -O qcow2"),
        ("clusters-4k", "--bitmaps --skip-broken-bitmaps -O qcow2 -o cluster_size=4k"),
        ("subclusters", "--bitmaps --skip-broken-bitmaps -O qcow2 -o extended_l2=on"),
        ("v2", "--bitmaps -O qcow2 -o compat=0.10"),
        ("raw", "--bitmaps -O raw"),
        ("compressed", "--bitmaps --skip-broken-bitmaps -c -O qcow2"),
        ("quiet", "-q --bitmaps --skip-broken-bitmaps -O qcow2"),
    ];
    let mut all = Vec::new();
    for shape in shapes::BITMAPS {
        for (variant, options) in OPTIONS {
            let line = format!("convert {options} {{img}} out");
            all.push(Case::makes(format!("convert/bitmaps/{}/{variant}", shape.name), shape, &line));
        }
    }
    all
}

/// The shapes that command lines have.
fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "convert",
        "convert a.qcow2",
        "convert a.qcow2 out",
        "convert a.qcow2 out -O qcow2",
        "convert -Oqcow2 a.qcow2 out",
        "convert -cOqcow2 a.qcow2 out",
        "convert -f raw -O raw a.qcow2 out",
        "convert -f foo a.qcow2 out",
        "convert -f vmdk a.qcow2 out",
        "convert gone.qcow2 out",
        "convert a.qcow2 no/where",
        "convert a.qcow2 a.qcow2",
        "convert -O qcow2 a.qcow2 ''",
        "convert -O qcow2 '' out",
        "convert -x a.qcow2 out",
        "convert --foo a.qcow2 out",
        "convert -O",
        "convert -n -o cluster_size=4k -O qcow2 a.qcow2 out",
        "convert -O qcow2 -o help",
        "convert -O qcow2 -o help a.qcow2 out",
        "convert -O raw -o '?' a.qcow2 out",
        "convert -O qcow2 -o '' a.qcow2 out",
        "convert --image-opts driver=qcow2,file.filename=a.qcow2 out",
        "convert --image-opts file.filename=a.qcow2 out",
        "convert --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 out",
        "convert --image-opts a.qcow2 out",
        "convert --target-image-opts a.qcow2 driver=raw,file.filename=out",
        "convert --target-image-opts -n a.qcow2 driver=raw,file.filename=out",
        "convert --target-image-opts -n -O raw a.qcow2 driver=raw,file.filename=out",
        "convert -f qcow2 json:{\"driver\":\"qcow2\",\"file.filename\":\"a.qcow2\"} out",
        "convert json:{\"driver\":\"qcow2\",\"file.filename\":\"a.qcow2\"} out",
        "convert -O qcow2 json:{\"driver\":\"raw\",\"size\":65536,\"offset\":65536,\"file.filename\":\"a.qcow2\"} out",
        "convert -O qcow2 file:a.qcow2 file:out",
        "convert -s s1 a.qcow2 out",
        "convert -6 a.qcow2 out",
        "convert -e -O qcow2 a.qcow2 out",
        "convert --target-is-zero -n a.qcow2 gone",
        "convert --object secret,id=s,data=x a.qcow2 out",
        "convert -O qcow2 -- a.qcow2 out",
        "convert --parallel=4 --sparse-size=4k -O qcow2 a.qcow2 out",
        "convert --compress -O qcow2 a.qcow2 out",
        "convert --oob-writes -O qcow2 a.qcow2 out",
        "convert --no-create a.qcow2 out",
        "convert -O qcow2 a.qcow2 \\xff\\xfe",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let case = |line: &&str| Case::makes(format!("convert/line/{}", label(line)), shape, line);
    LINES.iter().map(case).collect()
}
