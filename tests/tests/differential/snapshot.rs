//! `snapshot -c`, `-a` and `-d`: every shape, every geometry, and what names, sizes and damaged
//! tables do to them.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = shapes::changeable().flat_map(of_shape).collect();
    all.extend(geometries());
    all.extend(histories());
    all.extend(tables());
    all.extend(limits());
    all.extend(lines());
    all
}

/// A snapshot is taken of the shape, and one that the oracle took is applied and deleted after the
/// guest has written more.
fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let case = |variant: &str, setup: String, line: &str| {
        let line = line.replace("{img}", shape.image).replace("{fmt}", shape.format);
        Case::after(format!("snapshot/change/{}/{variant}", shape.name), setup, &line)
    };
    let mut all = vec![case("create", shape.script.to_owned(), "snapshot -c new {img}")];
    let impossible = shape.format != "qcow2" || shape.traits.data_file;
    let unwritable = shape.name.ends_with("marked-corrupt") || shape.name.ends_with("refcount-1");
    if impossible || unwritable {
        all.push(case("apply", shape.script.to_owned(), "snapshot -f {fmt} -a new {img}"));
        all.push(case("delete", shape.script.to_owned(), "snapshot -f {fmt} -d new {img}"));
        return all;
    }
    let writes = match shape.name {
        "qcow2/nothing" => String::new(),
        "sub/compressed" => format!("io -f qcow2 {} | write -P 9 0 130k | write -z 256k 64k", shape.image),
        "qcow2/tiny" => format!("io -f qcow2 {} | write -P 9 0 512", shape.image),
        _ => format!(
            "io -f qcow2 {} | write -P 9 0 300k | write -z 512k 64k | write -P 8 700k 10k",
            shape.image
        ),
    };
    let taken = format!("{}\nimg snapshot -c new {}\n{writes}", shape.script, shape.image);
    for (variant, line) in [("apply", "snapshot -a new {img}"), ("delete", "snapshot -d new {img}")] {
        all.push(case(variant, taken.clone(), line));
    }
    all
}

/// Options that decide how tables look.
const GEOMETRIES: &[&str] = &[
    "compat=0.10",
    "compat=0.10,cluster_size=512",
    "compat=0.10,cluster_size=2M",
    "cluster_size=512",
    "cluster_size=512,refcount_bits=2",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=1k,refcount_bits=4",
    "cluster_size=4k,refcount_bits=8",
    "cluster_size=4k,refcount_bits=32",
    "cluster_size=64k,refcount_bits=2",
    "cluster_size=64k,refcount_bits=64",
    "cluster_size=2M,refcount_bits=4",
    "cluster_size=16k,extended_l2=on",
    "cluster_size=16k,extended_l2=on,refcount_bits=2",
    "cluster_size=64k,extended_l2=on,refcount_bits=8",
    "cluster_size=2M,extended_l2=on",
    "lazy_refcounts=on",
    "compression_type=zstd,cluster_size=8k",
];

/// What the guest did before the snapshot, and after it.
const WRITES: &[(&str, &str, &str)] = &[
    ("nothing", "", ""),
    ("same", "write -P 1 0 1M", ""),
    ("over", "write -P 1 0 1M", "write -P 2 256k 512k"),
    (
        "islands",
        "write -P 1 0 64k | write -P 2 1M 2k | write -P 3 3M 70k",
        "write -P 4 1M 1k | write -P 5 2M 64k",
    ),
    (
        "zeroes",
        "write -P 1 0 512k | write -z 128k 128k",
        "write -z 0 64k | write -P 6 160k 32k | discard 256k 128k",
    ),
    ("compressed", "write -c -P 1 0 2M | write -P 2 3M 64k", "write -P 3 32k 4k"),
];

fn geometries() -> Vec<Case> {
    let mut all = Vec::new();
    for options in GEOMETRIES {
        for (name, before, after) in WRITES {
            let io = |commands: &str| match commands {
                "" => String::new(),
                commands => format!("io -f qcow2 a.qcow2 | {commands}\n"),
            };
            let made = format!("img create -f qcow2 -o {options} a.qcow2 4M\n{}", io(before));
            let taken = format!("{made}img snapshot -c one a.qcow2\n{}", io(after));
            let case = |variant: &str, setup: &str, line: &str| {
                let name = format!("snapshot/geometry/{}/{name}/{variant}", label(options));
                Case::after(name, setup, line)
            };
            all.push(case("create", &made, "snapshot -c one a.qcow2"));
            // Several compressed clusters in one use up the references that it may have.
            if *name == "compressed" && ["bits=2", "bits=4", "bits=8"].iter().any(|few| options.contains(few))
            {
                continue;
            }
            all.push(case("create-again", &taken, "snapshot -c two a.qcow2"));
            all.push(case("apply", &taken, "snapshot -a one a.qcow2"));
            all.push(case("delete", &taken, "snapshot -d one a.qcow2"));
        }
    }
    all
}

/// Several snapshots, and commands in the middle of their list.
fn histories() -> Vec<Case> {
    const THREE: &str = "img create -f qcow2 -o {options} a.qcow2 4M
        io -f qcow2 a.qcow2 | write -P 1 0 1M\nimg snapshot -c s1 a.qcow2
        io -f qcow2 a.qcow2 | write -P 2 512k 1M | write -z 64k 64k\nimg snapshot -c s2 a.qcow2
        img resize a.qcow2 6M\nio -f qcow2 a.qcow2 | write -P 3 5M 64k | discard 128k 64k\nimg snapshot -c s3 a.qcow2
        io -f qcow2 a.qcow2 | write -P 4 0 32k | write -P 5 3M 128k";
    const FURTHER: &[(&str, &str)] = &[
        ("plain", ""),
        ("back", "img snapshot -a s1 a.qcow2"),
        ("back-written", "img snapshot -a s2 a.qcow2\nio -f qcow2 a.qcow2 | write -P 6 900k 200k"),
        ("there-and-back", "img snapshot -a s1 a.qcow2\nimg snapshot -a s3 a.qcow2"),
        ("first-gone", "img snapshot -d s1 a.qcow2"),
        ("middle-gone", "img snapshot -d s2 a.qcow2\nio -f qcow2 a.qcow2 | write -P 7 600k 20k"),
        ("shrunk", "img snapshot -d s3 a.qcow2\nimg resize --shrink a.qcow2 1M"),
        ("grown", "img resize a.qcow2 20M"),
    ];
    let mut all = Vec::new();
    const LINES: &[&str] = &["-c s4", "-a s1", "-d s2", "-a s3", "-d s1", "-d s3", "-c s1", "-a s2", "-a 3"];
    for (options, lines) in [
        ("cluster_size=64k", LINES),
        ("cluster_size=512", &LINES[..3]),
        ("extended_l2=on", &LINES[..3]),
        ("refcount_bits=4,cluster_size=4k", &LINES[..3]),
    ] {
        for (name, further) in FURTHER {
            let setup = format!("{}\n{further}", THREE.replace("{options}", options));
            for line in lines {
                let name = format!("snapshot/history/{}/{name}/{}", label(options), label(line));
                all.push(Case::after(name, setup.clone(), &format!("snapshot {line} a.qcow2")));
            }
        }
    }
    all
}

/// Entries of the snapshot table that QEMU would not write today.
fn tables() -> Vec<Case> {
    let one = shapes::named("snap/one").script;
    let three = shapes::named("snap/three").script;
    let state = shapes::named("snap/vm-state").script;
    let scripts = [
        ("vm-state", state.to_owned(), "state"),
        ("vm-state-huge", format!("{state}\npoke a.qcow2 snap[0]+40:8 = 0x123456789a"), "state"),
        ("icount", format!("{one}\npoke a.qcow2 snap[0]+56:8 = 77"), "s1"),
        ("no-icount", format!("{one}\npoke a.qcow2 snap[0]+56:8 = 0xffffffffffffffff"), "s1"),
        ("id-text", format!("{one}\npoke a.qcow2 snap[0]+64:1 = 0x61"), "s1"),
        ("id-seven", format!("{one}\npoke a.qcow2 snap[0]+64:1 = 0x37"), "s1"),
        ("name-bytes", format!("{one}\npoke a.qcow2 snap[0]+65:2 = 0xfffe"), "s1"),
        ("name-of-id", three.to_owned(), "2"),
        ("name-twice", three.to_owned(), "s1"),
        ("name-of-id-only", three.to_owned(), "4"),
        ("size-zero", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 0"), "s1"),
        ("size-smaller", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 1000448"), "s1"),
        ("size-larger", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 0x8000000000"), "s1"),
        ("size-odd", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 1000"), "s1"),
        ("size-wild", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 0x7fffffffffffffff"), "s1"),
        ("size-negative", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 0xffffffffffffffff"), "s1"),
        ("size-beyond-l1", format!("{one}\npoke a.qcow2 snap[0]+48:8 = 0x10000000000000"), "s1"),
        (
            "size-v2",
            format!("{}\npoke a.qcow2 snap[0]+48:8 = 1048576", shapes::named("snap/v2").script),
            "s1",
        ),
        ("l1-unaligned", format!("{one}\npoke a.qcow2 snap[0]+0:8 |= 0x200"), "s1"),
        ("l1-large", format!("{one}\npoke a.qcow2 snap[0]+8:4 = 0x7fffffff"), "s1"),
    ];
    let mut all = Vec::new();
    for (name, setup, snapshot) in scripts {
        for action in ["-c", "-a", "-d"] {
            let line = format!("snapshot {action} {snapshot} a.qcow2");
            all.push(Case::after(format!("snapshot/table/{name}/{action}"), setup.clone(), &line));
        }
    }
    // The extra data grows when the table is written anew.
    for (name, size, names) in
        [("none", 0, 0x3173_3100), ("large-size", 8, 0x3173_3100), ("no-icount", 16, 0x3173_3100)]
    {
        let setup = format!(
            "{one}\npoke a.qcow2 snap[0]+{}:4 = {names}\npoke a.qcow2 snap[0]+36:4 = {size}",
            40 + size
        );
        for line in ["-c s2", "-a s1", "-d s1"] {
            let line = format!("snapshot {line} a.qcow2");
            all.push(Case::after(format!("snapshot/extra/{name}/{}", label(&line)), setup.clone(), &line));
        }
    }
    all
}

/// Reference counts that have no room for what QEMU counts on the way.
fn limits() -> Vec<Case> {
    const FULL: &str =
        "img create -f qcow2 -o refcount_bits=2 a.qcow2 4M\nio -f qcow2 a.qcow2 | write -P 1 0 1M
        img snapshot -c one a.qcow2\nimg snapshot -c two a.qcow2";
    vec![
        Case::after("snapshot/limit/apply", FULL, "snapshot -a two a.qcow2"),
        Case::after("snapshot/full/create", FULL, "snapshot -c three a.qcow2"),
        Case::after("snapshot/full/delete", FULL, "snapshot -d one a.qcow2"),
    ]
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "snapshot -c",
        "snapshot -c new",
        "snapshot -c new a.qcow2 b.qcow2",
        "snapshot -c '' a.qcow2",
        "snapshot -c s1 a.qcow2",
        "snapshot -c 'two words' a.qcow2",
        "snapshot -c ünïcode a.qcow2",
        "snapshot -q -c new a.qcow2",
        "snapshot -U -c new a.qcow2",
        "snapshot -U -d s1 a.qcow2",
        "snapshot -c new -a s1 a.qcow2",
        "snapshot -c new -c newer a.qcow2",
        "snapshot -l -d s1 a.qcow2",
        "snapshot --create new a.qcow2",
        "snapshot --create=new a.qcow2",
        "snapshot --apply=s1 a.qcow2",
        "snapshot --delete s1 a.qcow2",
        "snapshot --de s1 a.qcow2",
        "snapshot -a gone a.qcow2",
        "snapshot -a 1 a.qcow2",
        "snapshot -a '' a.qcow2",
        "snapshot -d gone a.qcow2",
        "snapshot -d 1 a.qcow2",
        "snapshot -d '' a.qcow2",
        "snapshot -d S1 a.qcow2",
        "snapshot -f qcow2 -d s1 a.qcow2",
        "snapshot -f raw -c new a.qcow2",
        "snapshot -f raw -a s1 a.qcow2",
        "snapshot -f raw -d s1 a.qcow2",
        "snapshot -f foo -c new a.qcow2",
        "snapshot -c new gone.qcow2",
        "snapshot --image-opts -c new driver=qcow2,file.filename=a.qcow2",
        "snapshot --image-opts -a s1 driver=qcow2,file.filename=a.qcow2",
        "snapshot --image-opts -d s1 driver=qcow2,file.filename=a.qcow2",
        "snapshot --image-opts -c new driver=raw,file.driver=qcow2,file.file.filename=a.qcow2",
        "snapshot --image-opts -a s1 driver=raw,file.driver=qcow2,file.file.filename=a.qcow2",
        "snapshot --image-opts -d s1 driver=raw,file.driver=qcow2,file.file.filename=a.qcow2",
        "snapshot --image-opts -c new driver=qcow2,read-only=on,file.filename=a.qcow2",
        "snapshot --image-opts -f qcow2 -c new driver=qcow2,file.filename=a.qcow2",
        "snapshot --object secret,id=s,data=x -c new a.qcow2",
        "snapshot --object foo -c new a.qcow2",
    ];
    let script = shapes::named("snap/one").script;
    let long = format!("snapshot -c {} a.qcow2", "long".repeat(70));
    let lines = LINES.iter().copied().chain([long.as_str()]);
    lines.map(|line| Case::after(format!("snapshot/line/{}", label(line)), script, line)).collect()
}
