//! `digest` tells equal content from different content, whatever it is kept in.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use testkit::oracle::{oracle, stock};
use testkit::run::Run;
use testkit::tximg::own;
use testkit::{scene, tximg};

/// The digests that a command line prints.
fn digests(dir: &Path, line: &str) -> Vec<String> {
    let outcome = own(dir, &format!("digest {line}"));
    assert!(outcome.success(), "{line}: {}", outcome.err());
    outcome.out().lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Data, zeroes that are written and holes, ending in the middle of a chunk.
fn content() -> Vec<u8> {
    let mut content = vec![0; (5 << 20) + 512];
    for (number, byte) in content.iter_mut().enumerate() {
        if (number >> 17) % 3 == 1 {
            *byte = (number % 251) as u8;
        }
    }
    content
}

#[test]
fn equal_content_has_equal_digests_in_any_format() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    std::fs::write(dir.join("a.raw"), content()).expect("scratch files can be written");
    for (options, name) in [
        ("-O qcow2", "a.qcow2"),
        ("-O qcow2 -o cluster_size=512", "small.qcow2"),
        ("-O qcow2 -o cluster_size=2M,extended_l2=on", "large.qcow2"),
        ("-O qcow2 -c", "compressed.qcow2"),
        ("-O raw -S 0", "full.raw"),
    ] {
        stock(dir, &format!("convert -f raw {options} a.raw {name}"));
    }
    stock(dir, "create -q -f qcow2 -b a.qcow2 -F qcow2 overlay.qcow2");
    let all = digests(dir, "a.raw a.qcow2 small.qcow2 large.qcow2 compressed.qcow2 full.raw overlay.qcow2");
    assert_eq!(all.len(), 7);
    assert!(all.iter().all(|digest| *digest == all[0] && digest.len() == 64), "{all:?}");
}

#[test]
fn size_and_every_byte_count() {
    let dir = scene::empty();
    let dir = dir.path();
    let mut bytes = content();
    let mut seen = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.join(name), bytes).expect("scratch files can be written");
        let mut found = digests(dir, &format!("-f raw {name}"));
        seen.append(&mut found);
    };
    write("a", &bytes);
    write("longer", &[&bytes[..], &[0; 512]].concat());
    for at in [0, 1 << 16, bytes.len() - 1] {
        bytes[at] ^= 1;
        write("changed", &bytes);
    }
    let mut different = seen.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
}

#[test]
fn snapshots_are_hashed_as_they_were() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let dir = dir.path();
    std::fs::write(dir.join("a.raw"), content()).expect("scratch files can be written");
    stock(dir, "convert -f raw -O qcow2 a.raw a.qcow2");
    stock(dir, "snapshot -c then a.qcow2");
    let write = Run::new(&oracle().io, dir).args(["-c", "write -P 7 1M 64k", "a.qcow2"]).run();
    assert!(write.success(), "{}", write.err());
    let raw = digests(dir, "a.raw");
    assert_eq!(digests(dir, "-l then a.qcow2"), raw);
    assert_eq!(digests(dir, "-l snapshot.name=then a.qcow2"), raw);
    assert_ne!(digests(dir, "a.qcow2"), raw);
    let missing = own(dir, "digest -l never a.qcow2");
    assert_eq!(missing.err(), "tximg: Failed to load snapshot: Can't find snapshot\n");
}

#[test]
fn an_empty_pebibyte_takes_no_time() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    stock(dir.path(), "create -q -f qcow2 -o cluster_size=2M,preallocation=off huge.qcow2 1P");
    let outcome = Run::new(tximg::binary(), dir.path())
        .named("tximg")
        .args(["digest", "--output=json", "--image-opts", "driver=qcow2,file.filename=huge.qcow2"])
        .timeout(Duration::from_secs(20))
        .run();
    assert!(outcome.success(), "{}", outcome.err());
    let told: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("it prints JSON");
    assert_eq!(told[0]["virtual-size"], 1_u64 << 50);
    assert_eq!(told[0]["filename"], "driver=qcow2,file.filename=huge.qcow2");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_hashed() {
    let dir = scene::empty();
    std::fs::write(dir.path().join("a"), [7; 1024]).expect("scratch files can be written");
    let outcome = own(dir.path(), "digest -f raw missing a");
    assert_eq!((outcome.code(), outcome.out().lines().count()), (Some(1), 1));
    assert_eq!(
        outcome.err(),
        "tximg: Could not open 'missing': Could not open 'missing': No such file or directory\n"
    );
    let usage = own(dir.path(), "digest");
    assert_eq!(usage.err(), "tximg: Expecting image file names\nTry 'tximg digest --help' for more info\n");
}
