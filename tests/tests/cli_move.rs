//! `mv` and `rm`: names change together with what says them, or not at all.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::symlink;

use testkit::cataloged::{Scene, names};

/// The backing file that an image names.
fn backing(scene: &Scene, name: &str) -> String {
    let told = scene.json(&format!("info --output json {name}"));
    told["backing-filename"].as_str().unwrap_or_default().to_owned()
}

/// A base and overlays in two directories that name it in each way; a word of data in each.
fn family() -> Scene {
    let scene = Scene::new();
    std::fs::create_dir(scene.images().join("d")).expect("scratch files can be written");
    scene.write("base", &[7; 1 << 20]);
    scene.out("convert -f raw -O qcow2 base base.qcow2");
    scene.out("create -q -f qcow2 -b base.qcow2 -F qcow2 near.qcow2");
    scene.out("create -q -f qcow2 -b ../base.qcow2 -F qcow2 d/far.qcow2");
    let absolute = scene.images().join("base.qcow2").display().to_string();
    scene.out(&format!("create -q -f qcow2 -b {absolute} -F qcow2 absolute.qcow2"));
    scene.out(&format!("create -q -f qcow2 -b file:{absolute} -F qcow2 protocol.qcow2"));
    scene.out("create -q -f qcow2 -b near.qcow2 -F qcow2 top.qcow2");
    scene
}

fn digests(scene: &Scene) -> Vec<String> {
    let told =
        scene.json("digest --output json near.qcow2 d/far.qcow2 absolute.qcow2 protocol.qcow2 top.qcow2");
    names(&told, "digest")
}

#[test]
fn every_overlay_follows_and_names_stay_of_their_kind() {
    let scene = family();
    let before = digests(&scene);
    let told = scene.out("mv base.qcow2 d/moved.qcow2");
    assert_eq!(told.matches("Changed the backing file of '").count(), 4, "{told}");
    let there = scene.images().join("d/moved.qcow2").display().to_string();
    assert_eq!(backing(&scene, "near.qcow2"), "d/moved.qcow2");
    assert_eq!(backing(&scene, "d/far.qcow2"), "moved.qcow2");
    // `out` and `json` leave out the directory.
    assert_eq!(backing(&scene, "absolute.qcow2"), "d/moved.qcow2");
    assert!(scene.run("info absolute.qcow2").out().contains(&format!("backing file: {there}\n")));
    assert!(scene.run("info protocol.qcow2").out().contains(&format!("backing file: file:{there}")));
    assert_eq!(digests(&scene), before);
    for name in ["near.qcow2", "d/far.qcow2", "absolute.qcow2", "protocol.qcow2", "d/moved.qcow2"] {
        assert!(scene.run(&format!("check {name}")).success(), "{name}");
    }
    assert!(!scene.images().join("base.qcow2").exists());
    let log = scene.json("log --output json d/moved.qcow2");
    assert_eq!(log.as_array().map(Vec::len), Some(2), "its history came along: {log}");
}

#[test]
fn an_image_that_moves_goes_on_naming_the_same_files() {
    let scene = family();
    let before = digests(&scene);
    assert_eq!(scene.out("mv -q near.qcow2 d"), "");
    assert_eq!(backing(&scene, "d/near.qcow2"), "../base.qcow2");
    assert_eq!(backing(&scene, "top.qcow2"), "d/near.qcow2");
    assert_eq!(names(&scene.json("digest --output json d/near.qcow2 top.qcow2"), "digest"), before[..2]);
    scene.out("mv d/near.qcow2 near.qcow2");
    assert_eq!(
        (backing(&scene, "near.qcow2"), backing(&scene, "top.qcow2")),
        ("base.qcow2".into(), "near.qcow2".into())
    );
    assert_eq!(digests(&scene), before);
}

#[test]
fn a_move_that_cannot_be_complete_does_nothing() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = family();
    let options = "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"base.qcow2\"}}";
    scene.stock(&format!("create -q -f qcow2 -b '{options}' -F qcow2 options.qcow2"));
    scene.out("catalog scan -q .");
    let files = ["near.qcow2", "d/far.qcow2", "absolute.qcow2", "protocol.qcow2"];
    let before = (files.map(|name| backing(&scene, name)), digests(&scene));
    let refused = scene.run("mv base.qcow2 new.qcow2");
    assert_eq!(refused.code(), Some(1));
    assert!(refused.err().contains("options.qcow2': It names the image by options"), "{}", refused.err());
    assert_eq!((files.map(|name| backing(&scene, name)), digests(&scene)), before);
    for name in files {
        assert!(scene.run(&format!("check {name}")).success(), "{name}");
    }
    assert!(scene.images().join("base.qcow2").exists() && !scene.images().join("new.qcow2").exists());
}

#[test]
fn moves_that_make_no_sense_are_refused() {
    let scene = family();
    symlink("base.qcow2", scene.images().join("link")).expect("it can be made");
    for (line, expected) in [
        ("mv base.qcow2 near.qcow2", "tximg: 'near.qcow2' exists\n"),
        ("mv base.qcow2 base.qcow2", "tximg: 'base.qcow2' exists\n"),
        ("mv link new", "tximg: 'link' is a symbolic link; name the image itself\n"),
        ("mv base.qcow2 link", "tximg: 'link' exists\n"),
        ("mv d new", "tximg: 'd' is not a regular file\n"),
        ("mv missing new", "tximg: 'missing' does not exist\n"),
        ("rm --force link", "tximg: 'link' is a symbolic link; name the image itself\n"),
        ("rm missing", "tximg: 'missing' does not exist\n"),
        ("rm d", "tximg: 'd' is not a regular file\n"),
        ("rm", "tximg: Expecting image file names\nTry 'tximg rm --help' for more info\n"),
        ("mv base.qcow2", "tximg: Expecting two image file names\nTry 'tximg mv --help' for more info\n"),
    ] {
        let told = scene.run(line);
        assert_eq!((told.code(), told.err().as_str()), (Some(1), expected), "{line}");
    }
    assert_eq!(scene.run("mv base.qcow2 nowhere/new").code(), Some(1));
    assert!(scene.images().join("base.qcow2").exists());
}

#[test]
fn what_others_need_is_not_removed_unless_it_is_forced() {
    let scene = family();
    let refused = scene.run("rm top.qcow2 near.qcow2 base.qcow2");
    assert!(
        refused.err().contains("Refusing to remove 'base.qcow2': 3 other images need it\n"),
        "{}",
        refused.err()
    );
    assert!(scene.images().join("top.qcow2").exists(), "all are removed or none");
    scene.out("rm near.qcow2 top.qcow2");
    scene.out("rm --force base.qcow2");
    let left = names(&scene.json("catalog list --output json"), "filename");
    assert_eq!(left, ["absolute.qcow2", "base.qcow2", "d/far.qcow2", "protocol.qcow2"]);
    assert!(scene.out("catalog list").contains("base.qcow2 (not there)\n"), "what is needed is still known");
}

#[test]
fn an_image_in_use_is_not_removed() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = family();
    let disk =
        journal::Fs::open(&journal::RealFs, &scene.images().join("top.qcow2"), journal::OpenOptions::WRITE);
    let disk = disk.expect("it was made");
    disk.lock(journal::Claim::writer()).expect("nobody else has it");
    for line in ["rm top.qcow2", "mv top.qcow2 new.qcow2"] {
        let refused = scene.run(line);
        assert_eq!(refused.code(), Some(1), "{line}");
        assert!(refused.err().contains("lock"), "{}", refused.err());
    }
    assert!(scene.images().join("top.qcow2").exists());
}

#[test]
fn extents_belong_to_the_image_that_names_them() {
    let scene = Scene::new();
    std::fs::create_dir(scene.images().join("d")).expect("scratch files can be written");
    scene.out("create -q -f vmdk -o subformat=monolithicFlat disk.vmdk 8M");
    let needed = "1 other image needs it\n";
    for (line, expected) in [
        ("rm disk-flat.vmdk", format!("Refusing to remove 'disk-flat.vmdk': {needed}")),
        ("create -f raw disk-flat.vmdk 1M", format!("Refusing to replace 'disk-flat.vmdk': {needed}")),
        ("mv disk-flat.vmdk other.vmdk", "It has its data in the file".to_owned()),
        ("mv disk.vmdk d", "cannot go to another directory: it has extents in files".to_owned()),
    ] {
        let told = scene.run(line);
        assert_eq!(told.code(), Some(1), "{line}");
        assert!(told.err().contains(&expected), "{line}: {}", told.err());
    }
    assert!(scene.out("catalog tree").contains("disk.vmdk (vmdk, extent below)\n"));
    assert!(scene.out("catalog show disk.vmdk").contains("extent: "));
    scene.out("mv disk.vmdk renamed.vmdk");
    assert!(scene.run("check renamed.vmdk").success() && scene.run("map renamed.vmdk").success());
}
