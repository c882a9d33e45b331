//! `commit`: images of every kind into others behind them.

use testkit::case::{Case, label};

use super::overlays::{BASES, ODD_SIZE, TOPS, script};

/// What is said of the image on top, and of how the work is done.
const MODES: [(&str, &str); 4] = [("plain", ""), ("dropped", "-d "), ("progress", "-p "), ("quiet", "-q ")];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(every_base());
    all.extend(every_top());
    all.extend(deep_chains());
    all.extend(with_more_inside());
    all.extend(names());
    all.extend(lines());
    all
}

fn every_base() -> Vec<Case> {
    let mut all = Vec::new();
    for base in BASES {
        for (size, bytes) in [("odd", ODD_SIZE), ("short", "1050112"), ("long", "9M")] {
            for (mode, switch) in MODES {
                let script = script(TOPS[0], base, bytes);
                let name = format!("commit/base/{}/{size}/{mode}", base.0);
                all.push(Case::after(name, script, &format!("commit {switch}a.qcow2")));
            }
        }
    }
    all
}

fn every_top() -> Vec<Case> {
    let mut all = Vec::new();
    for top in TOPS {
        for base in [BASES[0], BASES[5], BASES[6], BASES[8], BASES[11]] {
            for (size, bytes) in [("odd", ODD_SIZE), ("long", "3M")] {
                let script = script(top, base, bytes);
                let name = format!("commit/top/{}/{}/{size}", top.0, base.0);
                all.push(Case::after(name, script, "commit a.qcow2"));
            }
        }
    }
    all
}

/// Into the base of a chain of four, whose sizes differ.
fn deep_chains() -> Vec<Case> {
    let mut all = Vec::new();
    for (sizes, [root, mid, base, top]) in [
        ("equal", ["1M", "1M", "1M", "1M"]),
        ("growing", ["300k", "600k", "900k", "1052672"]),
        ("dented", ["1M", "200k", "1M", "1M"]),
        ("shrinking", ["3M", "2M", "1M", "1052672"]),
    ] {
        let script = format!(
            "noise root.raw {root} 1\nimg create -f qcow2 -b root.raw -F raw mid.qcow2 {mid}
             io -f qcow2 mid.qcow2 | write -P 3 100k 70k | write -z 64k 32k
             img create -f qcow2 -o cluster_size=4k -b mid.qcow2 -F qcow2 base.qcow2 {base}
             io -f qcow2 base.qcow2 | write -P 4 0 10k | write -z 170k 20k | write -P 5 700k 10k
             img create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2 {top}
             io -f qcow2 a.qcow2 | write -P 6 80k 40k | write -z 500k 64k"
        );
        for target in ["root.raw", "mid.qcow2", "base.qcow2", "a.qcow2", "./mid.qcow2"] {
            for switch in ["", "-d ", "-p "] {
                let line = format!("commit {switch}-b {target} a.qcow2");
                all.push(Case::after(format!("commit/deep/{sizes}/{}", label(&line)), &script, &line));
            }
        }
        all.push(Case::after(format!("commit/deep/{sizes}/next"), &script, "commit a.qcow2"));
        all.push(Case::after(format!("commit/deep/{sizes}/middle"), &script, "commit base.qcow2"));
    }
    all
}

/// Snapshots and bitmaps on both sides.
fn with_more_inside() -> Vec<Case> {
    const BOTH: &str = "img create -f qcow2 base.qcow2 1M\nio -f qcow2 base.qcow2 | write -P 1 0 600k
         IN-BASE\nimg create -f qcow2 -b base.qcow2 -F qcow2 a.qcow2 SIZE\nio -f qcow2 a.qcow2 | write -P 2 100k 300k
         IN-TOP\nio -f qcow2 a.qcow2 | write -P 3 200k 300k";
    const INSIDE: [(&str, &str); 5] = [
        ("nothing", ""),
        ("snapshot", "img snapshot -c s FILE"),
        ("snapshots", "img snapshot -c s FILE\nio -f qcow2 FILE | write -P 7 0 100k\nimg snapshot -c t FILE"),
        ("bitmap", "img bitmap --add FILE b0\nimg bitmap --add -g 512 FILE b1"),
        ("disabled-bitmap", "img bitmap --add --disable FILE b0"),
    ];
    let mut all = Vec::new();
    for (base, in_base) in INSIDE {
        for (top, in_top) in INSIDE {
            for (size, bytes) in [("equal", "1M"), ("long", "2M")] {
                // A base with both cannot be made longer by anyone.
                let script = BOTH
                    .replace("IN-BASE", &in_base.replace("FILE", "base.qcow2"))
                    .replace("IN-TOP", &in_top.replace("FILE", "a.qcow2"))
                    .replace("SIZE", bytes);
                let name = format!("commit/inside/{base}/{top}/{size}");
                all.push(Case::after(name, script, "commit a.qcow2"));
            }
        }
    }
    all
}

fn names() -> Vec<Case> {
    const TREE: &str = "dir sub\nimg create -f qcow2 sub/base.qcow2 1M\nio -f qcow2 sub/base.qcow2 | write -P 1 0 600k
         img create -f qcow2 -b base.qcow2 -F qcow2 sub/mid.qcow2\nio -f qcow2 sub/mid.qcow2 | write -P 2 100k 70k
         img create -f qcow2 -b sub/mid.qcow2 -F qcow2 a.qcow2\nio -f qcow2 a.qcow2 | write -P 3 300k 70k
         link l.qcow2 a.qcow2\nlink sub/l.qcow2 base.qcow2\nimg create -f qcow2 other.qcow2 1M";
    const LINES: &[&str] = &[
        "commit a.qcow2",
        "commit l.qcow2",
        "commit sub/mid.qcow2",
        "commit -b sub/base.qcow2 a.qcow2",
        "commit -b base.qcow2 a.qcow2",
        "commit -b ./base.qcow2 a.qcow2",
        "commit -b l.qcow2 a.qcow2",
        "commit -b sub/l.qcow2 a.qcow2",
        "commit -b sub/mid.qcow2 a.qcow2",
        "commit -b mid.qcow2 a.qcow2",
        "commit -b a.qcow2 a.qcow2",
        "commit -b other.qcow2 a.qcow2",
        "commit -b file:sub/mid.qcow2 a.qcow2",
        "commit -b '' a.qcow2",
        "commit -b json:{} a.qcow2",
        "commit --image-opts driver=qcow2,file.filename=a.qcow2",
        "commit --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2",
        "commit --image-opts driver=qcow2,read-only=on,file.filename=a.qcow2",
        "commit --image-opts driver=qcow2,file.filename=a.qcow2,backing.driver=qcow2,backing.file.filename=other.qcow2",
        "commit --image-opts -b other.qcow2 driver=qcow2,file.filename=a.qcow2,backing.driver=qcow2,backing.file.filename=other.qcow2",
        "commit --image-opts -b ./other.qcow2 driver=qcow2,file.filename=a.qcow2,backing.driver=qcow2,backing.file.filename=other.qcow2",
        "commit --image-opts driver=qcow2,file.filename=a.qcow2,backing.driver=qcow2,backing.file.filename=other.qcow2,backing.read-only=on",
        "commit --image-opts -b sub/base.qcow2 driver=qcow2,file.filename=a.qcow2",
        "commit --image-opts -b base.qcow2 driver=qcow2,file.filename=a.qcow2",
    ];
    LINES.iter().map(|line| Case::after(format!("commit/name/{}", label(line)), TREE, line)).collect()
}

fn lines() -> Vec<Case> {
    const SCENE: &str = "noise base.raw 1M 1\nimg create -f qcow2 -b base.raw -F raw a.qcow2
         io -f qcow2 a.qcow2 | write -P 9 100k 70k\nimg create -f qcow2 alone.qcow2 1M
         img create -f qcow2 -u -b gone.raw -F raw orphan.qcow2 1M
         prose p 1M 1\nimg convert -c -f raw -O qcow2 p broken.qcow2\npoke broken.qcow2 l2[0][3] |= 0xffffff
         img rebase -u -b base.raw -F raw broken.qcow2
         img create -f qcow2 -b base.raw -F raw corrupt.qcow2\npoke corrupt.qcow2 incompatible |= 2";
    const LINES: &[&str] = &[
        "commit",
        "commit a.qcow2 a.qcow2",
        "commit gone.qcow2",
        "commit alone.qcow2",
        "commit -p alone.qcow2",
        "commit orphan.qcow2",
        "commit corrupt.qcow2",
        "commit base.raw",
        "commit -f raw base.raw",
        "commit -f raw a.qcow2",
        "commit -f qcow2 a.qcow2",
        "commit -f nonsense a.qcow2",
        "commit -f qcow2 base.raw",
        "commit -t none a.qcow2",
        "commit -t writethrough a.qcow2",
        "commit -t directsync a.qcow2",
        "commit -t unsafe a.qcow2",
        "commit -t nonsense a.qcow2",
        "commit -r 1G a.qcow2",
        "commit -r 0 a.qcow2",
        "commit -r -1 a.qcow2",
        "commit -r nonsense a.qcow2",
        "commit -r 9E a.qcow2",
        "commit --rate 1G a.qcow2",
        "commit --base base.raw --drop a.qcow2",
        "commit --cache none --progress a.qcow2",
        "commit -p -q a.qcow2",
        "commit -q -d a.qcow2",
        "commit -b base.raw a.qcow2",
        "commit -b gone.raw a.qcow2",
        "commit -p -b gone.raw a.qcow2",
        "commit --object secret,id=s,data=x a.qcow2",
        "commit --object nonsense a.qcow2",
        "commit -x a.qcow2",
        "commit -b",
        "commit -U a.qcow2",
    ];
    LINES.iter().map(|line| Case::after(format!("commit/line/{}", label(line)), SCENE, line)).collect()
}
