//! `info` and `snapshot -l`: every shape, human and JSON.

use testkit::case::Case;
use testkit::shapes::{self, Shape};

pub fn cases() -> Vec<Case> {
    let mut all: Vec<Case> =
        shapes::readable().chain(shapes::BROKEN).chain(shapes::LOOPS).flat_map(of_shape).collect();
    all.extend(shapes::SNAPSHOTS.iter().chain(shapes::QCOW2).flat_map(snapshots));
    all
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let mut variants = vec![
        ("human", "info {img}"),
        ("json", "info --output=json {img}"),
        ("named-format", "info -f {fmt} {img}"),
        ("as-raw", "info -f raw --output json {img}"),
    ];
    if shape.traits.backed || shape.name.starts_with("broken/") {
        variants.push(("chain", "info --backing-chain {img}"));
        variants.push(("chain-json", "info -U --backing-chain --output=json {img}"));
    }
    variants
        .into_iter()
        .map(|(variant, line)| Case::reads(format!("info/{}/{variant}", shape.name), shape, line))
        .collect()
}

fn snapshots(shape: &'static Shape) -> Vec<Case> {
    let variants = [("list", "snapshot -l {img}"), ("default", "snapshot -f {fmt} {img}")];
    variants
        .into_iter()
        .map(|(variant, line)| Case::reads(format!("snapshot/{}/{variant}", shape.name), shape, line))
        .collect()
}
