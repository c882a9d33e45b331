//! `vmdk`: types and options of new images, headers, descriptors and tables that are wrong, and disks on others.

use testkit::case::{Case, label};

/// What is done to a sparse image of 1 MiB of which the first 200000 bytes are in use: directory at 0x3400,
/// tables at 0x2c00 and 0x3600.
const DAMAGE: &[(&str, &str)] = &[
    ("sound", "poke a.vmdk @0x4d:1 = 0"),
    ("version-0", "poke a.vmdk @4:1 = 0"),
    ("version-2", "poke a.vmdk @4:1 = 2"),
    ("version-3", "poke a.vmdk @4:1 = 3"),
    ("version-4", "poke a.vmdk @4:1 = 4"),
    ("flags-none", "poke a.vmdk @8:1 = 0"),
    ("flags-zeroed", "poke a.vmdk @8:1 = 7"),
    ("capacity-none", "poke a.vmdk @0xc:4 = 0"),
    ("capacity-small", "poke a.vmdk @0xc:4 = 0x07000000"),
    ("capacity-odd", "poke a.vmdk @0xc:4 = 0xff070000"),
    ("capacity-huge", "poke a.vmdk @0xc:8 = 0xffffffffffffff7f"),
    ("capacity-negative", "poke a.vmdk @0xc:8 = 0xffffffffffffffff"),
    ("grain-0", "poke a.vmdk @0x14:4 = 0"),
    ("grain-1", "poke a.vmdk @0x14:4 = 0x01000000"),
    ("grain-3", "poke a.vmdk @0x14:4 = 0x03000000"),
    ("grain-large", "poke a.vmdk @0x14:4 = 0x00002000"),
    ("grain-too-large", "poke a.vmdk @0x14:4 = 0x01002000"),
    ("descriptor-nowhere", "poke a.vmdk @0x1c:1 = 0"),
    ("table-0", "poke a.vmdk @0x2c:4 = 0"),
    ("table-256", "poke a.vmdk @0x2c:4 = 0x00010000"),
    ("table-513", "poke a.vmdk @0x2c:4 = 0x01020000"),
    ("redundant-beyond", "poke a.vmdk @0x30:4 = 0xffffffff"),
    ("redundant-none", "poke a.vmdk @0x30:4 = 0"),
    ("directory-beyond", "poke a.vmdk @0x38:4 = 0xffffffff"),
    ("directory-none", "poke a.vmdk @0x38:4 = 0x28000000"),
    ("directory-at-end", "poke a.vmdk @0x38:8 = 0xffffffffffffffff"),
    ("overhead-beyond", "poke a.vmdk @0x40:4 = 0xffffffff"),
    ("in-use", "poke a.vmdk @0x48:1 = 1"),
    ("line-ends", "poke a.vmdk @0x49:4 = 0"),
    ("compressed", "poke a.vmdk @0x4d:1 = 1"),
    ("compressed-marked", "poke a.vmdk @0x4d:1 = 1\npoke a.vmdk @8:4 = 0x03000300"),
    ("algorithm-2", "poke a.vmdk @0x4d:1 = 2"),
    ("descriptor-empty", "poke a.vmdk @0x200:1 = 0"),
    ("no-identity", "poke a.vmdk @0x220:3 = 0x787878"),
    ("identity-no-number", "poke a.vmdk @0x224:1 = 0x71"),
    ("table-nowhere", "poke a.vmdk @0x3400:4 = 0"),
    ("table-beyond", "poke a.vmdk @0x3400:4 = 0x00ffff00"),
    ("table-in-data", "poke a.vmdk @0x3400:4 = 0x80000000"),
    ("grain-beyond", "poke a.vmdk @0x3600:4 = 0x00000100"),
    ("grain-at-end", "poke a.vmdk @0x360c:4 = 0x00030000"),
    ("grain-twice", "poke a.vmdk @0x3604:4 = 0x80000000"),
    ("grain-zeroed-unknown", "poke a.vmdk @0x3604:4 = 0x01000000"),
    ("grain-zeroed", "poke a.vmdk @8:1 = 7\npoke a.vmdk @0x3604:4 = 0x01000000"),
    ("grain-none", "poke a.vmdk @0x3604:4 = 0"),
    ("cut-grain", "cut a.vmdk 200000"),
    ("cut-grains", "cut a.vmdk 65536"),
    ("cut-tables", "cut a.vmdk 12000"),
    ("cut-header", "cut a.vmdk 600"),
    ("cut-all", "cut a.vmdk 4"),
    ("cut-magic", "cut a.vmdk 3"),
    ("longer", "cut a.vmdk 333333"),
];

/// Descriptors, and what they are about: `n.raw` of 1 MiB, and `s.vmdk`, a sparse extent of as much.
const DESCRIPTORS: &[(&str, &str)] = &[
    ("flat", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"n.raw\" 0'"),
    ("flat-offset", "vmdk a.vmdk monolithicFlat 'RW 1024 FLAT \"n.raw\" 100'"),
    ("flat-beyond", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"n.raw\" 4000'"),
    ("flat-long", "vmdk a.vmdk monolithicFlat 'RW 4096 FLAT \"n.raw\" 0'"),
    ("flat-no-offset", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"n.raw\"'"),
    ("flat-negative", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"n.raw\" -1'"),
    ("vmfs", "vmdk a.vmdk vmfs 'RW 2048 VMFS \"n.raw\"'"),
    ("vmfs-offset", "vmdk a.vmdk vmfs 'RW 2048 VMFS \"n.raw\" 0'"),
    ("sparse", "vmdk a.vmdk twoGbMaxExtentSparse 'RW 2048 SPARSE \"s.vmdk\"'"),
    ("sparse-length", "vmdk a.vmdk twoGbMaxExtentSparse 'RW 10 SPARSE \"s.vmdk\"'"),
    ("sparse-offset", "vmdk a.vmdk twoGbMaxExtentSparse 'RW 2048 SPARSE \"s.vmdk\" 0'"),
    ("sparse-is-raw", "vmdk a.vmdk twoGbMaxExtentSparse 'RW 2048 SPARSE \"n.raw\"'"),
    ("both", "vmdk a.vmdk vmfs 'RW 2048 SPARSE \"s.vmdk\"' 'RW 1000 FLAT \"n.raw\" 8'"),
    ("sesparse-is-raw", "vmdk a.vmdk seSparse 'RW 2048 SESPARSE \"n.raw\"'"),
    ("esx-is-hosted", "vmdk a.vmdk vmfsSparse 'RW 2048 VMFSSPARSE \"s.vmdk\"'"),
    ("missing", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"none.raw\" 0'"),
    ("zero-sectors", "vmdk a.vmdk monolithicFlat 'RW 0 FLAT \"n.raw\" 0'"),
    ("negative-sectors", "vmdk a.vmdk monolithicFlat 'RW -5 FLAT \"n.raw\" 0'"),
    ("read-only", "vmdk a.vmdk monolithicFlat 'RDONLY 2048 FLAT \"n.raw\" 0'"),
    ("zero-extent", "vmdk a.vmdk monolithicFlat 'RW 2048 ZERO'"),
    ("unknown-extent", "vmdk a.vmdk monolithicFlat 'RW 2048 FLOT \"n.raw\"'"),
    ("nothing", "vmdk a.vmdk monolithicFlat ''"),
    ("absolute", "vmdk a.vmdk monolithicFlat 'RW 2048 FLAT \"/nowhere/n.raw\" 0'"),
    ("type-device", "vmdk a.vmdk fullDevice 'RW 2048 FLAT \"n.raw\" 0'"),
    ("type-sparse", "vmdk a.vmdk monolithicSparse 'RW 2048 SPARSE \"s.vmdk\"'"),
    ("type-none", "text a.vmdk '# Disk DescriptorFile\\nversion=1\\nCID=1\\nparentCID=2\\n'"),
    ("no-identity", "text a.vmdk 'version=1\\ncreateType=\"vmfs\"\\n'"),
    ("no-parent", "text a.vmdk 'version=1\\nCID=1\\ncreateType=\"vmfs\"\\n'"),
    ("short", "text a.vmdk 'ver'"),
];

/// Those of them without extents.
const EMPTY: [&str; 6] =
    ["zero-sectors", "negative-sectors", "read-only", "zero-extent", "unknown-extent", "nothing"];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f vmdk a.vmdk"),
    ("map", "map -f vmdk --output=json a.vmdk"),
    ("check", "check -f vmdk a.vmdk"),
    ("convert", "convert -f vmdk -O raw a.vmdk out"),
];

const TYPES: [&str; 5] =
    ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"];

const OPTIONS: &[&str] = &[
    "subformat=monolithicflat",
    "subformat=",
    "subformat=x",
    "subformat=vmfs",
    "adapter_type=ide",
    "adapter_type=buslogic",
    "adapter_type=lsilogic",
    "adapter_type=legacyESX",
    "adapter_type=IDE",
    "adapter_type=",
    "compat6=on",
    "compat6=off",
    "compat6=x",
    "compat6=on,hwversion=7",
    "compat6=on,hwversion=undefined",
    "hwversion=9",
    "hwversion=",
    "toolsversion=10",
    "toolsversion=",
    "zeroed_grain=on",
    "zeroed_grain=off",
    "zeroed_grain=on,subformat=monolithicFlat",
    "zeroed_grain=on,subformat=twoGbMaxExtentSparse",
    "zeroed_grain=on,subformat=streamOptimized",
    "backing_fmt=raw",
    "backing_fmt=vmdk",
    "backing_file=none.vmdk,backing_fmt=vmdk",
    "preallocation=off",
    "preallocation=full",
    "preallocation=falloc",
    "preallocation=metadata",
    "preallocation=full,subformat=monolithicFlat",
    "preallocation=x",
    "nocow=on",
    "cluster_size=64k",
    "size=5M",
];

const SIZES: &[&str] = &["0", "1", "512", "1000001", "1M", "2G", "2147484160", "5G", "100G"];

/// Names of new images, from which those of their extents are made.
const NAMES: &[&str] =
    &["out", "out.vmdk", "a.b.c", ".vmdk", "dir/out.vmdk", "./out.x", "file:out.vmdk", "out."];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, damage) in DAMAGE {
        let setup =
            format!("noise n.raw 200000 1\ncut n.raw 1M\nimg convert -f raw -O vmdk n.raw a.vmdk\n{damage}");
        for (command, line) in COMMANDS {
            // The oracle tells of all that it was reading at a time; the descriptor has random numbers in it.
            let is_random = ["compressed", "compressed-marked", "grain-zeroed-unknown"].contains(name);
            if !is_random || *command != "convert" {
                all.push(Case::after(format!("vmdk/damage/{name}/{command}"), &*setup, line));
            }
        }
    }
    for (name, made) in DESCRIPTORS {
        let setup = format!(
            "noise n.raw 1M 1\nimg create -f vmdk -o subformat=twoGbMaxExtentSparse b.vmdk 1M\n\
             img convert -n -f raw -O vmdk n.raw b.vmdk\nmove b-s001.vmdk s.vmdk\n{made}"
        );
        // Of an image without extents the oracle has but a failing assertion.
        let is_empty = EMPTY.contains(name);
        for (command, line) in
            COMMANDS.iter().filter(|(command, _)| !is_empty || ["map", "check"].contains(command))
        {
            all.push(Case::after(format!("vmdk/descriptor/{name}/{command}"), &*setup, line));
        }
    }
    all.extend(made());
    all.extend(written());
    all.extend(children());
    all.extend(overlays());
    all.extend(lines());
    all
}

fn made() -> Vec<Case> {
    let mut all = Vec::new();
    for option in OPTIONS {
        let line = format!("create -f vmdk -o '{option}' out 3M");
        all.push(Case::alone(format!("vmdk/create/{}", label(option)), &line));
    }
    for kind in TYPES {
        for size in SIZES {
            let line = format!("create -f vmdk -o subformat={kind} out {size}");
            all.push(Case::alone(format!("vmdk/size/{size}/{kind}"), &line));
        }
        for name in NAMES {
            let line = format!("create -f vmdk -o subformat={kind} {name} 1M");
            all.push(Case::alone(format!("vmdk/name/{}/{kind}", label(name)), &line).setup("dir dir"));
        }
    }
    all
}

/// What is written into images that exist.
fn written() -> Vec<Case> {
    const LINES: &[&str] = &[
        "convert -n -f raw -O vmdk n.raw a.vmdk",
        "convert -n -c -f raw -O vmdk n.raw a.vmdk",
        "convert -n -S 0 -f raw -O vmdk n.raw a.vmdk",
        "convert -n --target-is-zero -f raw -O vmdk n.raw a.vmdk",
        "convert -n -f raw -O vmdk zero.raw a.vmdk",
        "bench -w -c 3 -s 4096 a.vmdk",
        "bench -w -c 3 -s 65536 a.vmdk",
        "resize a.vmdk 2M",
        "resize --shrink a.vmdk 512k",
        "info a.vmdk",
        "map --output=json a.vmdk",
        "compare a.vmdk n.raw",
        "measure -O qcow2 a.vmdk",
    ];
    let mut all = Vec::new();
    for kind in TYPES {
        for (state, steps) in [
            ("empty", format!("img create -f vmdk -o subformat={kind} a.vmdk 1M")),
            (
                "full",
                format!(
                    "prose m.raw 900000 3\ncut m.raw 1M\n\
                     img convert -f raw -O vmdk -o subformat={kind} m.raw a.vmdk"
                ),
            ),
        ] {
            let setup = format!("noise n.raw 300000 1\ncut n.raw 1M\nsparse zero.raw 1M\n{steps}");
            for line in LINES {
                all.push(Case::after(format!("vmdk/written/{kind}/{state}/{}", label(line)), &*setup, line));
            }
        }
    }
    all
}

/// Options of the files that a descriptor names.
fn children() -> Vec<Case> {
    const OPTIONS: &[&str] = &[
        "extents.0.driver=file",
        "extents.0.driver=raw",
        "extents.0.driver=raw,extents.0.file.locking=off",
        "extents.0.driver=raw,extents.0.size=512k",
        "extents.0.driver=raw,extents.0.offset=1k",
        "extents.0.driver=qcow2",
        "extents.0.driver=bogus",
        "extents.0.driver=host_device",
        "extents.0.driver=",
        "extents.0.filename=other",
        "extents.0.foo=1",
        "extents.0.file.locking=off",
        "extents.0.locking=off",
        "extents.0.locking=x",
        "extents.0.cache.direct=on",
        "extents.0.read-only=on",
        "extents.0.force-share=on",
        "extents.0.aio=threads",
        "extents.0=x",
        "extents.00.locking=off",
        "extents.1.locking=off",
        "extents.foo=1",
        "extents=x",
        "extents.3.locking=off",
    ];
    const COMMANDS: &[&str] = &["info", "map --output=json", "bench -w -c 2 -s 512"];
    const JSON: &[&str] = &[
        r#"[{"driver":"file","locking":"off"}]"#,
        r#"[{"locking":"off"},{"locking":"off"}]"#,
        r#"[{"locking":"off"},{"locking":"x"}]"#,
        r#"{"0":{"driver":"raw"}}"#,
        r#"["x"]"#,
        r#"{"0":{"driver":"file","filename":"other"}}"#,
    ];
    let mut all = Vec::new();
    for kind in ["monolithicFlat", "monolithicSparse", "twoGbMaxExtentSparse"] {
        let size = if kind == "twoGbMaxExtentSparse" { "3G" } else { "1M" };
        let setup = format!("img create -f vmdk -o subformat={kind} a.vmdk {size}");
        for options in OPTIONS {
            for command in COMMANDS {
                let line = format!("{command} --image-opts driver=vmdk,file.filename=a.vmdk,{options}");
                all.push(Case::after(
                    format!("vmdk/children/{kind}/{options}/{}", label(command)),
                    &*setup,
                    &line,
                ));
            }
        }
        for (number, extents) in JSON.iter().enumerate() {
            let name = format!(
                r#"json:{{"driver":"vmdk","file":{{"driver":"file","filename":"a.vmdk"}},"extents":{extents}}}"#
            );
            let line = format!("info '{name}'");
            all.push(Case::after(format!("vmdk/children/{kind}/json-{number}"), &*setup, &line));
        }
    }
    all
}

/// Disks that stand on others.
fn overlays() -> Vec<Case> {
    const LINES: &[&str] = &[
        "map top.vmdk",
        "map --output=json top.vmdk",
        "check top.vmdk",
        "compare top.vmdk base.vmdk",
        "convert -O raw top.vmdk out",
        "convert -O vmdk -B base.vmdk -F vmdk top.vmdk out",
        "convert -O vmdk -o subformat=streamOptimized -B base.vmdk -F vmdk top.vmdk out",
        "convert -O vmdk -o subformat=monolithicFlat -B base.vmdk -F vmdk top.vmdk out",
        "convert -O vmdk -o zeroed_grain=on -B base.vmdk -F vmdk n.raw out",
        "convert -O vmdk -c -B base.vmdk -F vmdk n.raw out",
        "convert -n -O vmdk n.raw top.vmdk",
        "dd if=top.vmdk of=out bs=1M",
        "commit -d top.vmdk",
        "commit top.vmdk",
        "bench -w -c 5 -s 4096 -o 1k top.vmdk",
        "rebase -u -b '' top.vmdk",
        "rebase -b '' top.vmdk",
        "rebase -b n.raw -F raw top.vmdk",
        "rebase -u -b base.vmdk -F vmdk top.vmdk",
        "create -f vmdk -b top.vmdk -F vmdk out",
        "create -f vmdk -b top.vmdk -F vmdk -o subformat=streamOptimized out 3M",
        "create -f vmdk -b top.vmdk -F vmdk -o subformat=twoGbMaxExtentFlat out 3M",
        "create -f vmdk -b n.raw -F raw out",
        "create -f vmdk -u -b n.raw -F vmdk out 1M",
        "create -f vmdk -u -b none.vmdk -F vmdk out 1M",
        "create -f vmdk -b top.vmdk out",
        "create -f qcow2 -b top.vmdk -F vmdk out",
    ];
    let mut all = Vec::new();
    for (name, base, top) in [
        ("sparse", "", ""),
        ("pieces", "-o subformat=twoGbMaxExtentSparse", "-o subformat=twoGbMaxExtentSparse"),
        ("flat-base", "-o subformat=monolithicFlat", ""),
        ("zeroed", "-o zeroed_grain=on", "-o zeroed_grain=on"),
    ] {
        let setup = format!(
            "noise n.raw 900000 1\ncut n.raw 1M\nimg convert -f raw -O vmdk {base} n.raw base.vmdk\n\
             img create -f vmdk -b base.vmdk -F vmdk {top} top.vmdk\n\
             io -f vmdk top.vmdk | write -P 9 100k 70k | write -P 8 1000k 1k | write -z 512k 64k"
        );
        for line in LINES {
            all.push(Case::after(format!("vmdk/overlay/{name}/{}", label(line)), &*setup, line));
        }
        let changed = format!("{setup}\nio -f vmdk base.vmdk | write -P 7 0 1k");
        for line in [
            "map top.vmdk",
            "check top.vmdk",
            "convert -O raw top.vmdk out",
            "compare top.vmdk n.raw",
            "bench -w -c 1 -s 4096 -o 1k top.vmdk",
        ] {
            all.push(Case::after(format!("vmdk/changed-base/{name}/{}", label(line)), &*changed, line));
        }
    }
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "info --image-opts driver=vmdk,file.filename=a.vmdk",
        "info --output=json --image-opts driver=vmdk,file.filename=a.vmdk,file.locking=off",
        "info --image-opts driver=vmdk,file.filename=a.vmdk,foo=x",
        "map json:{\"driver\":\"vmdk\",\"file\":{\"driver\":\"file\",\"filename\":\"a.vmdk\"}}",
        "info a-s001.vmdk",
        "info -f raw a.vmdk",
        "info --backing-chain a.vmdk",
        "check a.vmdk",
        "check --output=json a.vmdk",
        "check -r all a.vmdk",
        "amend -o size=20M a.vmdk",
        "amend -f vmdk -o help",
        "snapshot -c x a.vmdk",
        "snapshot -l a.vmdk",
        "bitmap --add a.vmdk b",
        "measure -O vmdk a.vmdk",
        "measure -O vmdk --size 1M",
        "commit a.vmdk",
        "create -f vmdk -o help",
        "convert -O vmdk -o subformat=x a.vmdk out",
        "convert -c -O vmdk -o subformat=monolithicFlat a.vmdk out",
        "convert -O vmdk -S 0 a.vmdk out",
        "convert -O vmdk -S 0 -o subformat=streamOptimized a.vmdk out",
        "convert -p -O vmdk -o subformat=streamOptimized a.vmdk out",
        "convert -W -m 16 -O vmdk -o subformat=streamOptimized a.vmdk out",
        "convert -C -O vmdk a.vmdk out",
        "convert -O vmdk -o adapter_type=lsilogic,hwversion=10,toolsversion=7 a.vmdk out",
        "convert -O vmdk n.raw a.vmdk out",
        "dd if=a.vmdk of=out bs=1M count=3 skip=1 -O vmdk",
        "compare -s a.vmdk n.raw",
        "compare -s a.vmdk a.vmdk",
        "bench -c 3 -s 4096 a.vmdk",
    ];
    const SETUP: &str = "noise n.raw 5M 1\nimg create -f vmdk -o subformat=twoGbMaxExtentSparse a.vmdk 10M
        img convert -n -f raw -O vmdk n.raw a.vmdk";
    LINES.iter().map(|line| Case::after(format!("vmdk/line/{}", label(line)), SETUP, line)).collect()
}
