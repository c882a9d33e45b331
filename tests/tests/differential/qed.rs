//! `qed`: options of new images, headers and tables that are wrong, and changes in place.

use testkit::case::Case;

/// What is done to an image of 3 MiB in clusters of 64 KiB, the numbers with their low byte first.
///
/// Its first-level table is at 64 KiB, the first second-level one where that says.
const DAMAGE: &[(&str, &str)] = &[
    ("magic", "@0:1 = 1"),
    ("cluster-size", "@4:1 = 1"),
    ("cluster-size-large", "@4:4 = 0x00000010"),
    ("cluster-size-other", "@4:4 = 0x00000200"),
    ("table-size", "@8:1 = 3"),
    ("table-size-none", "@8:1 = 0"),
    ("header-size-none", "@12:1 = 0"),
    ("header-size", "@12:2 = 0xffff"),
    ("features", "@16:1 = 8"),
    ("need-check", "@16:1 = 2"),
    ("compat", "@24:1 = 0xff"),
    ("autoclear", "@32:1 = 0xff"),
    ("l1-odd", "@40:1 = 1"),
    ("l1-in-header", "@40:4 = 0"),
    ("l1-beyond", "@40:8 = 0x0000000000010000"),
    ("size-odd", "@48:1 = 1"),
    ("size-huge", "@48:8 = 0x0000000000000001"),
    ("size-nothing", "@48:8 = 0"),
    ("size-larger", "@48:4 = 0x00020001"),
    ("name-of-nothing", "@16:1 = 1"),
    ("name-beyond", "@16:1 = 1\npoke a.qed @56:4 = 0x00000100\npoke a.qed @60:4 = 0x01000000"),
    ("name-long", "@16:1 = 1\npoke a.qed @56:4 = 0x40000000\npoke a.qed @60:4 = 0xffff0000"),
    ("l1-entry-odd", "@65536:1 = 1"),
    ("l1-entry-beyond", "@65536:8 = 0x0000000000010000"),
    ("l1-entry-in-header", "@65544:8 = 0x0010000000000000"),
    ("l1-entry-table", "@65544:8 = 0x0000010000000000"),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f qed a.qed"),
    ("info-json", "info -f qed --output=json a.qed"),
    ("map", "map -f qed --output=json a.qed"),
    ("check", "check -f qed a.qed"),
    ("check-json", "check -f qed --output=json a.qed"),
    ("repair", "check -f qed -r all a.qed"),
    ("repair-leaks", "check -f qed -r leaks a.qed"),
    ("convert", "convert -f qed -O raw a.qed out"),
    ("bench-write", "bench -f qed -w -c 1 -s 512 a.qed"),
];

/// What is done to the entries of a second-level table, which is where an empty image ends.
const ENTRIES: &[(&str, &str)] = &[
    ("odd", "@0x50008:2 = 0x0101"),
    ("twice", "@0x50008:8 = 0x0000090000000000"),
    ("zero", "@0x50008:8 = 0x0100000000000000"),
    ("absent", "@0x50008:8 = 0"),
    ("beyond", "@0x50008:8 = 0x0000000000010000"),
    ("table", "@0x50008:8 = 0x0000050000000000"),
    ("header", "@0x50008:8 = 0x0000010000000000"),
    ("past-size", "@0x50200:8 = 0x0000090000000000"),
];

const OPTIONS: &[&str] = &[
    "cluster_size=4k",
    "cluster_size=2k",
    "cluster_size=128M",
    "cluster_size=64M",
    "cluster_size=5000",
    "cluster_size=0",
    "cluster_size=1M,table_size=2",
    "table_size=1",
    "table_size=3",
    "table_size=16",
    "table_size=32",
    "table_size=0",
    "preallocation=full",
    "backing_fmt=raw",
    "backing_file=b.raw",
    "backing_file=b.raw,backing_fmt=raw",
    "backing_file=b.raw,backing_fmt=qcow2",
    "backing_file=gone,backing_fmt=raw",
    "nocow=on",
    "compat=1.1",
];

/// Over an image of 4 MiB, on one of 3 MiB.
const CHAIN: &str = "noise b.raw 3M 1\nnoise c.raw 5M 2\nimg create -f qed -b b.raw -F raw a.qed 4M
    io -f qed a.qed | write -P 1 100k 100k | write -z 1M 128k | write -P 2 3M 70k | write -P 3 2000k 1000";

const CHANGES: &[&str] = &[
    "commit a.qed",
    "commit -d a.qed",
    "commit -p a.qed",
    "commit -b b.raw a.qed",
    "rebase -b c.raw -F raw a.qed",
    "rebase -b '' a.qed",
    "rebase -u -b c.raw -F raw a.qed",
    "rebase -u -b '' a.qed",
    "rebase -u -b gone -F qcow2 a.qed",
    "rebase -u -b c.raw a.qed",
    "rebase -c -b c.raw -F raw a.qed",
    "rebase -f qed -b b.raw -F raw a.qed",
    "resize a.qed 5M",
    "resize a.qed +1000",
    "resize a.qed 3M",
    "resize --shrink a.qed 3M",
    "resize a.qed 4M",
    "resize a.qed 100T",
    "resize --preallocation=full a.qed 5M",
    "resize --preallocation=metadata a.qed 5M",
    "amend -f qed -o size=5M a.qed",
    "snapshot -c s a.qed",
    "snapshot -l a.qed",
    "bitmap --add a.qed b",
    "convert -n -f raw -O qed c.raw a.qed",
    "convert -f qed -O qed -B b.raw -F raw a.qed out",
    "convert -f qed -O qcow2 -B b.raw -F raw a.qed out",
    "convert -c -f qed -O qed a.qed out",
    "dd -f qed -O qed bs=64k count=20 skip=3 if=a.qed of=out",
    "compare -f qed -F raw a.qed b.raw",
    "map a.qed",
    "map --output=json a.qed",
    "info --backing-chain a.qed",
    "check a.qed",
    "measure -O qcow2 a.qed",
    "measure -O qed a.qed",
    "measure -O qed --size 5M",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, poke) in DAMAGE {
        let setup = format!("noise n.raw 3M 1\nimg convert -f raw -O qed n.raw a.qed\npoke a.qed {poke}");
        for (command, line) in COMMANDS {
            all.push(Case::after(format!("qed/damage/{name}/{command}"), &*setup, line));
        }
    }
    // One cluster is written first, so that its second-level table is known to be behind it.
    // How much of the disk such an image takes varies.
    for (name, poke) in ENTRIES {
        let poke = poke.replace("@0x50", "@0x60");
        let setup = format!(
            "img create -f qed a.qed 8M\nio -f qed a.qed | write -P 1 0 64k\nio -f qed a.qed | write -P 2 64k 3M\npoke a.qed {poke}"
        );
        for (command, line) in COMMANDS.iter().filter(|(command, _)| !command.starts_with("info")) {
            all.push(Case::after(format!("qed/entry/{name}/{command}"), &*setup, line));
        }
    }
    for option in OPTIONS {
        let line = format!("create -f qed -o '{option}' out 3M");
        all.push(Case::after(format!("qed/create/{option}"), "noise b.raw 2M 1", &line));
    }
    for size in ["0", "1", "513", "1000001", "2G", "1T", "63T", "64T", "65T", "8E"] {
        all.push(Case::alone(format!("qed/size/{size}"), &format!("create -f qed out {size}")));
    }
    for line in CHANGES {
        all.push(Case::after(format!("qed/chain/{}", testkit::case::label(line)), CHAIN, line));
    }
    let deeper = format!(
        "{CHAIN}\nimg create -f qed -b a.qed -F qed d.qed 6M\nio -f qed d.qed | write -P 5 0 200k | write -P 6 5M 64k"
    );
    for line in [
        "commit d.qed",
        "commit -b b.raw d.qed",
        "rebase -b b.raw -F raw d.qed",
        "convert -O raw d.qed out",
        "map d.qed",
        "resize d.qed 7M",
        "resize a.qed 5M",
    ] {
        all.push(Case::after(format!("qed/deeper/{}", testkit::case::label(line)), &*deeper, line));
    }
    all
}
