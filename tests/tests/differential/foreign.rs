//! Formats that are only read: damage to their headers and lists, and commands that would write.

use testkit::case::Case;

/// What is done to each, in its script's words, with high bytes first for cloop and dmg.
const DAMAGE: &[(&str, &[(&str, &str)])] = &[
    (
        "bochs",
        &[
            ("magic", "@0:1 = 0x41"),
            ("type", "@32:1 = 0x41"),
            ("subtype", "@48:1 = 0x41"),
            ("version-1", "@64:4 = 0x00000100"),
            ("version-3", "@64:4 = 0x00000300"),
            ("header-far", "@68:4 = 0x00001000"),
            ("header-wraps", "@68:4 = 0xffffffff"),
            ("catalog-small", "@72:4 = 0x0b000000"),
            ("catalog-exact", "@72:4 = 0x0c000000"),
            ("catalog-large", "@72:4 = 0x01001000"),
            ("bitmap-0", "@76:4 = 0"),
            ("bitmap-long", "@76:4 = 0x01020000"),
            ("extent-0", "@80:4 = 0"),
            ("extent-odd", "@80:4 = 0x00030000"),
            ("extent-large", "@80:4 = 0x00000001"),
            ("extent-small", "@80:4 = 0x00020000"),
            ("size-0", "@88:8 = 0"),
            ("size-odd", "@88:8 = 0xe903000000000000"),
            ("size-huge", "@88:8 = 0xffffffffffffffff"),
            ("entry-far", "@512:4 = 0xfeffffff"),
            ("entry-past-end", "@512:4 = 0x07000000"),
        ],
    ),
    (
        "cloop",
        &[
            ("script", "@0:8 = 0"),
            ("block-0", "@128:4 = 0"),
            ("block-odd", "@128:4 = 0x00001001"),
            ("block-large", "@128:4 = 0x04000200"),
            ("block-other", "@128:4 = 0x00002000"),
            ("blocks-0", "@132:4 = 0"),
            ("blocks-few", "@132:4 = 2"),
            ("blocks-many", "@132:4 = 0x04000000"),
            ("blocks-wrap", "@132:4 = 0x1fffffff"),
            ("blocks-most", "@132:4 = 0xffffffff"),
            ("blocks-more", "@132:4 = 0x00000100"),
            ("offset-down", "@144:8 = 1"),
            ("offset-off", "@144:8 = 0x00000000000000c1"),
            ("offset-huge", "@144:8 = 0xffffffffffffffff"),
            ("offset-end", "@176:8 = 0x0000000008000000"),
            ("stream", "@200:8 = 0x0102030405060708"),
        ],
    ),
];

const COMMANDS: &[(&str, &str)] = &[
    ("info", "info -f FORMAT a.img"),
    ("info-json", "info -f FORMAT --output=json a.img"),
    ("map", "map -f FORMAT --output=json a.img"),
    ("convert", "convert -f FORMAT -O raw a.img out.raw"),
];

/// What would write, and what is answered without looking at all of the image.
const USES: &[(&str, &str)] = &[
    ("resize", "resize -f FORMAT a.img +1M"),
    ("snapshot", "snapshot -c one a.img"),
    ("snapshot-list", "snapshot -l a.img"),
    ("rebase", "rebase -u -b '' a.img"),
    ("amend", "amend -f FORMAT -o size=1M a.img"),
    ("commit", "commit -f FORMAT a.img"),
    ("bitmap", "bitmap --add -f FORMAT a.img b"),
    ("check", "check -f FORMAT a.img"),
    ("repair", "check -f FORMAT -r all a.img"),
    ("create", "create -f FORMAT out 1M"),
    ("create-help", "create -f FORMAT -o help"),
    ("convert-to", "convert -O FORMAT a.img out"),
    ("measure-to", "measure -O FORMAT --size 1M"),
    ("bench", "bench -f FORMAT -w -c 1 a.img"),
    ("map-human", "map -f FORMAT a.img"),
    ("overlay", "create -f qcow2 -b a.img -F FORMAT out"),
    ("unknown-option", "info --image-opts driver=FORMAT,file.filename=a.img,foo=1"),
    ("probe", "info a.img"),
    ("to-qcow2", "convert -f FORMAT -O qcow2 -S 0 a.img out"),
];

/// A dmg image whose list is in a resource fork: the trailer's fields, and those of the list.
const DMG: &[(&str, &str)] = &[
    ("no-trailer", "koly:4 = 0"),
    ("sectors-0", "koly+0x1ec:8 = 0"),
    ("sectors-few", "koly+0x1ec:8 = 3"),
    ("sectors-negative", "koly+0x1ec:8 = 0x8000000000000000"),
    ("data-offset", "koly+0x18:8 = 0x4000000000000000"),
    ("fork-far", "koly+0x28:8 = 0x0000000000010000"),
    ("fork-long", "koly+0x30:8 = 0x0000000000010000"),
    ("fork-negative", "koly+0x28:8 = 0x8000000000000000"),
    ("neither", "koly+0x30:8 = 0"),
    ("resources-far", "fork:4 = 0x00010000"),
    ("resources-0", "fork+8:4 = 0"),
    ("resources-long", "fork+8:4 = 0x00010000"),
    ("resource-0", "fork+256:4 = 0"),
    ("resource-long", "fork+256:4 = 0x00010000"),
    ("many-sectors", "chunk+16:8 = 0x0000000000020001"),
    ("much-stored", "chunk+32:8 = 0x0000000004000001"),
    ("stream", "@4:8 = 0x0102030405060708"),
    ("plain-short", "chunk2+32:8 = 0x0000000000000800"),
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (format, damage) in DAMAGE {
        let script = format!("{format} a.img");
        for (name, poke) in *damage {
            add(
                &mut all,
                &format!("foreign/{format}/{name}"),
                format,
                &format!("{script}\npoke a.img {poke}"),
                COMMANDS,
            );
        }
        for len in [0, 100, 136, 300, 700] {
            add(
                &mut all,
                &format!("foreign/{format}/cut-{len}"),
                format,
                &format!("{script}\ncut a.img {len}"),
                COMMANDS,
            );
        }
    }
    for (name, poke) in DMG {
        let script = format!("dmg a.img resources\npoke a.img {}", placed(poke));
        add(&mut all, &format!("foreign/dmg/{name}"), "dmg", &script, COMMANDS);
    }
    all.push(Case::after("foreign/use/cloop-named-dmg", "cloop a.dmg", "info a.dmg"));
    for script in ["bochs a.img", "cloop a.img", "dmg a.img properties", "dmg a.img resources"] {
        let (format, name) =
            (script.split(' ').next().unwrap_or_default(), script.replace(" a.img", "").replace(' ', "-"));
        add(&mut all, &format!("foreign/use/{name}"), format, script, USES);
        add(&mut all, &format!("foreign/use/{name}"), format, script, COMMANDS);
    }
    all
}

fn add(all: &mut Vec<Case>, name: &str, format: &str, setup: &str, commands: &[(&str, &str)]) {
    for (command, line) in commands {
        all.push(Case::after(format!("{name}/{command}"), setup, &line.replace("FORMAT", format)));
    }
}

/// The place of a field of that dmg image in its file.
fn placed(poke: &str) -> String {
    let image = testkit::foreign::dmg(testkit::foreign::ListIn::Resources, &testkit::foreign::usual_chunks());
    let koly = image.len() - 512;
    let fork = u64::from_be_bytes(image[koly + 0x28..koly + 0x30].try_into().unwrap_or_default()) as usize;
    let chunk = fork + 256 + 4 + 204;
    let parts = [("koly", koly), ("fork", fork), ("chunk2", chunk + 80), ("chunk", chunk)];
    let Some((part, start)) = parts.iter().find(|(part, _)| poke.starts_with(part)) else {
        return poke.to_owned();
    };
    let (place, rest) = poke.split_once(':').unwrap_or_default();
    let further = place.strip_prefix(part).and_then(|rest| rest.strip_prefix('+')).unwrap_or("0");
    let further = match further.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16),
        None => further.parse(),
    };
    format!("@{}:{rest}", start + further.unwrap_or_default())
}
