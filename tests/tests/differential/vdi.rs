//! `vdi`: options of new images, and headers and tables that are wrong.

use testkit::case::Case;

/// What is done to an image whose first blocks are in use, the numbers with their low byte first.
const DAMAGE: &[(&str, &str)] = &[
    ("size-huge", "@0x170:8 = 0x10"),
    ("size-odd", "@0x170:8 = 0x41420f0000000000"),
    ("signature", "@0x40:4 = 1"),
    ("version", "@0x44:4 = 0x03000200"),
    ("table-offset", "@0x154:4 = 0x01020000"),
    ("data-offset", "@0x158:4 = 0x01040000"),
    ("sector-size", "@0x168:4 = 0x00100000"),
    ("block-size", "@0x178:4 = 0x00002000"),
    ("few-blocks", "@0x180:4 = 0x03000000"),
    ("many-blocks", "@0x180:4 = 0x01000020"),
    ("link", "@0x1a8:4 = 1"),
    ("parent", "@0x1b8:4 = 1"),
    ("type-0", "@0x4c:4 = 0"),
    ("type-3", "@0x4c:4 = 0x03000000"),
    ("allocated", "@0x184:4 = 0x09000000"),
    ("extra", "@0x17c:4 = 0x00020000"),
    ("entry-large", "@0x200:4 = 0x04000000"),
    ("entry-huge", "@0x200:4 = 0xfdffffff"),
    ("entry-twice", "@0x200:4 = 0x01000000"),
    ("table-in-header", "@0x154:4 = 0"),
    ("data-in-header", "@0x158:4 = 0"),
    ("table-beyond", "@0x154:4 = 0x00000010"),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f vdi a.vdi"),
    ("map", "map -f vdi --output=json a.vdi"),
    ("check", "check -f vdi a.vdi"),
    ("check-json", "check -f vdi --output=json a.vdi"),
    ("repair", "check -f vdi -r all a.vdi"),
];

const OPTIONS: &[&str] = &[
    "static=on",
    "static=off",
    "static=x",
    "preallocation=off",
    "preallocation=falloc",
    "preallocation=full",
    "preallocation=metadata",
    "preallocation=x",
    "static=on,preallocation=full",
    "block_size=2M",
    "nocow=on",
    "backing_file=x",
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, poke) in DAMAGE {
        let setup = format!("noise n.raw 2M 1\nimg convert -f raw -O vdi n.raw a.vdi\npoke a.vdi {poke}");
        let setup = if *name == "few-blocks" { setup.replace("2M", "4M") } else { setup };
        for (command, line) in COMMANDS {
            all.push(Case::after(format!("vdi/damage/{name}/{command}"), &*setup, line));
        }
    }
    for option in OPTIONS {
        all.push(Case::alone(format!("vdi/create/{option}"), &format!("create -f vdi -o '{option}' out 3M")));
    }
    for size in ["0", "1", "512", "1000001", "1M", "2G", "1T", "513T", "8E"] {
        all.push(Case::alone(format!("vdi/size/{size}"), &format!("create -f vdi out {size}")));
    }
    all
}
