//! `vpc`: sizes and options of new images, and footers, headers and tables that are wrong.

use testkit::case::{Case, label};

/// What is done to an image of 10 MiB whose blocks are in use. Where the footer changes, its checksum does, too.
const DAMAGE: &[(&str, Damage)] = &[
    ("sound", Damage::Poke("@0x3f0:1 = 0")),
    ("checksum", Damage::Poke("@0x46:1 = 1")),
    ("header-checksum", Damage::Poke("@0x227:1 += 1")),
    ("cookie", Damage::Poke("@0:1 = 0x78")),
    ("header-cookie", Damage::Poke("@0x200:1 = 0x78")),
    ("block-size-0", Damage::Poke("@0x220:4 = 0")),
    ("block-size-256", Damage::Poke("@0x220:4 = 256")),
    ("block-size-512", Damage::Poke("@0x220:4 = 512")),
    ("block-size-odd", Damage::Poke("@0x220:4 = 0x300000")),
    ("block-size-large", Damage::Poke("@0x220:4 = 0x40000000")),
    ("entries-0", Damage::Poke("@0x21c:4 = 0")),
    ("entries-few", Damage::Poke("@0x21c:4 = 5")),
    ("entries-more", Damage::Poke("@0x21c:4 = 7")),
    ("entries-many", Damage::Poke("@0x21c:4 = 0x1fffffff")),
    ("entries-most", Damage::Poke("@0x21c:4 = 0x20000000")),
    ("entries-negative", Damage::Poke("@0x21c:4 = 0xffffffff")),
    ("table-beyond", Damage::Poke("@0x210:8 = 0x10000000000")),
    ("table-negative", Damage::Poke("@0x210:8 = 0x8000000000000000")),
    ("table-odd", Damage::Poke("@0x210:8 = 1537")),
    ("table-in-footer", Damage::Poke("@0x210:8 = 0")),
    ("entry-0", Damage::Poke("@0x600:4 = 0")),
    ("entry-beyond", Damage::Poke("@0x600:4 = 0x10000")),
    ("entry-huge", Damage::Poke("@0x600:4 = 0xfffffffe")),
    ("entry-twice", Damage::Poke("@0x604:4 = 4")),
    ("entry-none", Damage::Poke("@0x604:4 = 0xffffffff")),
    ("bitmap-empty", Damage::Poke("@0x800:8 = 0")),
    ("header-offset-beyond", Damage::Footer(0x10, &[0, 0, 1])),
    ("header-offset-negative", Damage::Footer(0x10, &[0x80])),
    ("features", Damage::Footer(8, &[0, 0, 0, 7])),
    ("version", Damage::Footer(12, &[0, 2])),
    ("type-0", Damage::Footer(0x3f, &[0])),
    ("type-fixed", Damage::Footer(0x3f, &[2])),
    ("type-differencing", Damage::Footer(0x3f, &[4])),
    ("type-9", Damage::Footer(0x3f, &[9])),
    ("creator-win", Damage::Footer(0x1c, b"win ")),
    ("creator-qem2", Damage::Footer(0x1c, b"qem2")),
    ("creator-d2v", Damage::Footer(0x1c, b"d2v ")),
    ("creator-vpc", Damage::Footer(0x1c, b"vpc ")),
    ("creator-vs", Damage::Footer(0x1c, b"vs  ")),
    ("creator-tap", Damage::Footer(0x1c, b"tap\0")),
    ("creator-unknown", Damage::Footer(0x1c, b"vbox")),
    ("current-size-odd", Damage::Footer(0x34, &[0, 0x50, 0x01, 0x23])),
    ("geometry-0", Damage::Footer(0x38, &[0, 0, 0, 0])),
    ("geometry-largest", Damage::Footer(0x38, &[0xff, 0xff, 16, 255])),
    ("geometry-small", Damage::Footer(0x38, &[0, 1])),
    ("geometry-large", Damage::Footer(0x38, &[0xff, 0xff])),
    ("cut-off-footer", Damage::Cut("6294016")),
    ("cut-off-block", Damage::Cut("6290000")),
    ("cut-off-blocks", Damage::Cut("600")),
    ("cut-off-header", Damage::Cut("512")),
    ("longer", Damage::Cut("6299999")),
];

/// What is done to the file.
enum Damage {
    /// A field is changed.
    Poke(&'static str),
    /// Bytes of the first footer are changed, and the checksum with them.
    Footer(usize, &'static [u8]),
    /// It is cut, or grown.
    Cut(&'static str),
}

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f vpc a.vhd"),
    ("map", "map -f vpc --output=json a.vhd"),
    ("check", "check -f vpc a.vhd"),
    ("convert", "convert -f vpc -O raw a.vhd out"),
];

/// The first footer of the damaged images, as far as anybody knows it beforehand and it is not zero.
fn known_footer() -> [u8; 512] {
    let mut bytes = [0; 512];
    bytes[..0x18].copy_from_slice(b"conectix\0\0\0\x02\0\x01\0\0\0\0\0\0\0\0\x02\0");
    bytes[0x1c..0x28].copy_from_slice(b"qemu\0\x05\0\x03Wi2k");
    bytes[0x28..0x30].copy_from_slice(&10_514_432_u64.to_be_bytes());
    bytes[0x30..0x38].copy_from_slice(&10_514_432_u64.to_be_bytes());
    bytes[0x38..0x40].copy_from_slice(&[0x01, 0x2e, 4, 0x11, 0, 0, 0, 3]);
    bytes
}

fn steps(damage: &Damage) -> String {
    match damage {
        Damage::Poke(poke) => format!("poke a.vhd {poke}"),
        Damage::Cut(len) => format!("cut a.vhd {len}"),
        Damage::Footer(at, new) => {
            let old = known_footer();
            let mut steps = String::new();
            let mut less = 0_u64;
            for (place, byte) in (*at..).zip(*new) {
                steps += &format!("poke a.vhd @{place:#x}:1 = {byte}\n");
                less = less.wrapping_add(u64::from(old[place])).wrapping_sub(u64::from(*byte));
            }
            // The checksum is the complement of the sum.
            steps + &format!("poke a.vhd @0x40:4 += {}", less & 0xffff_ffff)
        }
    }
}

const OPTIONS: &[&str] = &[
    "subformat=dynamic",
    "subformat=fixed",
    "subformat=Fixed",
    "subformat=",
    "subformat=x",
    "force_size=on",
    "force_size=off",
    "force_size=x",
    "force_size=on,subformat=fixed",
    "preallocation=off",
    "preallocation=full",
    "preallocation=x",
    "nocow=on",
    "backing_file=x",
    "block_size=1M",
    "size=5M",
];

const SIZES: &[&str] =
    &["0", "1", "512", "1000001", "1M", "33M", "504M", "505M", "4G", "127G", "2040G", "2041G", "8E"];

pub fn cases() -> Vec<Case> {
    const BLOCKS: &str =
        "noise n.raw 5M 1\nimg create -f vpc a.vhd 10M\nimg convert -n -f raw -O vpc n.raw a.vhd";
    let mut all = Vec::new();
    for (name, damage) in DAMAGE {
        let setup = format!("{BLOCKS}\n{}", steps(damage));
        for (command, line) in COMMANDS {
            // The oracle writes as long as it finds zeroes, which is too long.
            if *name != "geometry-large" || *command != "convert" {
                all.push(Case::after(format!("vpc/damage/{name}/{command}"), &*setup, line));
            }
        }
    }
    for (name, steps) in [
        ("sound", ""),
        ("cut", "cut f.vhd 1079700"),
        ("cut-little", "cut f.vhd 1079807"),
        ("longer", "cut f.vhd 1079809"),
        ("type-dynamic", "poke f.vhd @0x10783f:1 = 3\npoke f.vhd @0x107840:4 += 0xffffffff"),
        ("checksum", "poke f.vhd @0x107850:1 += 1"),
        ("short", "cut f.vhd 300"),
    ] {
        let setup =
            format!("noise n.raw 1M 1\nimg convert -f raw -O vpc -o subformat=fixed n.raw f.vhd\n{steps}");
        for (command, line) in COMMANDS {
            let line = line.replace("a.vhd", "f.vhd");
            all.push(Case::after(format!("vpc/fixed/{name}/{command}"), &*setup, &line));
        }
    }
    for option in OPTIONS {
        let line = format!("create -f vpc -o '{option}' out 3M");
        all.push(Case::alone(format!("vpc/create/{}", label(option)), &line));
    }
    for size in SIZES {
        for (name, options) in
            [("plain", ""), ("forced", "-o force_size=on"), ("fixed", "-o subformat=fixed")]
        {
            // A file that long does not fit everywhere.
            if name != "fixed" || !size.ends_with('G') {
                all.push(Case::alone(
                    format!("vpc/size/{size}/{name}"),
                    &format!("create -f vpc {options} out {size}"),
                ));
            }
        }
    }
    all.extend(lines(BLOCKS));
    all
}

fn lines(setup: &str) -> Vec<Case> {
    const LINES: &[&str] = &[
        "info --image-opts driver=vpc,file.filename=a.vhd,force_size_calc=chs",
        "info --image-opts driver=vpc,file.filename=a.vhd,force_size_calc=current_size",
        "info --image-opts driver=vpc,file.filename=a.vhd,force_size_calc=x",
        "info --image-opts driver=vpc,file.filename=a.vhd,force_size_calc=",
        "info --output=json --image-opts driver=vpc,file.filename=a.vhd,force_size_calc=chs",
        "info --image-opts driver=vpc,file.filename=a.vhd,foo=x",
        "info json:{\"driver\":\"vpc\",\"force_size_calc\":\"chs\",\"file\":{\"driver\":\"file\",\"filename\":\"a.vhd\"}}",
        "info a.vhd",
        "check a.vhd",
        "check -r all a.vhd",
        "resize a.vhd 20M",
        "resize --shrink a.vhd 2M",
        "amend -o size=20M a.vhd",
        "amend -f vpc -o help",
        "rebase -u -b '' a.vhd",
        "rebase -b n.raw -F raw a.vhd",
        "commit a.vhd",
        "snapshot -c x a.vhd",
        "snapshot -l a.vhd",
        "bitmap --add a.vhd b",
        "measure -O vpc a.vhd",
        "measure -O qcow2 a.vhd",
        "measure -O vpc --size 1M",
        "create -f vpc -b a.vhd -F vpc out",
        "create -f qcow2 -b a.vhd -F vpc out",
        "create -f vpc -o help",
        "convert -O vpc -c a.vhd out",
        "convert -O vpc -B a.vhd -F vpc a.vhd out",
        "convert -O vpc -o subformat=x a.vhd out",
        "convert -O vpc -o force_size=on a.vhd out",
        "convert -O vpc -S 0 a.vhd out",
        "convert -O vpc -o force_size=on,subformat=fixed n.raw out",
        "compare a.vhd n.raw",
        "dd if=a.vhd of=out bs=1M count=3 skip=1 -O vpc",
        "bench -w -c 3 -s 4096 a.vhd",
        "info --backing-chain a.vhd",
    ];
    let case = |line: &&str| Case::after(format!("vpc/line/{}", label(line)), setup, line);
    LINES.iter().map(case).collect()
}
