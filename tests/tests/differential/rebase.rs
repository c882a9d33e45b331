//! `rebase`: images of every kind onto others and onto nothing.

use testkit::case::{Case, label};

use super::overlays::{BASES, ODD_SIZE, TOPS, WRITES, script};

/// What the image is put onto: how that is made, and the options.
const TARGETS: [(&str, &str, &str); 8] = [
    ("nothing", "", "-b ''"),
    ("raw", "noise new.raw 1M 5", "-b new.raw -F raw"),
    ("raw-short", "noise new.raw 200k 5", "-b new.raw -F raw"),
    (
        "qcow2-long",
        "img create -f qcow2 -o cluster_size=4k new.qcow2 4M
         io -f qcow2 new.qcow2 | write -P 5 0 100k | write -P 9 120k 30k | write -P 6 600k 3M",
        "-b new.qcow2 -F qcow2",
    ),
    ("similar", "noise new.raw 1M 1\nio -f raw new.raw | write -P 7 333k 512", "-b new.raw -F raw"),
    ("zeroes", "sparse new.raw 2M", "-b new.raw -F raw"),
    (
        "subclusters",
        "img create -f qcow2 -o extended_l2=on new.qcow2 900k\nio -f qcow2 new.qcow2 | write -P 5 3k 5k",
        "-b new.qcow2 -F qcow2",
    ),
    (
        "compressed",
        "prose n 1M 1\nimg convert -c -f raw -O qcow2 n new.qcow2\nremove n",
        "-b new.qcow2 -F qcow2",
    ),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(every_base_and_target());
    all.extend(every_top());
    all.extend(in_the_chain());
    all.extend(standing_alone());
    all.extend(names());
    all.extend(lines());
    all
}

fn every_base_and_target() -> Vec<Case> {
    let case = |base: (&str, &str, &str), (target, made, options): (&str, &str, &str)| {
        let script = format!("{}\n{made}", script(TOPS[0], base, ODD_SIZE));
        let name = format!("rebase/base/{}/{target}", base.0);
        Case::after(name, script, &format!("rebase {options} a.qcow2"))
    };
    BASES.iter().flat_map(|base| TARGETS.iter().map(|target| case(*base, *target))).collect()
}

fn every_top() -> Vec<Case> {
    let mut all = Vec::new();
    for top in TOPS {
        for (base, size) in [(BASES[0], ODD_SIZE), (BASES[4], "3M"), (BASES[11], "1100k")] {
            for (target, made, options) in [TARGETS[0], TARGETS[1], TARGETS[3]] {
                for (mode, switch) in [("plain", ""), ("compressed", "-c ")] {
                    let script = format!("{}\n{made}", script(top, base, size));
                    let name = format!("rebase/top/{}/{}/{target}/{mode}", top.0, base.0);
                    all.push(Case::after(name, script, &format!("rebase {switch}{options} a.qcow2")));
                }
            }
        }
    }
    all
}

/// Onto images that stand behind it already.
fn in_the_chain() -> Vec<Case> {
    let chain = script(TOPS[0], BASES[11], ODD_SIZE);
    let targets = [
        ("same", "-b base.qcow2 -F qcow2"),
        ("same-otherwise", "-b ./base.qcow2 -F qcow2"),
        ("middle", "-b mid.qcow2 -F qcow2"),
        ("root", "-b root.raw -F raw"),
        ("nothing", "-b ''"),
        ("other-format", "-b root.raw -F qcow2"),
        ("unsafe", "-u -b mid.qcow2 -F qcow2"),
    ];
    let mut all = Vec::new();
    for (name, options) in targets {
        for (mode, switch) in [("plain", ""), ("compressed", "-c "), ("shared", "-U "), ("progress", "-p ")] {
            let name = format!("rebase/chain/{name}/{mode}");
            all.push(Case::after(name, &chain, &format!("rebase {switch}{options} a.qcow2")));
        }
    }
    all
}

/// Images that had nothing behind them.
fn standing_alone() -> Vec<Case> {
    let mut all = Vec::new();
    for (top, options) in TOPS {
        for (target, made, onto) in [TARGETS[0], TARGETS[1], TARGETS[3]] {
            let script = format!(
                "{made}\nimg create -f qcow2 {options} a.qcow2 {ODD_SIZE}\nio -f qcow2 a.qcow2 | {WRITES}"
            );
            all.push(Case::after(
                format!("rebase/alone/{top}/{target}"),
                script,
                &format!("rebase {onto} a.qcow2"),
            ));
        }
    }
    all
}

/// How images are named, and where.
fn names() -> Vec<Case> {
    const TREE: &str = "dir sub\ndir sub/deep\nnoise sub/base.raw 1M 1\nnoise sub/new.raw 1M 2\nnoise new.raw 1M 3
         img create -f qcow2 -b base.raw -F raw sub/a.qcow2\nio -f qcow2 sub/a.qcow2 | write -P 9 100k 70k
         img create -f qcow2 -b sub/base.raw -F raw b.qcow2\nlink c.qcow2 b.qcow2\nlink sub/other.raw base.raw";
    const LINES: &[&str] = &[
        "rebase -b new.raw -F raw sub/a.qcow2",
        "rebase -b base.raw -F raw sub/a.qcow2",
        "rebase -b other.raw -F raw sub/a.qcow2",
        "rebase -b ../new.raw -F raw sub/a.qcow2",
        "rebase -b sub/new.raw -F raw sub/a.qcow2",
        "rebase -b sub/new.raw -F raw b.qcow2",
        "rebase -b sub/new.raw -F raw c.qcow2",
        "rebase -b file:new.raw -F raw b.qcow2",
        "rebase -b 'json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"new.raw\"}}' -F raw b.qcow2",
        "rebase -u -b gone.raw -F raw b.qcow2",
        "rebase -u -b '' b.qcow2",
        "rebase -u b.qcow2",
        "rebase -u -F raw b.qcow2",
        "rebase -b '' -F raw b.qcow2",
        "rebase -b '' -F nonsense b.qcow2",
        "rebase -u -b new.raw -F nonsense b.qcow2",
        "rebase --image-opts -b new.raw -F raw driver=qcow2,file.filename=b.qcow2",
        "rebase --image-opts -b new.raw -F raw driver=qcow2,file.filename=b.qcow2,backing.driver=raw,backing.file.filename=sub/new.raw",
        "rebase --image-opts -b '' driver=qcow2,file.filename=b.qcow2,backing.driver=raw,backing.file.filename=sub/new.raw",
        "rebase --image-opts -f qcow2 -b '' driver=qcow2,file.filename=b.qcow2",
        "rebase --image-opts -b '' driver=qcow2,read-only=on,file.filename=b.qcow2",
    ];
    let mut all: Vec<Case> =
        LINES.iter().map(|line| Case::after(format!("rebase/name/{}", label(line)), TREE, line)).collect();
    for len in [200, 330, 360, 376, 377, 500, 900, 1023, 1024, 2000] {
        for (top, options) in
            [("512", "cluster_size=512"), ("64k", "cluster_size=64k"), ("v2", "compat=0.10")]
        {
            let script = format!("img create -f qcow2 -o {options} a.qcow2 1M");
            let line = format!("rebase -u -b {} -F raw a.qcow2", "n".repeat(len));
            all.push(Case::after(format!("rebase/long-name/{top}/{len}"), script, &line));
        }
    }
    all
}

fn lines() -> Vec<Case> {
    const SCENE: &str = "noise base.raw 1M 1\nnoise new.raw 1M 2\nimg create -f qcow2 -b base.raw -F raw a.qcow2
         io -f qcow2 a.qcow2 | write -P 9 100k 70k\nimg create -f qcow2 -o data_file=d.raw,data_file_raw=on raw-data.qcow2 1M
         img create -f qcow2 bitmaps.qcow2 1M\nimg bitmap --add bitmaps.qcow2 b0\nimg bitmap --add --disable bitmaps.qcow2 b1
         prose p 1M 1\nimg convert -c -f raw -O qcow2 p broken.qcow2\npoke broken.qcow2 l1[0] = 0x8000000000012345
         img create -f qcow2 -b base.raw -F raw snapshots.qcow2\nio -f qcow2 snapshots.qcow2 | write -P 9 100k 70k
         img snapshot -c s snapshots.qcow2\nio -f qcow2 snapshots.qcow2 | write -P 9 300k 70k";
    const LINES: &[&str] = &[
        "rebase",
        "rebase a.qcow2",
        "rebase -b new.raw",
        "rebase -b new.raw a.qcow2 a.qcow2",
        "rebase -b new.raw a.qcow2",
        "rebase -u -b new.raw a.qcow2",
        "rebase -b new.raw -F a.qcow2",
        "rebase -b gone.raw -F raw a.qcow2",
        "rebase -b gone.raw a.qcow2",
        "rebase -b new.raw -F qcow2 a.qcow2",
        "rebase -b new.raw -F nonsense a.qcow2",
        "rebase -b new.raw -F raw gone.qcow2",
        "rebase -b new.raw -F raw -f raw a.qcow2",
        "rebase -b new.raw -F raw -f nonsense a.qcow2",
        "rebase -b new.raw -F raw new.raw",
        "rebase -f raw -b base.raw new.raw",
        "rebase -f raw -b '' new.raw",
        "rebase -f raw -u -b '' new.raw",
        "rebase -f raw -c -b '' new.raw",
        "rebase -u -b base.raw -F raw raw-data.qcow2",
        "rebase -b base.raw -F raw raw-data.qcow2",
        "rebase -b '' raw-data.qcow2",
        "rebase -b base.raw -F raw bitmaps.qcow2",
        "rebase -u -b base.raw -F raw bitmaps.qcow2",
        "rebase -c -b base.raw -F raw bitmaps.qcow2",
        "rebase -b '' snapshots.qcow2",
        "rebase -b new.raw -F raw snapshots.qcow2",
        "rebase -c -b new.raw -F raw snapshots.qcow2",
        "rebase -t none -b new.raw -F raw a.qcow2",
        "rebase -t writethrough -b new.raw -F raw a.qcow2",
        "rebase -t directsync -b new.raw -F raw a.qcow2",
        "rebase -t unsafe -b new.raw -F raw a.qcow2",
        "rebase -t nonsense -b new.raw -F raw a.qcow2",
        "rebase -T none -b new.raw -F raw a.qcow2",
        "rebase -T nonsense -b new.raw -F raw a.qcow2",
        "rebase -p -t nonsense -b new.raw -F raw a.qcow2",
        "rebase -q -b new.raw -F raw a.qcow2",
        "rebase -p -b new.raw -F raw a.qcow2",
        "rebase -p -q -b new.raw -F raw a.qcow2",
        "rebase -p -u -b new.raw -F raw a.qcow2",
        "rebase -u -U -b new.raw -F raw a.qcow2",
        "rebase -U -b new.raw -F raw a.qcow2",
        "rebase -b new.raw --backing-format raw a.qcow2",
        "rebase --backing new.raw --backing-format raw --cache none --backing-cache none a.qcow2",
        "rebase --backing-unsafe --backing new.raw -F raw a.qcow2",
        "rebase --compress -b new.raw -F raw a.qcow2",
        "rebase -b a.qcow2 -F qcow2 a.qcow2",
        "rebase --object secret,id=s,data=x -b new.raw -F raw a.qcow2",
        "rebase --object nonsense -b new.raw -F raw a.qcow2",
        "rebase -b broken.qcow2 -F qcow2 a.qcow2",
        "rebase -b '' broken.qcow2",
        "rebase -x a.qcow2",
        "rebase -b",
    ];
    LINES.iter().map(|line| Case::after(format!("rebase/line/{}", label(line)), SCENE, line)).collect()
}
