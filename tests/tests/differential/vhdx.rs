//! `vhdx`: options of new images, and headers, regions, metadata and tables that are wrong.

use testkit::case::{Case, label};

/// Sealed structures that are changed have their checksums made anew.
const HEADERS: &str = "seal a.vhdx 64k 4k\nseal a.vhdx 128k 4k";
const TABLES: &str = "seal a.vhdx 192k 64k\nseal a.vhdx 256k 64k";

/// What is done to an image of 20 MiB with three blocks, the numbers with their low byte first.
const DAMAGE: &[(&str, &str)] = &[
    ("sound", ""),
    ("signature", "poke a.vhdx @0:1 = 0x78"),
    ("first-header", "poke a.vhdx @0x10000:1 = 0x78"),
    ("second-header", "poke a.vhdx @0x20000:1 = 0x78"),
    ("both-headers", "poke a.vhdx @0x10000:1 = 0x78\npoke a.vhdx @0x20000:1 = 0x78"),
    ("header-sum", "poke a.vhdx @0x10100:1 = 1\npoke a.vhdx @0x20100:1 = 1"),
    ("version", "poke a.vhdx @0x10042:1 = 2\npoke a.vhdx @0x20042:1 = 2\nHEADERS"),
    ("log-version", "poke a.vhdx @0x10040:1 = 1\npoke a.vhdx @0x20040:1 = 1\nHEADERS"),
    ("log-offset-0", "poke a.vhdx @0x10048:8 = 0\npoke a.vhdx @0x20048:8 = 0\nHEADERS"),
    ("log-offset-odd", "poke a.vhdx @0x10049:1 = 16\npoke a.vhdx @0x20049:1 = 16\nHEADERS"),
    ("log-length-0", "poke a.vhdx @0x10044:4 = 0\npoke a.vhdx @0x20044:4 = 0\nHEADERS"),
    ("log-length-odd", "poke a.vhdx @0x10045:1 = 16\npoke a.vhdx @0x20045:1 = 16\nHEADERS"),
    (
        "log-length-odd-in-use",
        "poke a.vhdx @0x10045:1 = 16\npoke a.vhdx @0x20045:1 = 16\npoke a.vhdx @0x10030:1 = 1\npoke a.vhdx @0x20030:1 = 1\nHEADERS",
    ),
    ("log-in-use-empty", "poke a.vhdx @0x10030:1 = 1\npoke a.vhdx @0x20030:1 = 1\nHEADERS"),
    ("log-overlaps", "poke a.vhdx @0x10046:1 = 32\npoke a.vhdx @0x20046:1 = 32\nHEADERS"),
    ("table-signature", "poke a.vhdx @0x30000:1 = 0x78\nTABLES"),
    ("table-sum", "poke a.vhdx @0x30100:1 = 1"),
    ("second-table-sum", "poke a.vhdx @0x40100:1 = 1"),
    ("table-count-1", "poke a.vhdx @0x30008:1 = 1\nTABLES"),
    ("table-count-3", "poke a.vhdx @0x30008:1 = 3\nTABLES"),
    ("table-count-2048", "poke a.vhdx @0x30008:2 = 0x0008\nTABLES"),
    ("table-unknown", "poke a.vhdx @0x30008:1 = 3\npoke a.vhdx @0x30050:8 = 7\nTABLES"),
    (
        "table-unknown-required",
        "poke a.vhdx @0x30008:1 = 3\npoke a.vhdx @0x30050:8 = 7\npoke a.vhdx @0x3006c:1 = 1\nTABLES",
    ),
    ("table-overlap", "poke a.vhdx @0x30022:1 = 0x30\nTABLES"),
    ("bat-short", "poke a.vhdx @0x30028:4 = 0x10000000\nTABLES"),
    ("bat-just", "poke a.vhdx @0x30028:4 = 0x18000000\nTABLES"),
    ("bat-beyond", "poke a.vhdx @0x30024:1 = 1\nTABLES"),
    ("metadata-beyond", "poke a.vhdx @0x30044:1 = 1\nTABLES"),
    ("metadata-signature", "poke a.vhdx @0x300000:1 = 0"),
    ("metadata-count-4", "poke a.vhdx @0x30000a:1 = 4"),
    ("metadata-count-6", "poke a.vhdx @0x30000a:1 = 6"),
    ("metadata-count-2047", "poke a.vhdx @0x30000a:2 = 0xff07"),
    ("metadata-count-2048", "poke a.vhdx @0x30000a:2 = 0x0008"),
    ("metadata-unknown", "poke a.vhdx @0x30000a:1 = 6\npoke a.vhdx @0x3000c0:8 = 7"),
    (
        "metadata-unknown-required",
        "poke a.vhdx @0x30000a:1 = 6\npoke a.vhdx @0x3000c0:8 = 7\npoke a.vhdx @0x3000d8:1 = 4",
    ),
    ("metadata-offset", "poke a.vhdx @0x300030:4 = 0xffffffff"),
    ("block-size-0", "poke a.vhdx @0x310000:4 = 0"),
    ("block-size-small", "poke a.vhdx @0x310000:4 = 0x00000800"),
    ("block-size-1M", "poke a.vhdx @0x310000:4 = 0x00001000"),
    ("block-size-odd", "poke a.vhdx @0x310000:4 = 0x00003000"),
    ("block-size-256M", "poke a.vhdx @0x310000:4 = 0x00000010"),
    ("block-size-512M", "poke a.vhdx @0x310000:4 = 0x00000020"),
    ("leave-allocated", "poke a.vhdx @0x310004:1 = 1"),
    ("has-parent", "poke a.vhdx @0x310004:1 = 2"),
    ("size-0", "poke a.vhdx @0x310008:8 = 0"),
    ("size-1000", "poke a.vhdx @0x310008:8 = 0xe803000000000000"),
    ("size-odd", "poke a.vhdx @0x310008:1 = 1"),
    ("size-larger", "poke a.vhdx @0x310008:4 = 0x00008001"),
    ("size-huge", "poke a.vhdx @0x31000d:1 = 1"),
    ("size-negative", "poke a.vhdx @0x31000f:1 = 0x80"),
    ("sector-0", "poke a.vhdx @0x310020:4 = 0"),
    ("sector-1024", "poke a.vhdx @0x310020:4 = 0x00040000"),
    ("physical-0", "poke a.vhdx @0x310024:4 = 0"),
    ("entry-not-present", "poke a.vhdx @0x200000:8 = 0"),
    ("entry-undefined", "poke a.vhdx @0x200000:8 = 0x0100000000000000"),
    ("entry-zero", "poke a.vhdx @0x200000:1 = 2"),
    ("entry-unmapped", "poke a.vhdx @0x200000:1 = 3"),
    ("entry-4", "poke a.vhdx @0x200000:1 = 4"),
    ("entry-5", "poke a.vhdx @0x200000:1 = 5"),
    ("entry-partial", "poke a.vhdx @0x200000:1 = 7"),
    ("entry-reserved", "poke a.vhdx @0x200000:1 = 0x0e"),
    ("entry-in-header", "poke a.vhdx @0x200000:8 = 0x0600000000000000"),
    ("entry-in-log", "poke a.vhdx @0x200000:8 = 0x0600100000000000"),
    ("entry-at-the-end", "poke a.vhdx @0x200000:8 = 0x0600900100000000"),
    ("entry-beyond", "poke a.vhdx @0x200000:8 = 0x0600000000010000"),
    ("entry-overflow", "poke a.vhdx @0x200000:8 = 0x0600f0ffffffffff"),
    ("entry-twice", "poke a.vhdx @0x200000:8 = 0x0600000100000000"),
    ("cut-little", "cut a.vhdx 33549432"),
    ("cut-last", "cut a.vhdx 24M"),
    ("cut-blocks", "cut a.vhdx 20M"),
    ("cut-all-blocks", "cut a.vhdx 8M"),
    ("cut-metadata", "cut a.vhdx 3M"),
    ("cut-all", "cut a.vhdx 100"),
    ("longer", "cut a.vhdx 40000000"),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f vhdx a.vhdx"),
    ("map", "map -f vhdx --output=json a.vhdx"),
    ("check", "check -f vhdx a.vhdx"),
    ("check-json", "check -f vhdx --output=json a.vhdx"),
    ("repair", "check -f vhdx -r all a.vhdx"),
    ("convert", "convert -f vhdx -O raw a.vhdx out"),
];

const OPTIONS: &[&str] = &[
    "subformat=dynamic",
    "subformat=fixed",
    "subformat=Fixed",
    "subformat=",
    "subformat=differencing",
    "log_size=0",
    "log_size=1",
    "log_size=1500k",
    "log_size=3M",
    "log_size=4G",
    "log_size=-1",
    "block_size=1",
    "block_size=1M",
    "block_size=1500k",
    "block_size=3M",
    "block_size=256M",
    "block_size=257M",
    "block_size=8E",
    "block_state_zero=off",
    "block_state_zero=on",
    "block_state_zero=x",
    "block_state_zero=on,subformat=fixed",
    "block_state_zero=off,subformat=fixed",
    "block_size=1M,log_size=2M,subformat=fixed,block_state_zero=off",
    "block_size=3M,log_size=0",
    "preallocation=off",
    "preallocation=full",
    "preallocation=x",
    "nocow=on",
    "backing_file=x",
];

const SIZES: &[&str] =
    // Of a larger disk the oracle reads every byte.
    &["0", "1", "512", "1000001", "1M", "33M", "257M", "65T", "8E"];

pub fn cases() -> Vec<Case> {
    const BLOCKS: &str = "noise n.raw 20M 1\nimg convert -f raw -O vhdx n.raw a.vhdx";
    let mut all = Vec::new();
    for (name, damage) in DAMAGE {
        let damage = damage.replace("HEADERS", HEADERS).replace("TABLES", TABLES);
        let setup = format!("{BLOCKS}\n{damage}");
        for (command, line) in COMMANDS {
            all.push(Case::after(format!("vhdx/damage/{name}/{command}"), &*setup, line));
        }
    }
    for option in OPTIONS {
        let line = format!("create -f vhdx -o '{option}' out 10M");
        all.push(Case::alone(format!("vhdx/create/{}", label(option)), &line));
    }
    for size in SIZES {
        for (name, options) in
            [("plain", ""), ("blocks-1M", "-o block_size=1M"), ("fixed", "-o subformat=fixed")]
        {
            // A table for so many blocks takes the oracle long, and a file that long does not fit everywhere.
            if name == "plain" || !size.ends_with(['T', 'G']) {
                let line = format!("create -f vhdx {options} out {size}");
                all.push(Case::alone(format!("vhdx/size/{size}/{name}"), &line));
            }
        }
    }
    all.extend(lines(BLOCKS));
    all
}

fn lines(setup: &str) -> Vec<Case> {
    const LINES: &[&str] = &[
        "info a.vhdx",
        "info --output=json a.vhdx",
        "info --image-opts driver=vhdx,file.filename=a.vhdx,foo=x",
        "check a.vhdx",
        "check -r leaks a.vhdx",
        "check -r all --output=json a.vhdx",
        "resize a.vhdx 30M",
        "resize --shrink a.vhdx 2M",
        "amend -o size=30M a.vhdx",
        "amend -f vhdx -o help",
        "rebase -u -b '' a.vhdx",
        "commit a.vhdx",
        "snapshot -c x a.vhdx",
        "snapshot -l a.vhdx",
        "bitmap --add a.vhdx b",
        "measure -O vhdx a.vhdx",
        "measure -O qcow2 a.vhdx",
        "measure -O vhdx --size 1M",
        "create -f vhdx -b a.vhdx -F vhdx out",
        "create -f qcow2 -b a.vhdx -F vhdx out",
        "create -f vhdx -o help",
        "convert -O vhdx -c a.vhdx out",
        "convert -O vhdx -B a.vhdx -F vhdx a.vhdx out",
        "convert -O vhdx -o subformat=x a.vhdx out",
        "convert -O vhdx -o block_size=1M a.vhdx out",
        "convert -O vhdx -o log_size=3M,subformat=fixed a.vhdx out",
        "convert -O vhdx -S 0 a.vhdx out",
        "compare a.vhdx n.raw",
        "compare -s a.vhdx n.raw",
        "dd if=a.vhdx of=out bs=1M count=3 skip=1 -O vhdx",
        "bench -w -c 3 -s 4096 a.vhdx",
        "info --backing-chain a.vhdx",
    ];
    let case = |line: &&str| Case::after(format!("vhdx/line/{}", label(line)), setup, line);
    LINES.iter().map(case).collect()
}
