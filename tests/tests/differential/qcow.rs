//! `qcow`, version 1: options of new images, headers and tables that are wrong, encryption, what stands behind an
//! image.

use testkit::case::{Case, label};

/// What is done to an image of 1.5 MiB with all its clusters in use, of which the table follows the header; the
/// numbers with their low byte last.
const DAMAGE: &[(&str, &str)] = &[
    ("magic", "poke a.qcow @0:1 = 1"),
    ("version-0", "poke a.qcow @4:4 = 0"),
    ("version-2", "poke a.qcow @4:4 = 2"),
    ("version-3", "poke a.qcow @4:4 = 3"),
    ("version-4", "poke a.qcow @4:4 = 4"),
    ("backing-name", "poke a.qcow @8:8 = 48\npoke a.qcow @16:4 = 8"),
    ("backing-name-long", "poke a.qcow @8:8 = 48\npoke a.qcow @16:4 = 1024"),
    ("backing-name-far", "poke a.qcow @8:8 = 0x10000000\npoke a.qcow @16:4 = 5"),
    ("backing-name-0", "poke a.qcow @8:8 = 0\npoke a.qcow @16:4 = 5"),
    ("mtime", "poke a.qcow @20:4 = 12345"),
    ("size-0", "poke a.qcow @24:8 = 0"),
    ("size-1", "poke a.qcow @24:8 = 1"),
    ("size-2", "poke a.qcow @24:8 = 2"),
    ("size-odd", "poke a.qcow @24:8 = 1000001"),
    ("size-larger", "poke a.qcow @24:8 = 0x400000"),
    ("size-too-large", "poke a.qcow @24:8 = 0x7fffffffffffffff"),
    ("size-most", "poke a.qcow @24:8 = 0xffffffffffffffff"),
    ("cluster-bits-8", "poke a.qcow @32:1 = 8"),
    ("cluster-bits-9", "poke a.qcow @32:1 = 9"),
    ("cluster-bits-16", "poke a.qcow @32:1 = 16"),
    ("cluster-bits-17", "poke a.qcow @32:1 = 17"),
    ("l2-bits-5", "poke a.qcow @33:1 = 5"),
    ("l2-bits-6", "poke a.qcow @33:1 = 6"),
    ("l2-bits-13", "poke a.qcow @33:1 = 13"),
    ("l2-bits-14", "poke a.qcow @33:1 = 14"),
    ("padding", "poke a.qcow @34:2 = 0xffff"),
    ("encrypted", "poke a.qcow @36:4 = 1"),
    ("encrypted-2", "poke a.qcow @36:4 = 2"),
    ("entry-none", "poke a.qcow @4096:8 = 0"),
    ("entry-twice", "poke a.qcow @4096:8 = 0x4000"),
    ("entry-odd", "poke a.qcow @4096:8 = 0x4321"),
    ("entry-far", "poke a.qcow @4096:8 = 0x10000000000"),
    ("entry-compressed", "poke a.qcow @4096:8 = 0x8008000000004000"),
    ("entry-compressed-0", "poke a.qcow @4096:8 = 0x8000000000004000"),
    ("entry-compressed-far", "poke a.qcow @4096:8 = 0x8008010000000000"),
    ("table-none", "poke a.qcow @48:8 = 0"),
    ("table-is-data", "poke a.qcow @48:8 = 0x4000"),
    ("longer", "cut a.qcow 1700001"),
    ("cut-off-data", "cut a.qcow 1000000"),
    ("cut-off-header", "cut a.qcow 47"),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f qcow a.qcow"),
    ("map", "map -f qcow --output=json a.qcow"),
    ("convert", "convert -f qcow -O raw a.qcow out"),
    ("check", "check -f qcow a.qcow"),
];

const OPTIONS: &[&str] = &[
    "size=5M",
    "cluster_size=4k",
    "preallocation=off",
    "preallocation=falloc",
    "preallocation=metadata",
    "nocow=on",
    "backing_fmt=raw",
    "backing_file=b.raw",
    "backing_file=",
    "backing_file=b.raw,backing_fmt=raw",
    "backing_file=b.raw,backing_fmt=qcow2",
    "backing_file=gone,backing_fmt=raw",
    "encryption=on",
    "encryption=off",
    "encryption=on,encrypt.key-secret=s",
    "encryption=on,encrypt.format=aes,encrypt.key-secret=s",
    "encrypt.format=aes",
    "encrypt.format=luks",
    "encrypt.format=luks,encrypt.key-secret=s",
    "encrypt.format=foo",
    "encrypt.key-secret=s",
    "encrypt.format=aes,encrypt.key-secret=s",
    "encrypt.format=aes,encrypt.key-secret=zz",
    "encrypt.format=aes,encrypt.key-secret=s,backing_file=b.raw,backing_fmt=raw",
];

const SIZES: &[&str] = &["0", "1", "2", "511", "512", "513", "1000001", "1M", "33M", "1T", "1E", "7E", "8E"];

const SECRETS: &str = "--object secret,id=s,data=pass --object secret,id=w,data=wrong";

pub fn cases() -> Vec<Case> {
    const IMAGE: &str = "noise n.raw 1536k 1\nimg convert -q -f raw -O qcow n.raw a.qcow";
    let mut all = Vec::new();
    for (name, steps) in DAMAGE {
        let setup = format!("{IMAGE}\n{steps}");
        for (command, line) in COMMANDS {
            all.push(Case::after(format!("qcow/damage/{name}/{command}"), &*setup, line));
        }
    }
    for option in OPTIONS {
        let line = format!("create {SECRETS} -f qcow -o '{option}' out 3M");
        all.push(Case::after(format!("qcow/create/{}", label(option)), "noise b.raw 2M 3", &line));
    }
    for size in SIZES {
        all.push(Case::alone(format!("qcow/size/{size}"), &format!("create -f qcow out {size}")));
    }
    all.extend(lines());
    all.extend(encrypted());
    all
}

/// What is done to small images, most of them over others.
fn lines() -> Vec<Case> {
    const CHAIN: &str = "noise b.raw 1500160 1\nnoise long.raw 3M 2\nprose p.raw 2M 3
        img create -q -f qcow base.qcow 4M\nio -f qcow base.qcow | write -q -P 9 0 3M | write -q -z 1M 64k
        img create -q -f qcow -b b.raw -F raw a.qcow 1800192
        io -f qcow a.qcow | write -q -P 1 100k 100k | write -q -z 512k 128k | write -q -P 2 1400k 4k
        img create -q -f qcow -b base.qcow -F qcow over.qcow 2M
        io -f qcow over.qcow | write -q -P 1 100k 100k | write -q -z 512k 128k
        img create -q -f qcow alone.qcow 2M\nio -f qcow alone.qcow | write -q -P 3 1M 70k | write -q -z 0 64k
        img create -q -f qcow packed.qcow 2M
        io -f qcow packed.qcow | write -q -c -P 5 0 4k | write -q -c -P 6 4k 4k | write -q -P 7 8k 4k | write -q -c -P 8 1M 4k";
    const LINES: &[&str] = &[
        "info --output=json packed.qcow",
        "map --output=json over.qcow",
        "map --output=json packed.qcow",
        "map a.qcow",
        "check over.qcow",
        "check -r all over.qcow",
        "commit over.qcow",
        "commit -d over.qcow",
        "commit a.qcow",
        "commit alone.qcow",
        "rebase -b '' over.qcow",
        "rebase -u -b '' over.qcow",
        "rebase -u -b long.raw -F raw a.qcow",
        "resize alone.qcow 9M",
        "resize --shrink alone.qcow 1M",
        "amend -f qcow -o size=9M alone.qcow",
        "snapshot -l alone.qcow",
        "snapshot -c x alone.qcow",
        "bitmap --add alone.qcow x",
        "measure -O qcow alone.qcow",
        "measure -f qcow -O qcow2 packed.qcow",
        "convert -c -O qcow alone.qcow out",
        "convert -c -O qcow p.raw out",
        "convert -c -O qcow long.raw out",
        "convert -O qcow -B b.raw -F raw a.qcow out",
        "convert -c -O qcow -B b.raw -F raw a.qcow out",
        "convert -O qcow -o backing_file=base.qcow,backing_fmt=qcow over.qcow out",
        "convert -n -O qcow alone.qcow over.qcow",
        "convert -n -O qcow b.raw over.qcow",
        "convert -n -O qcow b.raw packed.qcow",
        "convert -O qcow -S 0 alone.qcow out",
        "convert -O qcow -W -m 16 over.qcow out",
        "convert -O qcow2 packed.qcow out",
        "compare over.qcow base.qcow",
        "compare packed.qcow p.raw",
        "dd -f qcow -O qcow if=over.qcow of=out bs=100k skip=1",
        "dd -f raw -O qcow if=b.raw of=out bs=64k count=3",
        "info --image-opts driver=qcow,file.filename=a.qcow,foo=1",
        "info --image-opts driver=qcow,file.filename=alone.qcow,encrypt.format=aes",
        "map --output=json --image-opts driver=qcow,file.filename=alone.qcow,backing.driver=raw,backing.file.filename=long.raw",
        "bench -f qcow -c 20 -s 4096 over.qcow",
        "bench -f qcow -w -c 20 -s 4096 -S 70000 over.qcow",
        "bench -f qcow -w -c 20 -s 512 -S 70000 packed.qcow",
    ];
    LINES.iter().map(|line| Case::after(format!("qcow/line/{}", label(line)), CHAIN, line)).collect()
}

/// What is done to images whose bytes are encrypted. `{s}` is one with its key, `{w}` with another.
fn encrypted() -> Vec<Case> {
    const LINES: &[&str] = &[
        "info a.qcow",
        "info --output=json a.qcow",
        "info --image-opts {s}",
        "map a.qcow",
        "map --output=json --image-opts {s}",
        "map --image-opts {s},encrypt.format=aes",
        "map --image-opts {s},encrypt.format=luks",
        "map --image-opts {s},encrypt.foo=1",
        "map --image-opts driver=qcow,file.filename=a.qcow,encrypt.key-secret=gone",
        "convert -O raw a.qcow out",
        "convert -O raw --image-opts {s} out",
        "convert -O raw --image-opts {w} out",
        "convert -O qcow2 --image-opts {s} out",
        "compare --image-opts {s} driver=raw,file.filename=n.raw",
        "convert -n --target-image-opts -f raw other.raw {s}",
        "convert -n --target-image-opts -f raw other.raw {o}",
        "convert -c -O qcow -o encrypt.format=aes,encrypt.key-secret=s n.raw out",
        "convert -n -c --target-image-opts -f raw other.raw {s}",
        "measure -O raw --image-opts {s}",
        "create -f qcow -b a.qcow -F qcow out",
        "commit --image-opts {o}",
    ];
    const SETUP: &str = "noise n.raw 1500000 1\nnoise other.raw 1500160 2
        img convert -q --object secret,id=s,data=pass -f raw -O qcow -o encrypt.format=aes,encrypt.key-secret=s n.raw a.qcow
        img create -q --object secret,id=s,data=pass -f qcow -b n.raw -F raw -o encrypt.format=aes,encrypt.key-secret=s o.qcow 2M";
    let image = |file: &str, key: &str| format!("driver=qcow,file.filename={file},encrypt.key-secret={key}");
    LINES
        .iter()
        .map(|line| {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest
                .replace("{s}", &image("a.qcow", "s"))
                .replace("{w}", &image("a.qcow", "w"))
                .replace("{o}", &image("o.qcow", "s"));
            let full = format!("{command} {SECRETS} {rest}");
            Case::after(format!("qcow/encrypted/{}", label(line)), SETUP, &full)
        })
        .collect()
}
