//! Bundles of Parallels: a descriptor, and the images that hold the disk. QEMU makes the images, and has no
//! driver for the whole.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use testkit::effects::run_tximg;
use testkit::tximg::own;
use testkit::{need, scene, script};

const NOBODY: &str = "{00000000-0000-0000-0000-000000000000}";
const MIB: usize = 1 << 20;

fn image(guid: &str, kind: &str, file: &str) -> String {
    format!("<Image><GUID>{guid}</GUID><Type>{kind}</Type><File>{file}</File></Image>")
}

fn shot(guid: &str, parent: &str) -> String {
    format!("<Shot><GUID>{guid}</GUID><ParentGUID>{parent}</ParentGUID></Shot>")
}

/// A disk of 7 MiB in two parts, of which the first has a snapshot and the second a plain image; 1 MiB between
/// them is in no part.
fn bundle(dir: &Path) -> Vec<u8> {
    fs::create_dir(dir.join("disk.hdd")).expect("scratch directories can be made");
    script::run(
        "noise root 3M 1\nnoise patch 70000 2\nnoise disk.hdd/plain.hds 3M 3
         img convert -f raw -O parallels -o cluster_size=64k root disk.hdd/root.hds
         img create -f parallels -o cluster_size=64k disk.hdd/top.hds 3M
         io -f parallels disk.hdd/top.hds | write -q -s patch 1M 64k | write -z -q 2M 4k | write -P 5 2240k 64k",
        dir,
    );
    let first = image("{aa}", "Compressed", "root.hds") + &image("{bb}", "Compressed", "top.hds");
    let second = image("{AA}", "Plain", "plain.hds");
    let descriptor = format!(
        "<?xml version='1.0' encoding='UTF-8'?>
         <Parallels_disk_image Version=\"1.0\">
           <Disk_Parameters><Disk_size>14336</Disk_size><Cylinders>28</Cylinders><Heads>16</Heads>
             <Sectors>32</Sectors><Padding>0</Padding></Disk_Parameters>
           <StorageData>
             <Storage><Start>8192</Start><End>14336</End><Blocksize>128</Blocksize>{second}</Storage>
             <Storage><Start>0</Start><End>6144</End><Blocksize>128</Blocksize>{first}</Storage>
           </StorageData>
           <Snapshots><TopGUID>{{BB}}</TopGUID>{}{}</Snapshots>
         </Parallels_disk_image>",
        shot("{aa}", NOBODY),
        shot("{bb}", "{aa}"),
    );
    fs::write(dir.join("disk.hdd/DiskDescriptor.xml"), descriptor).expect("scratch files can be written");
    let read = |name: &str| fs::read(dir.join(name)).expect("the script has made it");
    let mut disk = read("root");
    disk[MIB..MIB + 65536].copy_from_slice(&read("patch")[..65536]);
    // A cluster is written as a whole.
    disk[2 * MIB..2 * MIB + 65536].fill(0);
    disk[2240 << 10..2304 << 10].fill(5);
    disk.resize(4 * MIB, 0);
    disk.extend(read("disk.hdd/plain.hds"));
    disk
}

#[test]
fn a_bundle_is_read() {
    if need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = scene::empty();
    let expected = bundle(scene.path());
    let dir = scene.path();
    for line in [
        &["convert", "disk.hdd/DiskDescriptor.xml", "out.raw"][..],
        &["convert", "-f", "prl-xml", "disk.hdd/DiskDescriptor.xml", "out.raw"],
        &["convert", "--image-opts", "driver=prl-xml,file.filename=disk.hdd/DiskDescriptor.xml", "out.raw"],
    ] {
        let run = run_tximg(dir, line);
        assert!(run.success(), "{line:?}: {}", run.err());
        let found = fs::read(dir.join("out.raw")).expect("the target is there");
        assert!(found == expected, "{line:?}");
        fs::remove_file(dir.join("out.raw")).expect("scratch files can be removed");
    }
    let info = run_tximg(dir, ["info", "disk.hdd/DiskDescriptor.xml"]).out();
    assert!(info.contains("file format: prl-xml\nvirtual size: 7 MiB (7340032 bytes)"), "{info}");
    let map = run_tximg(dir, ["map", "--output=json", "disk.hdd/DiskDescriptor.xml"]);
    let told = map.out();
    assert!(map.success() && told.contains("\"start\": 3145728, \"length\": 1048576"), "{told}{}", map.err());
}

#[test]
fn what_a_bundle_names_is_opened_with_care() {
    if need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = scene::empty();
    bundle(scene.path());
    let dir = scene.path();
    let refused = |line: &[&str], words: &str| {
        let run = run_tximg(dir, line);
        assert!(!run.success() && run.err().contains(words), "{line:?}: {}", run.err());
    };
    let descriptor = dir.join("disk.hdd/DiskDescriptor.xml");
    let text = fs::read_to_string(&descriptor).expect("the descriptor is there");
    refused(&["resize", "disk.hdd/DiskDescriptor.xml", "8M"], "read-only");
    refused(&["create", "-f", "prl-xml", "x", "8M"], "does not support image creation");
    let stranger = own(dir, "convert --untrusted -f prl-xml disk.hdd/DiskDescriptor.xml x");
    assert!(!stranger.success() && stranger.err().contains("not trusted"), "{}", stranger.err());
    for (from, to, words) in [
        ("plain.hds", "nbd:host:1", "No such file"),
        ("root.hds", "plain.hds", "Image not in Parallels format"),
        ("14336</Disk", "14000</Disk", "do not fit"),
    ] {
        fs::write(&descriptor, text.replace(from, to)).expect("scratch files can be written");
        refused(&["convert", "disk.hdd/DiskDescriptor.xml", "x"], words);
    }
}
