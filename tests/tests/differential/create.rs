//! `create`: every option of both formats, alone and together, right and wrong.

use testkit::case::{Case, Traits, label};
use testkit::shapes::Shape;

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(sizes());
    all.extend(table("create/raw", "-f raw", RAW));
    all.extend(table("create/qcow2", "-f qcow2", QCOW2));
    all.extend(grid());
    all.extend(preallocations());
    all.extend(refcounts());
    all.extend(backings());
    all.extend(existing());
    all.extend(lines());
    all
}

/// Sizes with every suffix, and what is not a size.
fn sizes() -> Vec<Case> {
    const SIZES: [&str; 36] = [
        "0",
        "1",
        "511",
        "512",
        "513",
        "1000000",
        "1k",
        "1K",
        "3M",
        "1m",
        "1G",
        "1g",
        "1T",
        "1t",
        "1.5M",
        "0.5k",
        "1b",
        "1024b",
        "0x100000",
        "''",
        "' 1M'",
        "1X",
        "M",
        "1MM",
        "1e3",
        "-1",
        "+1M",
        "-1M",
        "8E",
        "16E",
        "9223372036854775807",
        "9223372036854775808",
        "9223372036854774784",
        "18446744073709551616",
        "nan",
        "0x1p3",
    ];
    let mut all = Vec::new();
    for size in SIZES {
        all.push(Case::alone(format!("create/size/qcow2/{size}"), &format!("create -f qcow2 out {size}")));
        if !["8E", "1T", "1t"].contains(&size) {
            all.push(Case::alone(format!("create/size/raw/{size}"), &format!("create -f raw out {size}")));
        }
    }
    all
}

/// Options of raw; each line is `-o` text, or arguments when it begins with a dash.
const RAW: &[&str] = &[
    "preallocation=off",
    "preallocation=falloc",
    "preallocation=full",
    "preallocation=metadata",
    "preallocation=",
    "preallocation",
    "nocow=on",
    "nocow=off",
    "nocow",
    "extent_size_hint=1M",
    "extent_size_hint=0",
    "extent_size_hint=-1",
    "size=2M",
    "cluster_size=64k",
    "backing_file=x",
    "compat=1.1",
    "encryption=on",
    "foo=1",
    "foo",
    "help",
    "?",
    "",
];

/// Options of qcow2.
const QCOW2: &[&str] = &[
    "compat=0.10",
    "compat=1.1",
    "compat=v2",
    "compat=v3",
    "compat=1.0",
    "compat=",
    "compat",
    "cluster_size=511",
    "cluster_size=256",
    "cluster_size=513",
    "cluster_size=1k",
    "cluster_size=4M",
    "cluster_size=3M",
    "cluster_size=0",
    "cluster_size=-1",
    "cluster_size=foo",
    "cluster_size=",
    "cluster_size",
    "cluster_size=65536b",
    "cluster_size=0.5M",
    "refcount_bits=0",
    "refcount_bits=3",
    "refcount_bits=128",
    "refcount_bits=-1",
    "refcount_bits=foo",
    "refcount_bits=8,compat=0.10",
    "refcount_bits=16,compat=0.10",
    "lazy_refcounts=on",
    "lazy_refcounts=off",
    "lazy_refcounts",
    "lazy_refcounts=yes",
    "lazy_refcounts=true",
    "lazy_refcounts=1",
    "lazy_refcounts=foo",
    "nolazy_refcounts",
    "lazy_refcounts=on,compat=0.10",
    "compression_type=zlib",
    "compression_type=zstd",
    "compression_type=lzma",
    "compression_type=zstd,compat=0.10",
    "compression_type=zlib,compat=0.10",
    "extended_l2=on",
    "extended_l2=on,compat=0.10",
    "extended_l2=on,cluster_size=8k",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,cluster_size=2M",
    "extended_l2=on,preallocation=metadata",
    "extended_l2=on,lazy_refcounts=on,compression_type=zstd,refcount_bits=32",
    "data_file=d.raw",
    "data_file=d.raw,data_file_raw=on",
    "data_file=d.raw,data_file_raw=on,preallocation=metadata",
    "data_file=d.raw,preallocation=falloc",
    "data_file=d.raw,preallocation=full",
    "data_file=d.raw,compat=0.10",
    "data_file_raw=on",
    "data_file_raw=off",
    "data_file=",
    "data_file=no/where/d.raw",
    "data_file=d.raw,extended_l2=on",
    "nocow=on",
    "nocow=on,preallocation=full",
    "extent_size_hint=2M",
    "encryption=off",
    "preallocation=none",
    "preallocation=Metadata",
    "size=3M",
    "size=3M,size=5M",
    "size=",
    "size=foo",
    "backing_file=",
    "backing_fmt=raw",
    "table_size=1",
    "foo=bar",
    "foo",
    "=",
    ",",
    "a,,b",
    "cluster_size=4k,,x",
    "cluster_size=4k,cluster_size=8k",
    "help",
    "?",
    "help,cluster_size=4k",
    "cluster_size=4k,help",
    "help=on",
    "",
];

fn table(family: &str, format: &str, options: &[&str]) -> Vec<Case> {
    let case = |option: &&str| {
        Case::alone(format!("{family}/{option}"), &format!("create {format} -o '{option}' out 1M"))
    };
    options.iter().map(case).collect()
}

/// Cluster size × version × subclusters × size of the disk.
fn grid() -> Vec<Case> {
    let mut all = Vec::new();
    for cluster in ["512", "1k", "2k", "8k", "32k", "64k", "128k", "512k", "1M", "2M"] {
        for compat in ["0.10", "1.1"] {
            for size in ["0", "1000001", "64M", "20G"] {
                let options = format!("cluster_size={cluster},compat={compat}");
                all.push(Case::alone(
                    format!("create/grid/{cluster}/{compat}/{size}"),
                    &format!("create -f qcow2 -o {options} out {size}"),
                ));
            }
        }
    }
    for (cluster, size) in [
        ("512", "128G"),
        ("512", "129G"),
        ("1k", "512G"),
        ("1k", "513G"),
        ("64k", "2P"),
        ("64k", "2049T"),
        ("2M", "1E"),
        ("2M", "2E"),
        ("2M", "3E"),
        ("4k", "8T"),
    ] {
        all.push(Case::alone(
            format!("create/limit/{cluster}/{size}"),
            &format!("create -f qcow2 -o cluster_size={cluster} out {size}"),
        ));
    }
    all
}

fn preallocations() -> Vec<Case> {
    let mut all = Vec::new();
    for mode in ["metadata", "falloc", "full"] {
        for (name, options) in [
            ("plain", ""),
            ("v2", ",compat=0.10"),
            ("clusters-512", ",cluster_size=512"),
            ("clusters-2M", ",cluster_size=2M"),
            ("subclusters", ",extended_l2=on"),
            ("refcount-1", ",refcount_bits=1"),
            ("refcount-64", ",refcount_bits=64"),
            ("lazy", ",lazy_refcounts=on"),
        ] {
            for size in ["0", "1000001", "4M", "33M"] {
                all.push(Case::alone(
                    format!("create/preallocation/{mode}/{name}/{size}"),
                    &format!("create -f qcow2 -o preallocation={mode}{options} out {size}"),
                ));
            }
        }
    }
    all.push(Case::alone(
        "create/preallocation/metadata/large",
        "create -f qcow2 -o preallocation=metadata out 100G",
    ));
    all
}

fn refcounts() -> Vec<Case> {
    let widths = ["1", "2", "4", "8", "16", "32", "64"];
    let case = |bits: &str| {
        Case::alone(
            format!("create/refcount_bits/{bits}"),
            &format!("create -f qcow2 -o refcount_bits={bits} out 300M"),
        )
    };
    widths.into_iter().map(case).collect()
}

/// Images to stand on.
static BASES: Shape = Shape {
    name: "create-bases",
    image: "b.qcow2",
    format: "qcow2",
    traits: Traits::PLAIN,
    script: "sparse b.raw 1000001
        img create -f qcow2 b.qcow2 3M
        img create -f qcow2 -b b.qcow2 -F qcow2 c.qcow2
        sparse d.raw 0\ndir sub\nimg create -f qcow2 sub/e.qcow2 2M",
};

/// Backing images, by option letters and by `-o`.
fn backings() -> Vec<Case> {
    const LINES: &[&str] = &[
        "create -f qcow2 -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -b b.qcow2 -F qcow2 out 5M",
        "create -f qcow2 -b b.qcow2 -F qcow2 out 1M",
        "create -f qcow2 -b b.raw -F raw out",
        "create -f qcow2 -b d.raw -F raw out",
        "create -f qcow2 -b c.qcow2 -F qcow2 out",
        "create -f qcow2 -b sub/e.qcow2 -F qcow2 out",
        "create -f qcow2 -b b.qcow2 out",
        "create -f qcow2 -b b.raw out",
        "create -f qcow2 -b b.qcow2 out 2M",
        "create -f qcow2 -u -b b.qcow2 out 2M",
        "create -f qcow2 -u -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -u -b gone.qcow2 -F qcow2 out",
        "create -f qcow2 -u -b gone.qcow2 -F qcow2 out 2M",
        "create -f qcow2 -b gone.qcow2 -F qcow2 out",
        "create -f qcow2 -b gone.qcow2 -F qcow2 out 2M",
        "create -f qcow2 -b b.qcow2 -F raw out",
        "create -f qcow2 -b b.raw -F qcow2 out",
        "create -f qcow2 -b b.raw -F qcow2 out 2M",
        "create -f qcow2 -b b.qcow2 -F foo out",
        "create -f qcow2 -b '' out 1M",
        "create -f qcow2 -b '' -F qcow2 out 1M",
        "create -f qcow2 -F qcow2 out 1M",
        "create -f qcow2 -b out -F qcow2 out 1M",
        "create -f qcow2 -b b.qcow2 -F qcow2 b.qcow2 1M",
        "create -f raw -b b.raw -F raw out",
        "create -f qcow2 -o backing_file=b.qcow2,backing_fmt=qcow2 out",
        "create -f qcow2 -o backing_file=b.qcow2 -o backing_fmt=qcow2 out 7M",
        "create -f qcow2 -o backing_file=b.qcow2,backing_fmt=qcow2 -b b.raw -F raw out",
        "create -f qcow2 -o backing_file=b.qcow2 -F qcow2 out",
        "create -f qcow2 -o backing_file=b.qcow2 out",
        "create -f qcow2 -o backing_fmt=qcow2 -b b.qcow2 out",
        "create -f qcow2 -o backing_fmt=foo -b b.qcow2 out",
        "create -f qcow2 -o compat=0.10 -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o extended_l2=on -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o cluster_size=2M -b b.qcow2 -F qcow2 out 9M",
        "create -f qcow2 -o cluster_size=512 -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o preallocation=metadata -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o preallocation=falloc -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o preallocation=metadata,extended_l2=on -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o preallocation=falloc,extended_l2=on -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o preallocation=full,extended_l2=on -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o data_file=x.raw -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o data_file=x.raw,data_file_raw=on -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -o size=6M -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -b json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"b.qcow2\"}} -F qcow2 out",
        "create -f qcow2 -b file:b.qcow2 -F qcow2 out",
        "create -f qcow2 -b ./b.qcow2 -F qcow2 out",
        "create -q -f qcow2 -b b.qcow2 -F qcow2 out",
        "create -f qcow2 -b sub -F qcow2 out",
    ];
    let case = |line: &&str| Case::makes(format!("create/backing/{}", label(line)), &BASES, line);
    let mut all: Vec<Case> = LINES.iter().map(case).collect();
    let line = "create -f qcow2 -b e.qcow2 -F qcow2 sub/out.qcow2";
    all.push(Case::after("create/backing/subdirectory", BASES.script, line));
    all
}

/// A target that exists already.
fn existing() -> Vec<Case> {
    let setups = [
        ("raw", "noise out 100k 1"),
        ("qcow2", "img create -f qcow2 out 3M"),
        ("empty", "sparse out 0"),
        ("directory", "dir out"),
        ("link", "noise there 10k 1\nlink out there"),
        ("dangling-link", "link out there"),
        ("loop-link", "link out out"),
    ];
    let mut all = Vec::new();
    for (name, setup) in setups {
        for format in ["raw", "qcow2"] {
            let line = format!("create -f {format} out 1M");
            all.push(Case::after(format!("create/existing/{name}/{format}"), setup, &line));
        }
    }
    all.push(Case::alone("create/existing/no-directory", "create -f qcow2 no/where 1M"));
    all.push(Case::after("create/existing/file-as-directory", "text f x", "create -f qcow2 f/out 1M"));
    all
}

/// The shapes that command lines have.
fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "create",
        "create -f qcow2",
        "create -f qcow2 out",
        "create out",
        "create out 1M",
        "create out 1M 2M",
        "create -f qcow2 out 1M extra",
        "create out 1M -f qcow2",
        "create out -f qcow2 1M",
        "create -fqcow2 out 1M",
        "create -f qcow2 -ocluster_size=4k out 1M",
        "create -f qcow2 -o cluster_size=4k -o compat=0.10 -o lazy_refcounts=off out 1M",
        "create -f qcow2 -o cluster_size=4k -o cluster_size=8k out 1M",
        "create --format qcow2 out 1M",
        "create --format=qcow2 --options=cluster_size=4k out 1M",
        "create --form=qcow2 out 1M",
        "create --backing-format=qcow2 out 1M",
        "create --quiet -f qcow2 out 1M",
        "create -q -f qcow2 out 1M",
        "create -qf qcow2 out 1M",
        "create -f",
        "create -f foo out 1M",
        "create -f '' out 1M",
        "create -f vmdk2 out 1M",
        "create -f cloop out 1M",
        "create -f dmg out 1M",
        "create -f bochs out 1M",
        "create -f file out 1M",
        "create -f file -o help",
        "create -f qcow2 -o help",
        "create -f raw -o help",
        "create -o help",
        "create -f cloop -o help",
        "create -f foo -o help",
        "create -f qcow2 -o '?' out",
        "create -f qcow2 -- out 1M",
        "create -f qcow2 -- -out 1M",
        "create -x out 1M",
        "create --foo out 1M",
        "create --ob out 1M",
        "create -b out",
        "create -f qcow2 file:out 1M",
        "create -f qcow2 json:{} 1M",
        "create -f qcow2 json:{\"driver\":\"file\",\"filename\":\"out\"} 1M",
        "create -f qcow2 '' 1M",
        "create -f qcow2 'name with spaces' 1M",
        "create -f qcow2 'with,comma' 1M",
        "create -f qcow2 ./with:colon 1M",
        "create -f qcow2 with:colon 1M",
        "create -f raw nbd:out 1M",
        "create -f qcow2 \\xff\\xfe 1M",
        "create -u -f qcow2 out 1M",
        "create -u -f qcow2 out",
        "create --object secret,id=s,data=x -f qcow2 out 1M",
        "create --object foo,id=s -f qcow2 out 1M",
        "create --object '' -f qcow2 out 1M",
        "create -e -f qcow2 out 1M",
        "create -6 -f vmdk out 1M",
        "create -f qcow2 -o encryption=on out 1M",
        "create -f qcow2 -o encrypt.format=foo out 1M",
        "create -f qcow2 -o encrypt.key-secret=x out 1M",
    ];
    let case = |line: &&str| Case::alone(format!("create/line/{}", label(line)), line);
    LINES.iter().map(case).collect()
}
