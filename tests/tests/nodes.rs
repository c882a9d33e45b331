//! Images that are written through other nodes, read by qemu-img.

#![allow(clippy::disallowed_methods, reason = "files that tests make need not survive anything")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use testkit::oracle::oracle;
use testkit::run::Run;
use testkit::script::{self, noise};
use testkit::tximg::own;
use testkit::{scene, words};

/// Where a part of a file starts, and how long it is.
const PART: std::ops::Range<usize> = 64 << 10..(64 << 10) + (3 << 20);

/// `disk` is copied into an image through those nodes: how they are called, and how the image is made empty.
const NODES: &[(&str, &str)] = &[
    ("driver=qcow2,file.driver=preallocate,file.file.filename=a", "img create -q -f qcow2 a 1M"),
    (
        "driver=qcow2,file.driver=raw,file.offset=64k,file.size=3M,file.file.filename=a",
        "noise a 4M 3\nimg create -q -f qcow2 -o preallocation=metadata b 1M
         img convert -n -f raw --target-image-opts b driver=raw,offset=64k,file.filename=a",
    ),
    (
        "driver=vdi,file.driver=raw,file.offset=64k,file.file.filename=a",
        "noise a 64k 3\nimg create -q -f vdi b 1M\ncut a 1M
         img convert -n -f raw --target-image-opts b driver=raw,offset=64k,file.filename=a",
    ),
    ("driver=raw,file.driver=qcow2,file.file.filename=a", "img create -q -f qcow2 a 1M"),
    ("driver=raw,file.driver=qcow2,file.file.filename=a", "img create -q -f qcow2 -o cluster_size=512 a 1M"),
    (
        "driver=qcow2,file.driver=qcow2,file.file.filename=a",
        "img create -q -f qcow2 b 1M\nimg create -q -f qcow2 a 4M
         img convert -n -f raw --target-image-opts b driver=qcow2,file.filename=a",
    ),
    (
        "driver=qcow2,file.driver=vhdx,file.file.filename=a",
        "img create -q -f qcow2 -o cluster_size=4k b 1M\nimg create -q -f vhdx a 4M
         img convert -n -f raw --target-image-opts b driver=vhdx,file.filename=a",
    ),
    (
        "driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=a,children.1.driver=vmdk,children.1.file.filename=b",
        "img create -q -f qcow2 a 1M\nimg create -q -f vmdk b 1M",
    ),
    ("driver=compress,file.driver=qcow2,file.file.filename=a", "img create -q -f qcow2 a 1M"),
];

fn runs(dir: &Path, line: &str) {
    let outcome = Run::new(&oracle().img, dir).args(words::split(line)).run();
    assert!(outcome.success(), "{line}: {}{}", outcome.out(), outcome.err());
}

#[test]
fn what_is_written_through_nodes_qemu_img_reads() {
    let disk = [noise(300 << 10, 1), vec![0; 200 << 10], noise((1 << 20) - (500 << 10), 2)].concat();
    for (node, script) in NODES {
        let scene = scene::empty();
        let dir = scene.path();
        fs::write(dir.join("disk"), &disk).expect("there is room");
        script::run(script, dir);
        let around = fs::read(dir.join("a")).expect("the script has made it");
        // A second time there is something already.
        for _ in 0..2 {
            let copy = format!("convert -n -f raw --target-image-opts disk {node}");
            let copied = own(dir, &copy);
            assert!(copied.success(), "{copy}: {}", copied.err());
            runs(dir, &format!("compare --image-opts {node} driver=raw,file.filename=disk"));
        }
        if node.starts_with("driver=qcow2") {
            runs(dir, &format!("check --image-opts {node}"));
        }
        if node.contains("offset=64k,file.size") {
            let after = fs::read(dir.join("a")).expect("it is still there");
            let outside = |bytes: &[u8]| [&bytes[..PART.start], &bytes[PART.end..]].concat();
            assert!(outside(&after) == outside(&around), "{node}: bytes around the part have changed");
        }
    }
}
