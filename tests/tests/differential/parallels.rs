//! `parallels`: sizes and options of new images, headers and tables that are wrong, repairs, dirty bitmaps.

use testkit::case::{Case, label};
use testkit::shapes;

/// What is done to an image with 25 clusters of 64 KiB in use, the numbers with their low byte first.
const DAMAGE: &[(&str, &str)] = &[
    ("sound", "poke a.hdd @60:4 = 0"),
    ("magic", "poke a.hdd @0:1 = 1"),
    ("version", "poke a.hdd @16:1 = 3"),
    ("heads", "poke a.hdd @20:4 = 0"),
    ("tracks-0", "poke a.hdd @28:4 = 0"),
    ("tracks-large", "poke a.hdd @28:4 = 0x10e03f00"),
    ("tracks-most", "poke a.hdd @28:4 = 0xffffffff"),
    ("entries-0", "poke a.hdd @32:4 = 0"),
    ("entries-few", "poke a.hdd @32:4 = 0x03000000"),
    ("entries-more", "poke a.hdd @32:4 = 0x3c000000"),
    ("entries-many", "poke a.hdd @32:4 = 0x00400000"),
    ("entries-most", "poke a.hdd @32:4 = 0xffffff1f"),
    ("entries-too-many", "poke a.hdd @32:4 = 0x00000020"),
    ("sectors-0", "poke a.hdd @36:8 = 0"),
    ("sectors-few", "poke a.hdd @36:8 = 0x0100000000000000"),
    ("sectors-more", "poke a.hdd @36:8 = 0x0000010000000000"),
    ("sectors-most", "poke a.hdd @36:8 = 0xffffffffffffff7f"),
    ("sectors-negative", "poke a.hdd @36:8 = 0x0000000000000080"),
    ("in-use", "poke a.hdd @44:4 = 0x596e6f74"),
    ("in-use-closed", "poke a.hdd @44:4 = 0x76322e31"),
    ("in-use-odd", "poke a.hdd @44:4 = 0x07000000"),
    ("data-offset-0", "poke a.hdd @48:4 = 0"),
    ("data-offset-small", "poke a.hdd @48:4 = 0x7f000000"),
    ("data-offset-odd", "poke a.hdd @48:4 = 0x81000000"),
    ("data-offset-late", "poke a.hdd @48:4 = 0x00010000"),
    ("data-offset-end", "poke a.hdd @48:4 = 0x000d0000"),
    ("data-offset-beyond", "poke a.hdd @48:4 = 0x010d0000"),
    ("flags", "poke a.hdd @52:4 = 0xffffffff"),
    ("extension", "poke a.hdd @56:8 = 0x8000000000000000"),
    ("extension-far", "poke a.hdd @56:8 = 0x0000000000010000"),
    ("extension-negative", "poke a.hdd @56:8 = 0x0000000000000080"),
    ("entry-far", "poke a.hdd @64:4 = 0x00100000"),
    ("entry-most", "poke a.hdd @64:4 = 0xffffffff"),
    ("entry-end", "poke a.hdd @64:4 = 0x1a000000"),
    ("entry-twice", "poke a.hdd @64:4 = 0x02000000"),
    ("entry-thrice", "poke a.hdd @64:4 = 0x02000000\npoke a.hdd @72:4 = 0x02000000"),
    ("entry-last-twice", "poke a.hdd @64:4 = 0x19000000"),
    ("entry-none", "poke a.hdd @64:4 = 0"),
    ("entry-last-none", "poke a.hdd @276:4 = 0"),
    ("cut-off-sector", "cut a.hdd 1703424"),
    ("cut-off-byte", "cut a.hdd 1703935"),
    ("cut-off-cluster", "cut a.hdd 1638400"),
    ("cut-off-clusters", "cut a.hdd 1000000"),
    ("cut-off-data", "cut a.hdd 65536"),
    ("cut-off-table", "cut a.hdd 100"),
    ("cut-off-header", "cut a.hdd 63"),
    ("longer", "cut a.hdd 1769472"),
    ("longer-byte", "cut a.hdd 1703937"),
    ("longer-odd", "cut a.hdd 1840000"),
    ("longer-twice", "cut a.hdd 1769472\npoke a.hdd @64:4 = 0x02000000"),
    (
        "several",
        "cut a.hdd 1769472\npoke a.hdd @64:4 = 0x00100000\npoke a.hdd @44:4 = 0x596e6f74\npoke a.hdd @48:4 = 7",
    ),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f parallels a.hdd"),
    ("map", "map -f parallels --output=json a.hdd"),
    ("check", "check -f parallels a.hdd"),
    ("check-json", "check -f parallels --output=json a.hdd"),
    ("leaks", "check -f parallels -r leaks a.hdd"),
    ("all", "check -f parallels -r all a.hdd"),
    ("convert", "convert -f parallels -O raw a.hdd out"),
    ("write", "convert -n -f raw -O parallels n.raw a.hdd"),
];

const OPTIONS: &[&str] = &[
    "cluster_size=0",
    "cluster_size=1",
    "cluster_size=512",
    "cluster_size=513",
    "cluster_size=4k",
    "cluster_size=64k",
    "cluster_size=3M",
    "cluster_size=2G",
    "cluster_size=8E",
    "cluster_size=x",
    "cluster_size=-1",
    "preallocation=off",
    "preallocation=falloc",
    "preallocation=metadata",
    "nocow=on",
    "backing_file=x",
    "size=5M",
    "static=on",
];

const SIZES: &[&str] = &["0", "1", "512", "513", "1000001", "1M", "33M", "4G", "127G", "4T", "4P", "8E"];

pub fn cases() -> Vec<Case> {
    const CLUSTERS: &str = "noise head 1M 1\nnoise tail 550912 2\nsparse n.raw 3500032
        img create -q -f parallels -o cluster_size=64k a.hdd 3500032
        io -f parallels a.hdd | write -q -s head 0 1M | write -q -s tail 2949120 550912\ncut n.raw 3500032";
    let mut all = Vec::new();
    for (name, steps) in DAMAGE {
        let setup = format!("{CLUSTERS}\n{steps}");
        for (command, line) in COMMANDS {
            all.push(Case::after(format!("parallels/damage/{name}/{command}"), &*setup, line));
        }
    }
    for option in OPTIONS {
        let line = format!("create -f parallels -o '{option}' out 3M");
        all.push(Case::alone(format!("parallels/create/{}", label(option)), &line));
    }
    for size in SIZES {
        let line = format!("create -f parallels out {size}");
        all.push(Case::alone(format!("parallels/size/{size}"), &line));
    }
    all.extend(open_options(CLUSTERS));
    all.extend(lines(CLUSTERS));
    all.extend(bitmaps());
    all
}

/// What the driver can be told when an image is opened.
fn open_options(setup: &str) -> Vec<Case> {
    const OPTIONS: &[&str] = &[
        "prealloc-mode=truncate",
        "prealloc-mode=falloc",
        "prealloc-mode=x",
        "prealloc-mode=",
        "prealloc-mode=off",
        "prealloc-size=1M",
        "prealloc-size=0",
        "prealloc-size=x",
        "prealloc-size=-1",
        "prealloc-size=8E",
        "prealloc-size=16E",
        "prealloc-mode=truncate,prealloc-size=0",
        "foo=1",
        "backing=",
        "backing.driver=raw,backing.file.filename=head",
        "backing.file.filename=none",
        "data-file.filename=head",
    ];
    let mut all = Vec::new();
    for options in OPTIONS {
        for (command, line) in [
            ("info", "info --output=json --image-opts OPTIONS"),
            ("map", "map --output=json --image-opts OPTIONS"),
            ("convert", "convert --image-opts -O raw OPTIONS out"),
            ("write", "convert -n --target-image-opts n.raw OPTIONS"),
        ] {
            // The oracle finds what is behind the target, and writes it over.
            if command == "write" && options.contains("backing.driver") {
                continue;
            }
            let options = format!("driver=parallels,file.filename=a.hdd,{options}");
            let line = line.replace("OPTIONS", &options);
            all.push(Case::after(format!("parallels/open/{}/{command}", label(&options)), setup, &line));
        }
    }
    all
}

fn lines(setup: &str) -> Vec<Case> {
    const LINES: &[&str] = &[
        "info a.hdd",
        "info json:{\"driver\":\"parallels\",\"prealloc-size\":4096,\"file\":{\"driver\":\"file\",\"filename\":\"a.hdd\"}}",
        "info json:{\"driver\":\"parallels\",\"prealloc-size\":true,\"file\":{\"driver\":\"file\",\"filename\":\"a.hdd\"}}",
        "info --backing-chain a.hdd",
        "check a.hdd",
        "check -r all a.hdd",
        "resize a.hdd 20M",
        "resize --shrink a.hdd 2M",
        "resize --preallocation=full a.hdd 20M",
        "amend -o size=20M a.hdd",
        "amend -f parallels -o help",
        "rebase -u -b '' a.hdd",
        "rebase -u -b n.raw -F raw a.hdd",
        "rebase -b n.raw -F raw a.hdd",
        "rebase -b '' a.hdd",
        "commit a.hdd",
        "snapshot -c x a.hdd",
        "snapshot -a x a.hdd",
        "snapshot -d x a.hdd",
        "snapshot -l a.hdd",
        "bitmap --add a.hdd b",
        "bitmap --remove a.hdd b",
        "measure -O parallels a.hdd",
        "measure -O qcow2 a.hdd",
        "measure -O raw a.hdd",
        "measure -O parallels --size 1M",
        "create -f parallels -b a.hdd -F parallels out",
        "create -f qcow2 -b a.hdd -F parallels out",
        "create -f parallels -o help",
        "convert -O parallels -c a.hdd out",
        "convert -O parallels -B a.hdd -F parallels a.hdd out",
        "convert -O parallels -o cluster_size=0 a.hdd out",
        "convert -O parallels -o cluster_size=4k a.hdd out",
        "convert -O parallels -o cluster_size=3M a.hdd out",
        "convert -O parallels -S 0 a.hdd out",
        "convert -O parallels -S 64k a.hdd out",
        "convert -O parallels -W -m 16 a.hdd out",
        "convert -n -O parallels head a.hdd",
        "convert -n -O parallels n.raw a.hdd",
        "convert -n -S 0 -O parallels n.raw a.hdd",
        "convert -n --target-is-zero -O parallels n.raw a.hdd",
        "convert --bitmaps -O qcow2 a.hdd out",
        "compare a.hdd n.raw",
        "compare -s a.hdd a.hdd",
        "dd if=a.hdd of=out bs=1M count=3 skip=1 -O parallels",
        "bench -c 3 -s 4096 a.hdd",
        "bench -w -c 3 -s 4096 a.hdd",
        "bench -w -c 3 -s 65536 -o 1048576 a.hdd",
    ];
    let case = |line: &&str| Case::after(format!("parallels/line/{}", label(line)), setup, line);
    LINES.iter().map(case).collect()
}

/// The format extension, sound and damaged.
fn bitmaps() -> Vec<Case> {
    const ODDITIES: &[&str] = &[
        "size",
        "table",
        "table-beyond",
        "flags",
        "unknown",
        "short",
        "long",
        "twice",
        "checksum",
        "magic",
        "empty",
    ];
    const LINES: &[&str] = &[
        "info --output=json a.hdd",
        "measure -O raw a.hdd",
        "convert -O qcow2 a.hdd out",
        "bitmap --merge 07070707-0707-0707-0707-070707070707 -b a.hdd -F parallels t.qcow2 b",
        "bitmap --merge 00010203-0405-0607-0809-0a0b0c0d0e0f -b a.hdd -F parallels t.qcow2 b",
        "bitmap --merge x -b a.hdd -F parallels t.qcow2 b",
        "bitmap --remove a.hdd 07070707-0707-0707-0707-070707070707",
        "bitmap --clear a.hdd 07070707-0707-0707-0707-070707070707",
        "bitmap --add a.hdd b",
        "snapshot -c x a.hdd",
        "check a.hdd",
        "check -r leaks a.hdd",
        "convert -n -O parallels n.raw a.hdd",
        "convert --bitmaps -O qcow2 a.hdd out",
        "measure -O qcow2 a.hdd",
    ];
    let sound = format!(
        "{}\nimg create -q -f qcow2 t.qcow2 3500032\nimg bitmap --add -g 64k t.qcow2 b",
        shapes::named("parallels/bitmaps").script
    );
    let mut all = Vec::new();
    for line in LINES {
        all.push(Case::after(format!("parallels/bitmaps/sound/{}", label(line)), &*sound, line));
    }
    for oddity in ODDITIES {
        let setup = sound.replace("a.hdd none", &format!("a.hdd {oddity}"));
        for (command, line) in [
            ("info", "info a.hdd"),
            ("check", "check a.hdd"),
            ("convert", "convert -O raw a.hdd out"),
            ("merge", "bitmap --merge 07070707-0707-0707-0707-070707070707 -b a.hdd -F parallels t.qcow2 b"),
        ] {
            all.push(Case::after(format!("parallels/bitmaps/{oddity}/{command}"), &*setup, line));
        }
    }
    all
}
