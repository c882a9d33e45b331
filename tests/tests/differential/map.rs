//! `map`: every shape, human and JSON, whole and in part.

use testkit::case::{Case, label};
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let walked = shapes::readable().filter(|shape| shape.name != "qcow2/pebibyte");
    let mut all: Vec<Case> = walked.flat_map(of_shape).collect();
    all.extend(
        shapes::BROKEN
            .iter()
            .map(|shape| Case::reads(format!("map/{}/json", shape.name), shape, "map --output=json {img}")),
    );
    all.extend(lines());
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let variants = [
        ("human", "map {img}"),
        ("json", "map --output=json {img}"),
        ("named-format", "map -U -f {fmt} --output json {img}"),
        ("from", "map --output=json -s 100k {img}"),
        ("window", "map --output=json --start-offset=66048 --max-length 1M {img}"),
        ("human-window", "map --start-offset=1M --max-length=300000 {img}"),
    ];
    variants
        .into_iter()
        .map(|(variant, line)| Case::reads(format!("map/{}/{variant}", shape.name), shape, line))
        .collect()
}

/// What `--start-offset` and `--max-length` may be, and how lines go wrong.
fn lines() -> Vec<Case> {
    const LINES: &[&str] = &[
        "map",
        "map a.qcow2 b.qcow2",
        "map gone.qcow2",
        "map --output=yaml a.qcow2",
        "map --output= a.qcow2",
        "map -f foo a.qcow2",
        "map -f vmdk a.qcow2",
        "map --start-offset=8M a.qcow2",
        "map --start-offset=9M a.qcow2",
        "map --start-offset=9M --output=json a.qcow2",
        "map --start-offset=-1 a.qcow2",
        "map --start-offset=foo a.qcow2",
        "map --start-offset= a.qcow2",
        "map --start-offset=1.5M --output=json a.qcow2",
        "map --start-offset=1 --output=json a.qcow2",
        "map --start-offset=1000001 --max-length=1 --output=json a.qcow2",
        "map --max-length=0 a.qcow2",
        "map --max-length=0 --output=json a.qcow2",
        "map --max-length=-1 a.qcow2",
        "map --max-length=16E a.qcow2",
        "map --max-length=1x a.qcow2",
        "map -l 1M --output=json a.qcow2",
        "map --image-opts --output=json driver=qcow2,file.filename=a.qcow2",
        "map --image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2",
        "map --output=json json:{\"driver\":\"qcow2\",\"file.filename\":\"a.qcow2\"}",
        "map -x a.qcow2",
        "map --object secret,id=a,data=b a.qcow2",
    ];
    let shape = shapes::named("qcow2/fragmented");
    let case = |line: &&str| Case::reads(format!("map/line/{}", label(line)), shape, line);
    LINES.iter().map(case).collect()
}
