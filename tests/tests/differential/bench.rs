//! `bench`: what it says and refuses; how fast it is, nobody compares here.

use testkit::case::{Case, label};
use testkit::shapes;

pub fn cases() -> Vec<Case> {
    const READS: &[&str] = &[
        "bench",
        "bench a.qcow2",
        "bench -c 10 a.qcow2",
        "bench -c 10 -f qcow2 -d 4 a.qcow2",
        "bench -c 10 -s 512 a.qcow2",
        "bench -c 10 -s 1M -S 2M a.qcow2",
        "bench -c 10 -o 1M -S 64k a.qcow2",
        "bench -c 3 -o 100M a.qcow2",
        "bench -c 3 -s 100M a.qcow2",
        "bench -c 0 a.qcow2",
        "bench -c -1 a.qcow2",
        "bench -c foo a.qcow2",
        "bench -d 0 a.qcow2",
        "bench -d foo a.qcow2",
        "bench -s 0 a.qcow2",
        "bench -s foo a.qcow2",
        "bench -s 3G a.qcow2",
        "bench -S foo a.qcow2",
        "bench -o foo a.qcow2",
        "bench -o -1 a.qcow2",
        "bench -t none -c 5 a.qcow2",
        "bench -t foo a.qcow2",
        "bench -n -c 5 a.qcow2",
        "bench -n -t none -c 5 a.qcow2",
        "bench -i threads -c 5 a.qcow2",
        "bench -i io_uring -c 5 a.qcow2",
        "bench -i native -c 5 a.qcow2",
        "bench -i native -t none -c 5 a.qcow2",
        "bench -i foo a.qcow2",
        "bench -f foo a.qcow2",
        "bench -f raw -c 5 a.qcow2",
        "bench -q -c 5 a.qcow2",
        "bench -U -c 5 a.qcow2",
        "bench --pattern=1 a.qcow2",
        "bench --flush-interval=2 a.qcow2",
        "bench --no-drain a.qcow2",
        "bench -c 5 gone.qcow2",
        "bench a.qcow2 b.qcow2",
        "bench --image-opts -c 5 driver=qcow2,file.filename=a.qcow2",
        "bench -x a.qcow2",
    ];
    const WRITES: &[&str] = &[
        "bench -w -c 8 -s 64k a.qcow2",
        "bench -w -c 8 -s 64k --pattern=65 a.qcow2",
        "bench -w -c 8 -s 64k --pattern 0xff a.qcow2",
        "bench -w -c 8 --pattern=256 a.qcow2",
        "bench -w -c 8 --pattern=-1 a.qcow2",
        "bench -w -c 8 --pattern=foo a.qcow2",
        "bench -w -c 8 -s 4k --pattern=7 --flush-interval=2 a.qcow2",
        "bench -w -c 8 -s 4k --pattern=7 -d 2 --flush-interval=2 --no-drain a.qcow2",
        "bench -w -c 8 -d 8 --flush-interval=4 a.qcow2",
        "bench -w -c 8 -d 8 --flush-interval=4 --no-drain a.qcow2",
        "bench -w -c 8 --flush-interval=foo a.qcow2",
        "bench -w -c 8 --flush-interval=-1 a.qcow2",
        "bench -w -c 300 -s 64k --pattern=9 a.qcow2",
        "bench -w -U -c 3 a.qcow2",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let mut all: Vec<Case> =
        READS.iter().map(|line| Case::reads(format!("bench/read/{}", label(line)), shape, line)).collect();
    all.extend(
        WRITES.iter().map(|line| Case::after(format!("bench/write/{}", label(line)), shape.script, line)),
    );
    all
}
