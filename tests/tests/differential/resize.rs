//! `resize`: every shape to other sizes, every preallocation, and everything that is refused.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

/// What every shape goes through.
const CHANGES: &[(&str, &str)] = &[
    ("more", "{img} +1M"),
    ("little-more", "{img} +512"),
    ("much-more", "{img} +700M"),
    ("metadata", "--preallocation=metadata {img} +300k"),
    ("falloc", "--preallocation=falloc {img} +1M"),
    ("full", "--preallocation=full {img} +200k"),
    ("less", "--shrink {img} -- -100k"),
    ("small", "--shrink {img} 70144"),
    ("smallest", "--shrink {img} 512"),
    ("same", "{img} +0"),
    ("less-denied", "{img} 512"),
];

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> =
        shapes::readable().filter(|shape| !shape.traits.huge).flat_map(of_shape).collect();
    all.extend(shapes::BROKEN.iter().map(|shape| {
        let line = shape_line(shape, "resize -f {fmt} {img} +1M");
        Case::after(format!("resize/{}", shape.name), shape.script, &line)
    }));
    all.extend(made());
    all.extend(over_longer_backing());
    all.extend(data_files());
    all.extend(lines());
    all
}

fn shape_line(shape: &Shape, line: &str) -> String {
    line.replace("{img}", shape.image).replace("{fmt}", shape.format)
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let case = |(variant, line): &(&str, &str)| {
        let line = shape_line(shape, &format!("resize -f {{fmt}} {line}"));
        Case::after(format!("resize/{}/{variant}", shape.name), shape.script, &line)
    };
    // Hiding so much of a backing image under clusters of 512 bytes takes qemu-img minutes.
    let is_slow = |name: &str| name == "much-more" && shape.name == "chain/three-clusters";
    CHANGES.iter().filter(|(variant, _)| !is_slow(variant)).map(case).collect()
}

/// Images of every version, cluster size and refcount width, with what can be in them.
fn made() -> Vec<Case> {
    const OPTIONS: &[(&str, &str)] = &[
        ("v2", "compat=0.10"),
        ("v3", "compat=1.1"),
        ("refcount-1", "refcount_bits=1"),
        ("refcount-2", "refcount_bits=2"),
        ("refcount-64", "refcount_bits=64"),
        ("sub", "extended_l2=on"),
        ("lazy", "lazy_refcounts=on"),
        ("metadata", "preallocation=metadata"),
    ];
    const INSIDE: &[(&str, &str)] = &[
        ("data", ""),
        ("snapshot", "img snapshot -c s a.qcow2\nio -f qcow2 a.qcow2 | write -P 3 100k 300k"),
        ("bitmap", "img bitmap --add -g 4k a.qcow2 b\nio -f qcow2 a.qcow2 | write -P 4 700k 500k"),
    ];
    const LINES: &[(&str, &str)] = &[
        ("grow", "resize a.qcow2 40M"),
        ("shrink", "resize --shrink a.qcow2 901120"),
        ("metadata", "resize --preallocation=metadata a.qcow2 3M"),
        ("full", "resize --preallocation=full a.qcow2 2600k"),
    ];
    let mut all = Vec::new();
    for cluster in ["512", "4k", "64k", "2M"] {
        for (option, options) in OPTIONS {
            for (inside, script) in INSIDE {
                let impossible = matches!((*option, *inside), ("v2", "bitmap") | ("refcount-1", "snapshot"))
                    || *option == "sub" && ["512", "4k"].contains(&cluster);
                if impossible {
                    continue;
                }
                let setup = format!(
                    "img create -f qcow2 -o cluster_size={cluster},{options} a.qcow2 2000k
                     io -f qcow2 a.qcow2 | write -P 1 0 200k | write -P 2 900k 100k | write -z 1200k 64k\n{script}"
                );
                for (variant, line) in LINES {
                    let name = format!("resize/made/{cluster}/{option}/{inside}/{variant}");
                    all.push(Case::after(name, setup.clone(), line));
                }
            }
        }
    }
    all
}

/// Growing over bytes of a backing image, which must not show.
fn over_longer_backing() -> Vec<Case> {
    let mut all = Vec::new();
    for options in ["compat=0.10", "compat=1.1", "extended_l2=on", "cluster_size=4k", "data_file=d.raw"] {
        for size in ["1M", "1025k", "1047552"] {
            for mode in ["off", "metadata", "falloc", "full"] {
                let name = format!("resize/backing/{options}/{size}/{mode}");
                let setup = format!(
                    "img create -f qcow2 base.qcow2 4M\nio -f qcow2 base.qcow2 | write -P 9 0 4M
                     img create -f qcow2 -o {options} -b base.qcow2 -F qcow2 a.qcow2 {size}"
                );
                let line = format!("resize --preallocation={mode} a.qcow2 3M");
                if ["compat=1.1", "extended_l2=on"].contains(&options) {
                    let setup = format!("{setup}\nimg bitmap --add -g 4k a.qcow2 b");
                    all.push(Case::after(format!("{name}/bitmap"), setup, &line));
                }
                all.push(Case::after(name, setup, &line));
            }
        }
    }
    all
}

/// External data files that are longer or shorter than their disk.
fn data_files() -> Vec<Case> {
    const LINES: &[&str] = &[
        "resize a.qcow2 3M",
        "resize a.qcow2 +0",
        "resize --shrink a.qcow2 1M",
        "resize --preallocation=metadata a.qcow2 3M",
        "resize --preallocation=falloc a.qcow2 3M",
        "resize --preallocation=full a.qcow2 3M",
    ];
    let mut all = Vec::new();
    for raw in ["on", "off"] {
        for (length, cut) in [("equal", "2M"), ("longer", "8M"), ("shorter", "512k")] {
            let setup = format!(
                "img create -f qcow2 -o data_file=d.raw,data_file_raw={raw} a.qcow2 2M
                 io -f qcow2 a.qcow2 | write -P 1 0 64k | write -P 2 1M 64k\ncut d.raw {cut}"
            );
            for line in LINES {
                let name = format!("resize/data-file/{raw}/{length}/{}", label(line));
                all.push(Case::after(name, setup.clone(), line));
            }
        }
    }
    all
}

fn lines() -> Vec<Case> {
    const QCOW2: &[&str] = &[
        "resize",
        "resize a.qcow2",
        "resize 2M",
        "resize +1M a.qcow2",
        "resize a.qcow2 2M 3M",
        "resize a.qcow2 b.qcow2 2M",
        "resize a.qcow2 -1M",
        "resize --shrink a.qcow2 -1M",
        "resize a.qcow2 -1M --shrink",
        "resize -1M a.qcow2",
        "resize -f raw /dev/null 1M",
        "resize -f raw /dev/null 0",
        "resize a.qcow2 -1M -2M",
        "resize --shrink a.qcow2 -- -1M",
        "resize a.qcow2 -.5M",
        "resize a.qcow2 -foo",
        "resize a.qcow2 -- -foo",
        "resize a.qcow2 -",
        "resize a.qcow2 +",
        "resize a.qcow2 ++1k",
        "resize a.qcow2 +-1k",
        "resize a.qcow2 ''",
        "resize a.qcow2 foo",
        "resize a.qcow2 1kb",
        "resize a.qcow2 0",
        "resize --shrink a.qcow2 0",
        "resize a.qcow2 -- -4M",
        "resize a.qcow2 -- -1T",
        "resize a.qcow2 0x500000",
        "resize a.qcow2 4.5M",
        "resize a.qcow2 5000000",
        "resize a.qcow2 +1",
        "resize a.qcow2 100P",
        "resize a.qcow2 3E",
        "resize a.qcow2 7E",
        "resize a.qcow2 8E",
        "resize a.qcow2 +8E",
        "resize a.qcow2 +18446744073709551615",
        "resize a.qcow2 18446744073709551616",
        "resize a.qcow2 9223372036854775807",
        "resize a.qcow2 9223372035781033984",
        "resize a.qcow2 9223372035781033985",
        "resize -q a.qcow2 5M",
        "resize -f qcow2 a.qcow2 5M",
        "resize -f raw a.qcow2 5M",
        "resize -f foo a.qcow2 5M",
        "resize -f qcow2 gone.qcow2 5M",
        "resize gone.qcow2 5M",
        "resize --preallocation=foo a.qcow2 5M",
        "resize --preallocation= a.qcow2 5M",
        "resize --preallocation a.qcow2",
        "resize --preallocation=foo gone.qcow2 foo",
        "resize --preallocation=full a.qcow2 +0",
        "resize --preallocation=full --shrink a.qcow2 -1M",
        "resize --preallocation=off --shrink a.qcow2 -1M",
        "resize --pre full a.qcow2 5M",
        "resize -U a.qcow2 5M",
        "resize --object secret,id=s a.qcow2 5M",
        "resize --object secret,id=s,data=x a.qcow2 5M",
        "resize --image-opts driver=qcow2,file.filename=a.qcow2 5M",
        "resize --image-opts driver=qcow2,read-only=on,file.filename=a.qcow2 5M",
        "resize --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 5M",
        "resize --image-opts driver=file,filename=a.qcow2 5M",
        "resize 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a.qcow2\"}}' 5M",
    ];
    const RAW: &[&str] = &[
        "resize a.raw 5M",
        "resize -f raw a.raw 5M",
        "resize -f raw a.raw +1",
        "resize -f raw --shrink a.raw 1000",
        "resize -f raw --shrink a.raw -1",
        "resize -f raw a.raw 1M",
        "resize -f raw a.raw 7E",
        "resize -f raw a.raw 9223372036854775807",
        "resize -f raw --preallocation=metadata a.raw 5M",
        "resize -f raw --preallocation=falloc a.raw 5M",
        "resize -f raw --preallocation=full a.raw 5M",
        "resize --image-opts driver=raw,offset=1M,file.filename=a.raw +1M",
        "resize --image-opts --shrink driver=raw,offset=1M,file.filename=a.raw 1M",
        "resize --image-opts driver=raw,offset=1M,size=1M,file.filename=a.raw 2M",
        "resize --image-opts driver=raw,size=1M,file.filename=a.raw 2M",
        "resize --image-opts driver=raw,offset=1M,file.filename=a.raw 9223372035781033984",
        "resize --image-opts driver=raw,read-only=on,file.filename=a.raw 5M",
    ];
    let qcow2 = "img create -f qcow2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 100k | write -P 2 3M 1M";
    let case = |setup: &'static str| {
        move |line: &&str| Case::after(format!("resize/line/{}", label(line)), setup, line)
    };
    let mut all: Vec<Case> = QCOW2.iter().map(case(qcow2)).collect();
    all.extend(RAW.iter().map(case("noise a.raw 4M 1")));
    all.push(Case::after(
        "resize/bitmap/too-large",
        "img create -f qcow2 a.qcow2 1M\nimg bitmap --add -g 512 a.qcow2 b",
        "resize a.qcow2 4T",
    ));
    all.push(Case::after(
        "resize/again/shrunk",
        format!("{qcow2}\nimg resize --shrink a.qcow2 3500k"),
        "resize a.qcow2 4M",
    ));
    all
}
