//! `measure`: sizes and images, for both formats and their options.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let walked = shapes::readable().filter(|shape| shape.name != "qcow2/pebibyte");
    let mut all: Vec<Case> = walked.flat_map(of_shape).collect();
    all.extend(sizes());
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let mut variants = vec![
        ("raw", "measure {img}"),
        ("qcow2", "measure -f {fmt} -O qcow2 {img}"),
        ("clusters-4k", "measure -O qcow2 -o cluster_size=4k --output=json -f {fmt} {img}"),
    ];
    if shape.traits.snapshots {
        variants.push(("snapshot", "measure -O qcow2 -l snapshot.name=s1 {img}"));
    }
    variants
        .into_iter()
        .map(|(variant, line)| Case::reads(format!("measure/{}/{variant}", shape.name), shape, line))
        .collect()
}

fn sizes() -> Vec<Case> {
    let mut all = Vec::new();
    let options = [
        "",
        "cluster_size=512",
        "cluster_size=4k",
        "cluster_size=2M",
        "compat=0.10",
        "refcount_bits=1",
        "refcount_bits=64",
        "extended_l2=on",
        "preallocation=metadata",
        "preallocation=falloc",
        "preallocation=full",
        "lazy_refcounts=on",
        "data_file=x",
        "data_file=x,data_file_raw=on",
        "encryption=on",
        "backing_file=x,backing_fmt=raw",
        "size=1M",
        "foo=1",
    ];
    for option in options {
        let name = if option.is_empty() { "none" } else { option };
        for size in ["0", "1000001", "1G", "5T"] {
            let option = if option.is_empty() { String::new() } else { format!("-o {option} ") };
            all.push(Case::alone(
                format!("measure/size/{name}/{size}"),
                &format!("measure -O qcow2 {option}--size {size}"),
            ));
        }
    }
    all
}

fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "measure",
        "measure --size 1G",
        "measure --size=1G -O raw --output=json",
        "measure --size 1G -O qcow2 --output json",
        "measure --size 1G a.qcow2",
        "measure -s 1G",
        "measure --size foo",
        "measure --size -1",
        "measure --size 8E",
        "measure --size 16E",
        "measure --size 1E -O qcow2",
        "measure --size 1E -O qcow2 -o cluster_size=2M",
        "measure -O foo --size 1G",
        "measure -O cloop --size 1G",
        "measure -f foo a.qcow2",
        "measure -f raw a.qcow2",
        "measure gone.qcow2",
        "measure a.qcow2 a.qcow2",
        "measure -f qcow2 --size 1G",
        "measure -l s1 a.qcow2",
        "measure -l snapshot.id=1 a.qcow2",
        "measure -l foo=bar a.qcow2",
        "measure -l s1 --size 1G",
        "measure --output=yaml --size 1G",
        "measure -U -O qcow2 a.qcow2",
        "measure -o help --size 1G",
        "measure -O qcow2 -o help --size 1G",
        "measure -O qcow2 -o '' --size 1G",
        "measure --image-opts driver=qcow2,file.filename=a.qcow2",
        "measure --image-opts -O qcow2 driver=qcow2,file.filename=a.qcow2,backing=",
        "measure json:{\"driver\":\"qcow2\",\"file.filename\":\"a.qcow2\"}",
        "measure -x",
        "measure --object secret,id=a,data=b --size 1M",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let case = |line: &&str| Case::reads(format!("measure/line/{}", label(line)), shape, line);
    LINES.iter().map(case).collect()
}
