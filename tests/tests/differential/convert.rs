//! `convert`: every shape to every kind of target, and every option.

use testkit::case::Case;
use testkit::shapes::{self, Shape};

/// Targets that every shape is converted to.
const TARGETS: [(&str, &str); 10] = [
    ("raw", "-O raw"),
    ("qcow2", "-O qcow2"),
    ("v2", "-O qcow2 -o compat=0.10"),
    ("clusters-4k", "-O qcow2 -o cluster_size=4k"),
    ("clusters-2M", "-O qcow2 -o cluster_size=2M"),
    ("subclusters", "-O qcow2 -o extended_l2=on"),
    ("zlib", "-c -O qcow2"),
    ("zstd", "-c -O qcow2 -o compression_type=zstd"),
    ("metadata", "-O qcow2 -o preallocation=metadata"),
    ("unordered", "-O qcow2 -W -m 16"),
];

pub fn cases() -> Vec<Case> {
    // Walking a pebibyte takes the oracle minutes.
    shapes::readable().filter(|shape| shape.name != "qcow2/pebibyte").flat_map(of_shape).collect()
}

fn of_shape(shape: &'static Shape) -> Vec<Case> {
    let fits = |name: &str| !shape.traits.huge || !["raw", "metadata", "clusters-4k"].contains(&name);
    TARGETS
        .iter()
        .filter(|(name, _)| fits(name))
        .map(|(name, options)| {
            let line = format!("convert -f {{fmt}} {options} {{img}} out");
            Case::makes(format!("convert/{}/{name}", shape.name), shape, &line)
        })
        .collect()
}
