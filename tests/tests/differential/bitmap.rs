//! `bitmap`: every action alone and in company, over shapes and geometries.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = shapes::changeable().flat_map(of_shape).collect();
    all.extend(actions());
    all.extend(granularities());
    all.extend(merges());
    all.extend(damage());
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let case = |variant: &str, line: &str| {
        let line = line.replace("{img}", shape.image).replace("{fmt}", shape.format);
        Case::after(format!("bitmap/change/{}/{variant}", shape.name), shape.script, &line)
    };
    vec![case("add", "bitmap --add {img} new"), case("remove", "bitmap -f {fmt} --remove {img} b0")]
}

/// Bitmaps that record, that do not, that are coarse and that are broken.
const SEVERAL: &str = "img create -f qcow2 -o {options} a.qcow2 8M
    img bitmap --add -g 512 a.qcow2 fine\nio -f qcow2 a.qcow2 | write -P 1 1M 4k | write -P 2 3M 700k
    img bitmap --add -g 1M a.qcow2 coarse\nio -f qcow2 a.qcow2 | write -P 3 5M 64k
    img bitmap --add --disable a.qcow2 off\nimg bitmap --add a.qcow2 broken
    io -f qcow2 a.qcow2 | write -P 4 0 2M | write -P 5 7M 512\nimg bitmap --disable a.qcow2 coarse
    io -f qcow2 a.qcow2 | write -P 6 6M 1k\npoke a.qcow2 bm[3]+12:4 |= 1";

fn actions() -> Vec<Case> {
    const ACTIONS: &[&str] = &[
        "--add {img} new",
        "--add {img} fine",
        "--add {img} broken",
        "--remove {img} fine",
        "--remove {img} off",
        "--remove {img} broken",
        "--remove {img} gone",
        "--clear {img} fine",
        "--clear {img} coarse",
        "--clear {img} off",
        "--clear {img} broken",
        "--clear {img} gone",
        "--enable {img} off",
        "--enable {img} fine",
        "--enable {img} broken",
        "--disable {img} fine",
        "--disable {img} off",
        "--disable {img} broken",
        "--merge fine {img} coarse",
        "--merge coarse {img} fine",
        "--merge fine {img} off",
        "--merge fine {img} fine",
        "--merge broken {img} fine",
        "--merge fine {img} broken",
        "--merge gone {img} fine",
        "--merge fine {img} gone",
        "--merge fine --merge coarse {img} off",
        "--add --merge fine --merge coarse {img} new",
        "--add --disable -g 4k --merge fine {img} new",
        "--clear --merge coarse --enable {img} fine",
        "--disable --clear --merge off --enable {img} coarse",
        "--remove --add {img} fine",
        "--remove --add -g 2M --merge coarse {img} fine",
        "--remove --add {img} broken",
        "--add --remove {img} new",
        "--enable --disable --enable --disable {img} fine",
    ];
    let mut all = Vec::new();
    for options in
        ["cluster_size=64k", "cluster_size=512", "cluster_size=2M,refcount_bits=1", "extended_l2=on"]
    {
        let setup = SEVERAL.replace("{options}", options);
        for action in ACTIONS {
            let line = format!("bitmap {}", action.replace("{img}", "a.qcow2"));
            all.push(Case::after(
                format!("bitmap/action/{}/{}", label(options), label(action)),
                setup.clone(),
                &line,
            ));
        }
    }
    all
}

fn granularities() -> Vec<Case> {
    let mut all = Vec::new();
    for options in ["cluster_size=512", "cluster_size=4k", "cluster_size=64k", "cluster_size=2M"] {
        let setup = format!("img create -f qcow2 -o {options} a.qcow2 40M");
        for granularity in ["", "-g 512", "-g 4k", "-g 65536", "-g 1M", "-g 2G", "-g 0"] {
            let line = format!("bitmap --add {granularity} a.qcow2 b");
            let name = format!("bitmap/granularity/{}/{}", label(options), label(granularity));
            all.push(Case::after(name, setup.clone(), &line));
        }
    }
    for (size, granularity) in [("8T", "512"), ("8T", "1k"), ("8T", "2k"), ("300G", "512"), ("1T", "64k")] {
        let setup = format!("img create -f qcow2 a.qcow2 {size}");
        let line = format!("bitmap --add -g {granularity} a.qcow2 b");
        all.push(Case::after(format!("bitmap/space/{size}-{granularity}"), setup, &line));
    }
    all
}

/// Bitmaps of another image.
fn merges() -> Vec<Case> {
    let mut all = Vec::new();
    for (from, to) in
        [("512", "512"), ("512", "64k"), ("64k", "512"), ("1M", "4k"), ("4k", "2M"), ("64k", "64k")]
    {
        for clusters in ["512", "64k"] {
            let setup = format!(
                "img create -f qcow2 b.qcow2 5000k\nimg bitmap --add -g {from} b.qcow2 x
                 io -f qcow2 b.qcow2 | write -P 1 0 512 | write -P 2 70000k 0 | write -P 3 1M 900k | write -P 4 4999k 1k
                 img create -f qcow2 -o cluster_size={clusters} a.qcow2 5000k\nimg bitmap --add -g {to} a.qcow2 y
                 io -f qcow2 a.qcow2 | write -P 5 100k 64k | write -P 6 2M 3k"
            )
            .replace(" | write -P 2 70000k 0", "");
            let line = "bitmap --merge x -b b.qcow2 a.qcow2 y";
            all.push(Case::after(format!("bitmap/merge/{from}-{to}-{clusters}"), setup, line));
        }
    }
    const PAIR: &str = "img create -f qcow2 b.qcow2 4M\nimg bitmap --add b.qcow2 x\nimg bitmap --add b.qcow2 broken
        io -f qcow2 b.qcow2 | write -P 1 1M 1M\npoke b.qcow2 bm[1]+12:4 |= 1\nsparse r.raw 4M
        img create -f qcow2 c.qcow2 5M\nimg bitmap --add c.qcow2 x
        img create -f qcow2 -b b.qcow2 -F qcow2 a.qcow2\nimg bitmap --add a.qcow2 y\nimg bitmap --add a.qcow2 z
        io -f qcow2 a.qcow2 | write -P 2 3M 64k";
    const LINES: &[&str] = &[
        "bitmap --merge x -b b.qcow2 a.qcow2 y",
        "bitmap --merge x -b b.qcow2 -F qcow2 a.qcow2 y",
        "bitmap --merge x -b b.qcow2 -F qcow2 -f qcow2 a.qcow2 y",
        "bitmap --merge x -b b.qcow2 --clear --merge x a.qcow2 y",
        "bitmap --add --merge x -b b.qcow2 a.qcow2 new",
        "bitmap --add --merge y -b b.qcow2 a.qcow2 new",
        "bitmap --merge broken -b b.qcow2 a.qcow2 y",
        "bitmap --merge gone -b b.qcow2 a.qcow2 y",
        "bitmap --merge x -b b.qcow2 a.qcow2 gone",
        "bitmap --merge x -b c.qcow2 a.qcow2 y",
        "bitmap --merge x -b r.raw -F raw a.qcow2 y",
        "bitmap --merge x -b b.qcow2 -F raw a.qcow2 y",
        "bitmap --merge x -b b.qcow2 -F foo a.qcow2 y",
        "bitmap --merge x -b gone.qcow2 a.qcow2 y",
        "bitmap --merge x -b '' a.qcow2 y",
        "bitmap --merge x --source-file b.qcow2 --source-format qcow2 a.qcow2 y",
        "bitmap --merge x -b b.qcow2 --image-opts driver=qcow2,file.filename=a.qcow2 y",
        "bitmap -b b.qcow2 --add a.qcow2 new",
        "bitmap -F qcow2 --merge y a.qcow2 z",
        "bitmap --merge y a.qcow2 z",
    ];
    all.extend(LINES.iter().map(|line| Case::after(format!("bitmap/source/{}", label(line)), PAIR, line)));
    all
}

/// Directories and tables that are not as they should be.
fn damage() -> Vec<Case> {
    let one = shapes::named("bitmap/one").script;
    let broken = shapes::named("bitmap/in-use").script;
    let scripts = [
        ("stale", format!("{one}\npoke a.qcow2 autoclear = 0")),
        ("unknown-autoclear", format!("{one}\npoke a.qcow2 autoclear |= 0x8000")),
        ("all-ones", format!("{one}\npoke a.qcow2 bmt[0][0] = 1")),
        ("in-use-table-broken", format!("{broken}\npoke a.qcow2 bmt[1][0] = 2")),
        ("table-broken", format!("{one}\npoke a.qcow2 bmt[0][0] = 2")),
        ("flags", format!("{one}\npoke a.qcow2 bm[0]+12:4 |= 0x80")),
    ];
    let mut all = Vec::new();
    for (name, setup) in scripts {
        let bitmap = if name.starts_with("in-use") { "broken" } else { "b0" };
        for action in ["--add", "--remove", "--clear", "--disable"] {
            let line = format!("bitmap {action} a.qcow2 {bitmap}");
            all.push(Case::after(format!("bitmap/damage/{name}/{action}"), setup.clone(), &line));
        }
        let line = format!("bitmap --add --merge {bitmap} a.qcow2 new");
        all.push(Case::after(format!("bitmap/damage/{name}/merge"), setup.clone(), &line));
    }
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "bitmap",
        "bitmap a.qcow2",
        "bitmap a.qcow2 b0",
        "bitmap --add",
        "bitmap --add a.qcow2",
        "bitmap --add a.qcow2 new extra",
        "bitmap --add a.qcow2 ''",
        "bitmap --remove a.qcow2 ''",
        "bitmap --add -g 513 a.qcow2 new",
        "bitmap --add -g 256 a.qcow2 new",
        "bitmap --add -g 4G a.qcow2 new",
        "bitmap --add -g 4294967808 a.qcow2 new",
        "bitmap --add -g 0x200 a.qcow2 new",
        "bitmap --add -g 0.5k a.qcow2 new",
        "bitmap --add -g x a.qcow2 new",
        "bitmap --add -g '' a.qcow2 new",
        "bitmap --add -g -1 a.qcow2 new",
        "bitmap --add -g 9E a.qcow2 new",
        "bitmap --add --granularity=1k a.qcow2 new",
        "bitmap --add -g 1k -g 2k a.qcow2 new",
        "bitmap --clear -g 512 a.qcow2 b0",
        "bitmap -g 512 a.qcow2 b0",
        "bitmap --clear -g 0 a.qcow2 b0",
        "bitmap --m b0 --add a.qcow2 new",
        "bitmap --a a.qcow2 new",
        "bitmap --add -U a.qcow2 new",
        "bitmap --add -q a.qcow2 new",
        "bitmap --add --foo a.qcow2 new",
        "bitmap --add -f raw a.qcow2 new",
        "bitmap --remove -f raw a.qcow2 b0",
        "bitmap --add -f foo a.qcow2 new",
        "bitmap --add gone.qcow2 new",
        "bitmap --add --image-opts driver=qcow2,file.filename=a.qcow2 new",
        "bitmap --add --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 new",
        "bitmap --add --image-opts driver=raw,file.driver=qcow2,file.file.filename=a.qcow2 new",
        "bitmap --add --image-opts driver=qcow2,read-only=on,file.filename=a.qcow2 new",
        "bitmap --add --object secret,id=s,data=x a.qcow2 new",
        "bitmap --add --object foo a.qcow2 new",
        "bitmap --add --add a.qcow2 new",
        "bitmap --add --clear --enable --disable a.qcow2 new",
        "bitmap --merge",
        "bitmap --merge b0",
    ];
    let script = shapes::named("bitmap/one").script;
    let long: Vec<String> =
        [1023, 1024].map(|len| format!("bitmap --add a.qcow2 {}", "n".repeat(len))).into();
    let lines = LINES.iter().copied().chain(long.iter().map(String::as_str));
    lines.map(|line| Case::after(format!("bitmap/line/{}", label(line)), script, line)).collect()
}
