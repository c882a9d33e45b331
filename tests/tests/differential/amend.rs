//! `amend`: every shape to other features, every combination, and everything that is refused.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

/// What every qcow2 shape goes through.
const CHANGES: &[&str] = &[
    "compat=0.10",
    "compat=1.1",
    "refcount_bits=1",
    "refcount_bits=8",
    "refcount_bits=64",
    "lazy_refcounts=on",
    "size=9M",
    "size=100k,refcount_bits=32,lazy_refcounts=off",
];

pub fn cases() -> Vec<Case> {
    let suited = |shape: &&Shape| shape.format == "qcow2" && !shape.traits.huge;
    let mut all: Vec<Case> = shapes::readable().filter(suited).flat_map(of_shape).collect();
    all.extend(shapes::BROKEN.iter().map(|shape| {
        let line = format!("amend -f {} -o lazy_refcounts=on {}", shape.format, shape.image);
        Case::after(format!("amend/{}", shape.name), shape.script, &line)
    }));
    all.extend(widths());
    all.extend(downgrades());
    all.extend(options());
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let case = |change: &&str| {
        let line = format!("amend -f qcow2 -o {change} {}", shape.image);
        Case::after(format!("amend/{}/{change}", shape.name), shape.script, &line)
    };
    // With the widest clusters qemu-img walks all 2^38 places of such a table: hours.
    let is_endless =
        |change: &&&str| shape.script.contains("cluster_size=2M") && change.contains("refcount_bits");
    CHANGES.iter().filter(|change| !is_endless(change)).map(case).collect()
}

/// Every width to every other one.
fn widths() -> Vec<Case> {
    const WIDTHS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
    let mut all = Vec::new();
    for cluster in ["512", "64k"] {
        for from in WIDTHS {
            let snapshots = if from == 1 { "" } else { "img snapshot -c s a.qcow2\n" };
            let setup = format!(
                "img create -f qcow2 -o cluster_size={cluster},refcount_bits={from} a.qcow2 1M
                 io -f qcow2 a.qcow2 | write -P 1 0 200k | write -z 600k 100k
                 {snapshots}io -f qcow2 a.qcow2 | write -P 2 100k 200k"
            );
            for to in WIDTHS {
                let line = format!("amend -o refcount_bits={to} a.qcow2");
                all.push(Case::after(format!("amend/width/{cluster}/{from}/{to}"), setup.clone(), &line));
            }
        }
    }
    all
}

/// Images with what version 2 has not.
fn downgrades() -> Vec<Case> {
    const SETUPS: &[(&str, &str)] = &[
        ("zeroes", "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 64k | write -zu 512k 64k | write -z 2M 1M"),
        (
            "zeroes-backed",
            "img create -f qcow2 b.qcow2 4M\nio -f qcow2 b.qcow2 | write -P 9 0 4M\nimg create -f qcow2 -b b.qcow2 -F qcow2 a.qcow2
             io -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 64k | write -zu 512k 64k | write -z 2M 1M",
        ),
        (
            "zeroes-512",
            "img create -f qcow2 b.qcow2 1M\nio -f qcow2 b.qcow2 | write -P 9 0 1M
             img create -f qcow2 -o cluster_size=512 -b b.qcow2 -F qcow2 a.qcow2
             io -f qcow2 a.qcow2 | write -P 1 0 100k | write -z 50k 20k | write -z 500k 300k",
        ),
        (
            "zeroes-in-snapshot",
            "img create -f qcow2 b.qcow2 4M\nio -f qcow2 b.qcow2 | write -P 9 0 4M\nimg create -f qcow2 -b b.qcow2 -F qcow2 a.qcow2
             io -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 64k | write -z 2M 1M\nimg snapshot -c s a.qcow2
             io -f qcow2 a.qcow2 | write -P 3 0 4M",
        ),
        (
            "zeroes-shared",
            "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 64k | write -z 2M 1M
             img snapshot -c s a.qcow2\nimg snapshot -c t a.qcow2",
        ),
        (
            "zeroes-shared-backed",
            "img create -f qcow2 b.qcow2 4M\nio -f qcow2 b.qcow2 | write -P 9 0 4M\nimg create -f qcow2 -b b.qcow2 -F qcow2 a.qcow2
             io -f qcow2 a.qcow2 | write -P 1 0 1M | write -z 256k 64k | write -z 2M 1M\nimg snapshot -c s a.qcow2",
        ),
        ("snapshot-of-other-size", "img create -f qcow2 a.qcow2 1M\nimg snapshot -c s a.qcow2\nimg resize a.qcow2 2M"),
        ("lazy", "img create -f qcow2 -o lazy_refcounts=on a.qcow2 1M"),
        ("zstd", "img create -f qcow2 -o compression_type=zstd a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 100k"),
        ("zstd-used", "prose n.raw 1M 1\nimg convert -c -O qcow2 -o compression_type=zstd n.raw a.qcow2"),
        ("subclusters", "img create -f qcow2 -o extended_l2=on a.qcow2 1M"),
        ("width", "img create -f qcow2 -o refcount_bits=32 a.qcow2 1M"),
        ("subclusters-width", "img create -f qcow2 -o extended_l2=on,refcount_bits=8 a.qcow2 1M"),
        ("data-file", "img create -f qcow2 -o data_file=d.raw a.qcow2 1M"),
        ("bitmap", "img create -f qcow2 a.qcow2 1M\nimg bitmap --add a.qcow2 b\nio -f qcow2 a.qcow2 | write -P 1 0 1M"),
        (
            "zstd-in-snapshot",
            "prose n.raw 1M 1\nimg convert -c -O qcow2 -o compression_type=zstd n.raw a.qcow2\nimg snapshot -c s a.qcow2
             io -f qcow2 a.qcow2 | write -P 1 0 1M",
        ),
    ];
    const CHANGES: &[&str] =
        &["compat=0.10", "compat=v2,refcount_bits=16", "compat=v2,size=2M", "compat=v2,lazy_refcounts=off"];
    let mut all = Vec::new();
    for (name, setup) in SETUPS {
        for change in CHANGES {
            let line = format!("amend -o {change} a.qcow2");
            all.push(Case::after(format!("amend/downgrade/{name}/{change}"), *setup, &line));
        }
    }
    all
}

/// Every option and what does not go together.
fn options() -> Vec<Case> {
    const SETUPS: &[(&str, &str)] = &[
        ("v3", "img create -f qcow2 a.qcow2 1M"),
        ("v2", "img create -f qcow2 -o compat=0.10 a.qcow2 1M"),
        ("backed", "noise b.raw 1M 1\nimg create -f qcow2 -b b.raw -F raw a.qcow2"),
        ("data-file", "img create -f qcow2 -o data_file=d.raw a.qcow2 1M\nsparse e.raw 1M"),
        (
            "raw-data-file",
            "img create -f qcow2 -o data_file=d.raw,data_file_raw=on a.qcow2 1M\nsparse e.raw 1M",
        ),
    ];
    const OPTIONS: &[&str] = &[
        "compat=foo",
        "compat=0.9",
        "compat=v3",
        "compat=",
        "compat",
        "compat=v2,lazy_refcounts=on",
        "compat=v2,compat=v3",
        "lazy_refcounts=on",
        "lazy_refcounts=off",
        "lazy_refcounts=foo",
        "refcount_bits=3",
        "refcount_bits=0",
        "refcount_bits=128",
        "refcount_bits=foo",
        "refcount_bits=-1",
        "refcount_bits=16",
        "refcount_bits=8,lazy_refcounts=on",
        "refcount_bits=8,compat=v3,lazy_refcounts=on",
        "compat=0.10,refcount_bits=64",
        "compression_type=zstd",
        "compression_type=foo",
        "cluster_size=4k",
        "cluster_size=foo",
        "cluster_size=4k,foo=3",
        "cluster_size=4k,lazy_refcounts=foo",
        "lazy_refcounts=foo,cluster_size=4k",
        "preallocation=metadata",
        "encryption=on",
        "encrypt.format=luks",
        "encrypt.key-secret=x",
        "encrypt.state=active",
        "encrypt.new-secret=x",
        "encrypt.iter-time=foo",
        "encrypt.keyslot=1",
        "extended_l2=on",
        "nocow=on",
        "foo=1",
        "foo",
        "size=2M",
        "size=1M",
        "size=512k",
        "size=513",
        "size=0",
        "size=foo",
        "size=-1",
        "size=8E",
        "size=7E",
        "size=100P",
        "size=9223372036854775807",
        "size=2M,size=3M",
        "size=513,lazy_refcounts=on",
        "data_file=d.raw",
        "data_file=e.raw",
        "data_file=",
        "data_file_raw=on",
        "data_file_raw=off",
        "backing_file=b.raw",
        "backing_file=b.raw,backing_fmt=raw",
        "backing_file=./b.raw,backing_fmt=raw",
        "backing_file=b.raw,backing_fmt=qcow2",
        "backing_file=gone,backing_fmt=raw",
        "backing_file=",
        "backing_fmt=raw",
        "backing_fmt=",
        "backing_file=,compat=v2",
    ];
    let mut all = Vec::new();
    for (name, setup) in SETUPS {
        for option in OPTIONS {
            let line = format!("amend -o {option} a.qcow2");
            all.push(Case::after(format!("amend/option/{name}/{option}"), *setup, &line));
        }
    }
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "amend",
        "amend a.qcow2",
        "amend -o compat=0.10",
        "amend -o compat=0.10 a.qcow2 b.qcow2",
        "amend -o help",
        "amend -o help a.qcow2",
        "amend -o help -f qcow2",
        "amend -o help -f luks",
        "amend -o help -f raw",
        "amend -o help -f vmdk",
        "amend -o help -f bochs",
        "amend -o help -f foo",
        "amend -o help b.raw",
        "amend -f raw -o help b.raw",
        "amend -o help gone",
        "amend -o 'compat=1.1,?' a.qcow2",
        "amend -o help -o compat=v2 a.qcow2",
        "amend -o help=on a.qcow2",
        "amend -f raw -o size=2M b.raw",
        "amend -f raw -o foo=2M b.raw",
        "amend -o size=2M b.raw",
        "amend -o size=2M gone",
        "amend -f foo -o size=2M a.qcow2",
        "amend -o '' a.qcow2",
        "amend -o ,, a.qcow2",
        "amend -o size=2M -o lazy_refcounts=on a.qcow2",
        "amend -o cluster_size=4k -o size=2M a.qcow2",
        "amend --image-opts -o help driver=qcow2,file.filename=a.qcow2",
        "amend --image-opts -o compat=0.10 driver=qcow2,file.filename=a.qcow2",
        "amend --image-opts -f qcow2 -o compat=0.10 driver=qcow2,file.filename=a.qcow2",
        "amend --image-opts -o compat=0.10 driver=qcow2,read-only=on,file.filename=a.qcow2",
        "amend -t foo -o compat=v3 a.qcow2",
        "amend -t none -o compat=v2 a.qcow2",
        "amend -t writethrough -o refcount_bits=8 a.qcow2",
        "amend -t unsafe -o refcount_bits=8 a.qcow2",
        "amend -p -o compat=v3 a.qcow2",
        "amend -p -o compat=v2 a.qcow2",
        "amend -p -o refcount_bits=64 a.qcow2",
        "amend -p -q -o refcount_bits=64 a.qcow2",
        "amend -p -o compat=foo a.qcow2",
        "amend -p -o foo=1 a.qcow2",
        "amend -p -o size=513 a.qcow2",
        "amend -p -o help a.qcow2",
        "amend -p -o help -f qcow2 a.qcow2",
        "amend -p -f raw -o help",
        "amend -p -t foo -o size=2M a.qcow2",
        "amend -p -o size=2M gone",
        "amend -p -o size=2M",
        "amend -p",
        "amend -q -o compat=v2 a.qcow2",
        "amend --force -o compat=v2 a.qcow2",
        "amend --object foo -o size=2M a.qcow2",
        "amend --object secret,id=s,data=x -o size=2M a.qcow2",
        "amend -x a.qcow2",
    ];
    const SETUP: &str =
        "img create -f qcow2 a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 100k\nnoise b.raw 1M 1";
    let mut all: Vec<Case> =
        LINES.iter().map(|line| Case::after(format!("amend/line/{}", label(line)), SETUP, line)).collect();
    all.push(Case::after(
        "amend/renamed-data-file",
        "img create -f qcow2 -o data_file=d.raw a.qcow2 1M\nio -f qcow2 a.qcow2 | write -P 1 0 100k\nimg convert -O raw a.qcow2 e.raw",
        "amend -o data_file=e.raw a.qcow2",
    ));
    all
}
