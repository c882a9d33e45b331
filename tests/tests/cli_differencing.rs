//! Differencing disks of Hyper-V's formats: whether the parent is the one that they were made from.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use testkit::cataloged::Scene;

const FORMATS: [(&str, &str); 2] = [("vpc", "-o force_size=on"), ("vhdx", "-o block_size=1M")];

/// `base`, `middle` on it and `top` on that, and `other` which is like none of them.
fn family(format: &str, options: &str) -> Scene {
    let scene = Scene::new();
    let made = |byte: u8| [vec![byte; 1 << 20], vec![0; 3 << 20]].concat();
    scene.write("raw", &made(1));
    scene.write("other.raw", &made(2));
    scene.out(&format!("convert -f raw -O {format} {options} raw base"));
    scene.out(&format!("convert -f raw -O {format} {options} other.raw other"));
    scene.out(&format!("create -q -f {format} -b base -F {format} middle"));
    scene.out(&format!("create -q -f {format} -b middle -F {format} top"));
    scene
}

fn refused(scene: &Scene, line: &str) {
    let outcome = scene.run(line);
    assert!(!outcome.success(), "{line}");
    assert!(outcome.err().contains("The parent is not the disk that this one was made from"), "{line}");
    assert!(outcome.err().contains("rebase -u"), "{}", outcome.err());
}

#[test]
fn another_parent_is_refused_until_it_is_taken_for_the_right_one() {
    for (format, options) in FORMATS {
        let scene = family(format, options);
        scene.out(&format!("compare -f {format} -F raw top raw"));
        scene.write("base", &scene.read("other"));
        for line in [
            "convert -f FORMAT -O raw top out",
            "map -f FORMAT top",
            "rebase -f FORMAT -b other -F FORMAT middle",
        ] {
            refused(&scene, &line.replace("FORMAT", format));
        }
        assert!(!scene.images().join("out").exists());
        // Alone, each of them can be looked at.
        scene.out(&format!("info -f {format} middle"));
        scene.out(&format!("info -f {format} --backing-chain top"));
        scene.out(&format!("rebase --force -u -f {format} -b base -F {format} middle"));
        scene.out(&format!("compare -f {format} -F raw top other.raw"));
    }
}

#[test]
fn what_the_commands_change_is_remembered() {
    for (format, options) in FORMATS {
        let scene = family(format, options);
        // The content of the disk in the middle stays, and those on it go on standing on it.
        scene.out(&format!("rebase -f {format} -b other -F {format} middle"));
        scene.out(&format!("compare -f {format} -F raw top raw"));
        scene.out(&format!("rebase -f {format} -b other -F {format} top"));
        scene.out(&format!("compare -f {format} -F raw top raw"));
        scene.out(&format!("commit --force -f {format} top"));
        scene.out(&format!("compare -f {format} -F raw top raw"));
        scene.out(&format!("compare -f {format} -F raw other raw"));
    }
}

#[test]
fn a_parent_that_is_not_there_yet_can_be_named() {
    for (format, options) in FORMATS {
        let scene = family(format, options);
        scene.out(&format!("rebase --force -u -f {format} -b later -F {format} middle"));
        assert!(!scene.run(&format!("compare -f {format} -F raw top raw")).success());
        scene.out("mv base later");
        scene.out(&format!("compare -f {format} -F raw top raw"));
    }
}
