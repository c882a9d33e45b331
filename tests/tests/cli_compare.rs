//! `compare` and `bench` answer as the oracle does, and leave the same bytes.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;
use std::path::Path;

use testkit::run::Outcome;
use testkit::{compare, effects, scene, script};

/// 1 MiB of zeroes in each way that images keep them, and overlays over some.
const ZEROES: &str = "
    sparse hole 1M
    sparse data 1M
    io -f raw data | write -P 0 0 1M
    img create -q -f qcow2 unallocated 1M
    img create -q -f qcow2 zero 1M
    io -f qcow2 zero | write -z -u 0 1M
    img create -q -f qcow2 zero-kept 1M
    io -f qcow2 zero-kept | write -P 1 0 1M | write -z 0 1M
    img create -q -f qcow2 clusters 1M
    io -f qcow2 clusters | write -P 0 0 1M
    img create -q -f qcow2 compressed 1M
    io -f qcow2 compressed | write -c -P 0 0 1M
    img create -q -f qcow2 -o preallocation=metadata metadata 1M
    img create -q -f qcow2 -o preallocation=falloc falloc 1M
    img create -q -f qcow2 -b clusters -F qcow2 over-clusters
    img create -q -f qcow2 -b compressed -F qcow2 over-compressed
    img create -q -f qcow2 -b hole -F raw over-hole
    img create -q -f qcow2 -b zero -F qcow2 over-zero
    img create -q -f qcow2 -b unallocated -F qcow2 over-unallocated
    img create -q -f qcow2 short 512k
    io -f qcow2 short | write -z -u 0 512k
    img create -q -f qcow2 -b short -F qcow2 over-short 1M
";

const ZERO_NAMES: [&str; 14] = [
    "hole",
    "data",
    "unallocated",
    "zero",
    "zero-kept",
    "clusters",
    "compressed",
    "metadata",
    "falloc",
    "over-clusters",
    "over-compressed",
    "over-hole",
    "over-zero",
    "over-short",
];

/// Runs both programs and gathers what differs.
fn differences(dir: &Path, line: &str) -> Vec<String> {
    let args: Vec<&str> = line.split_whitespace().collect();
    effects::both(dir, &args).into_iter().map(|it| format!("{line}: {}", it.text)).collect()
}

fn alike(dir: &Path, lines: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = lines.into_iter().flat_map(|line| differences(dir, &line)).collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn strict_mode_tells_the_ways_of_keeping_zeroes_apart() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run(ZEROES, dir.path());
    let pairs = ZERO_NAMES.iter().flat_map(|one| ZERO_NAMES.iter().map(move |two| (one, two)));
    alike(
        dir.path(),
        pairs.filter(|(one, two)| one <= two).map(|(one, two)| format!("compare -s {one} {two}")),
    );
}

#[test]
fn the_first_difference_is_found_where_the_oracle_finds_it() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run(
        "prose base 5M 1
         img convert -f raw -O qcow2 base plain.qcow2
         img convert -f raw -O qcow2 -c base packed.qcow2
         img create -q -f qcow2 -b base -F raw over.qcow2
         sparse empty 5M
         sparse long 7M
         img create -q -f qcow2 empty.qcow2 5M",
        dir.path(),
    );
    let places = [0u64, 1, 511, 512, 65_535, 65_536, 1_048_575, 1_048_576, 3_333_333, (5 << 20) - 1];
    let mut lines = Vec::new();
    for (number, at) in places.into_iter().enumerate() {
        for base in ["base", "empty", "long"] {
            let name = format!("{base}-{number}");
            let mut bytes = fs::read(dir.path().join(base)).expect("the script made it");
            bytes[at as usize] ^= 0xff;
            if number % 2 == 0 {
                // A second difference further on must not be found first.
                let last = bytes.len() - 1;
                bytes[last] ^= 0x55;
            }
            fs::write(dir.path().join(&name), bytes).expect("the scratch directory can be written");
            let others: &[&str] = match base {
                "base" => &["base", "plain.qcow2", "packed.qcow2", "over.qcow2"],
                _ => &["empty", "empty.qcow2", "long"],
            };
            lines.extend(others.iter().map(|other| format!("compare -f raw {name} {other}")));
            lines.extend(others.iter().map(|other| format!("compare -F raw {other} {name}")));
        }
    }
    lines.extend(["plain.qcow2", "packed.qcow2", "over.qcow2"].map(|it| format!("compare -p base {it}")));
    alike(dir.path(), lines);
}

#[test]
fn messages_and_exit_codes() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run(
        "sparse a 1M
         sparse b 2M
         sparse none 0
         text odd abc
         img create -q -f qcow2 damaged 1M
         io -f qcow2 damaged | write -P 1 0 1M
         prose p 1M 1
         img convert -O qcow2 -c p packed
         cut packed 300k",
        dir.path(),
    );
    let lines = [
        "compare",
        "compare a",
        "compare a b c",
        "compare a b",
        "compare -s a b",
        "compare -q a b",
        "compare -q -s a b",
        "compare -p a b",
        "compare -p -s a b",
        "compare -pq a b",
        "compare -p nope b",
        "compare nope b",
        "compare a nope",
        "compare -f qcow2 a a",
        "compare -T foo a a",
        "compare -p -T foo a a",
        "compare -F foo a a",
        "compare none a",
        "compare -p none none",
        "compare odd a",
        "compare -f raw odd none",
        "compare -T none a b",
        "compare -U a b",
        "compare --image-opts driver=raw,file.filename=a driver=raw,file.filename=b",
        "compare --image-opts a b",
        "compare --image-opts -f raw a b",
        "compare --image-opts -F raw a b",
        "compare -p --image-opts -f raw a b",
        "compare --left-format raw --b-format raw a b",
        "compare --object foo a b",
        "compare -T foo a",
        "compare packed packed",
        "compare packed p",
        "compare --object secret,id=s,data=x a b",
    ];
    alike(dir.path(), lines.map(str::to_owned));
}

/// The figures of a bench differ from run to run.
fn without_time(mut outcome: Outcome) -> Outcome {
    let text = outcome.out();
    let lines = text.lines().map(|line| match line.strip_prefix("Run completed in ") {
        Some(time) => {
            let number = time.strip_suffix(" seconds.").unwrap_or_default();
            assert!(number.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3), "{line}");
            "Run completed"
        }
        None => line,
    });
    outcome.stdout = lines.collect::<Vec<_>>().join("\n").into_bytes();
    outcome
}

#[test]
fn bench_says_what_it_does_and_writes_what_it_says() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let lines = [
        "",
        "a b",
        "-c 10 a",
        "-c 10 a.qcow2",
        "-n a",
        "-n -t none -c 10 a",
        "-i native -c 10 a",
        "-i native -t directsync -c 10 a",
        "-i io_uring -c 100 a",
        "-i io_uring -t none -c 10 a",
        "-i foo a",
        "-t foo a",
        "-w -c 10 --flush-interval 3 -f raw a",
        "-c 10 --flush-interval 3 a",
        "-w -c 10 --no-drain -f raw a",
        "-w -c 10 --pattern 5 a",
        "-w -q -c 100 -d 2 --flush-interval 5 --pattern 9 -f raw a",
        "-w -U -c 10 a",
        "-s 1 -c 10 a",
        "-s 5M -c 1 -d 1 a",
        "-s 3M -S 3M -c 3 -d 1 a",
        "-o 4M -c 10 a",
        "-o 3M -c 1000 a",
        "-w -o 3 -S 4097 -c 300 -f raw --pattern 65 a",
        "-w -o 3 -S 4097 -c 300 --pattern 66 a.qcow2",
        "-w -n -t none -f raw -c 64 -S 8k --pattern 67 a",
        "-w -i io_uring -f raw -c 64 -o 1M -S 8k --pattern 68 a",
        "-w -i io_uring -c 64 -o 2M -s 64k --pattern 70 a.qcow2",
        "-n -i threads -c 1 a",
        "-c 1 none",
        "nope",
        "-w nope",
        "--image-opts driver=raw,file.filename=a -c 1",
        "--image-opts -f raw a",
        "-w -f qcow2 a",
        "-w --no-drain -c 300 -d 10 --flush-interval 100 --pattern 71 a.qcow2",
    ];
    let (expected, got) = (scene::empty(), scene::empty());
    for dir in [&expected, &got] {
        script::run("prose a 4M 1\nimg convert -O qcow2 a a.qcow2\nsparse none 0", dir.path());
    }
    let mut wrong = Vec::new();
    for line in lines {
        let args: Vec<&str> = ["bench"].into_iter().chain(line.split_whitespace()).collect();
        let left = without_time(effects::run_oracle(expected.path(), &args));
        let right = without_time(effects::run_tximg(got.path(), &args));
        let told = compare::outcomes(&left, &right).into_iter().map(|it| format!("{line}: {}", it.text));
        wrong.extend(told);
    }
    for name in ["a", "a.qcow2"] {
        let right = got.path().join(name);
        let same =
            effects::run_oracle(expected.path(), ["compare".as_ref(), name.as_ref(), right.as_os_str()]);
        if !same.success() {
            wrong.push(format!("{name}: {}", same.out()));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
