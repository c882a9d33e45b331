//! The judge of simulated images against QEMU's own: the same content, the same faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;
use std::path::Path;
use std::process::Command;

use journal::SimFs;
use testkit::judge::{Judge, Verdict};
use testkit::oracle::oracle;
use testkit::script;
use testkit::shapes::{self, Shape};

/// A directory's files in a simulated tree.
fn tree(directory: &Path) -> SimFs {
    let fs = SimFs::new();
    add(&fs, directory, Path::new("/"));
    fs
}

fn add(fs: &SimFs, from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = to.join(entry.file_name());
        if entry.path().is_dir() {
            add(fs, &entry.path(), &name);
        } else {
            fs.add_file(&name, &fs::read(entry.path()).unwrap());
        }
    }
}

fn img(directory: &Path, args: &[&str]) -> bool {
    Command::new(&oracle().img).args(args).current_dir(directory).output().unwrap().status.success()
}

fn judged(directory: &Path, name: &str) -> Verdict {
    let fs = tree(directory);
    let mut judge = if name.ends_with(".qcow2") {
        Judge::of_qcow2(Path::new("/").join(name))
    } else {
        Judge::of_raw(Path::new("/").join(name))
    };
    judge.judge(&fs.freeze()).clone().unwrap().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn is_small(shape: &&Shape) -> bool {
    !shape.traits.huge && shape.image.ends_with(".qcow2") && !shape.name.contains("json")
}

#[test]
fn it_reads_what_qemu_reads_and_finds_sound_what_qemu_does() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let mut seen = 0;
    for shape in shapes::readable().chain(shapes::RICH).filter(is_small) {
        let scratch = tempfile::tempdir().unwrap();
        script::run(shape.script, scratch.path());
        let verdict = judged(scratch.path(), shape.image);
        let is_sound = img(scratch.path(), &["check", "-f", "qcow2", shape.image]);
        assert_eq!(verdict.objection().is_none(), is_sound, "{}: {:?}", shape.name, verdict.objection());
        assert!(img(scratch.path(), &["convert", "-O", "raw", shape.image, "plain.raw"]), "{}", shape.name);
        let plain = judged(scratch.path(), "plain.raw");
        assert_eq!((verdict.size, verdict.content), (plain.size, plain.content), "{}", shape.name);
        for snapshot in &verdict.qcow2.unwrap().snapshots {
            let view = format!("snapshot.id={}", snapshot.id);
            assert!(img(scratch.path(), &["convert", "-l", &view, "-O", "raw", shape.image, "past.raw"]));
            if snapshot.state_size == 0 {
                let content = judged(scratch.path(), "past.raw").content;
                assert_eq!(snapshot.content, content, "{} {view}", shape.name);
            }
        }
        seen += 1;
    }
    assert!(seen > 40, "only {seen} images");
}

#[test]
fn it_objects_to_what_qemu_objects_to() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let made = "
        img create -q -f qcow2 -o cluster_size=512 a.qcow2 64k
        io -f qcow2 a.qcow2 | write -P 2 0 8k
        img snapshot -c one a.qcow2
        img bitmap --add -g 512 a.qcow2 b0
        io -f qcow2 a.qcow2 | write -P 5 0 2k
    ";
    let pokes = [
        "rb[0][3] += 1",
        "rb[0][3] = 0",
        "l2[0][0] ^= 0x8000000000000000",
        "l2[0][9] = 0x8000000000000600",
        "l2[0][1] = l2[0][0]",
        "l1[0] ^= 0x8000000000000000",
        "snapshots_offset = 0x600",
        "nb_snapshots = 0",
        "autoclear = 0",
    ];
    for poke in pokes {
        let scratch = tempfile::tempdir().unwrap();
        script::run(&format!("{made}\npoke a.qcow2 {poke}"), scratch.path());
        let fs = tree(scratch.path());
        let opinion = Judge::of_qcow2("/a.qcow2").judge(&fs.freeze()).clone().unwrap();
        let objection = opinion.map_or_else(Some, |verdict| verdict.objection());
        let is_sound = img(scratch.path(), &["check", "-f", "qcow2", "a.qcow2"]);
        assert!(!is_sound, "{poke} does no harm in QEMU's eyes");
        assert!(objection.is_some(), "{poke} is not seen");
    }
}

#[test]
fn it_does_not_look_again_where_nothing_it_saw_has_changed() {
    use journal::{Fs, OpenOptions};
    let fs = SimFs::new();
    fs.add_file("/a.raw", &[1; 9000]);
    fs.add_file("/b", &[1; 9000]);
    let mut judge = Judge::of_raw("/a.raw");
    let before = judge.judge(&fs.freeze()).clone();
    fs.open(Path::new("/b"), OpenOptions::WRITE).unwrap().write_at(0, b"x").unwrap();
    assert_eq!(*judge.judge(&fs.freeze()), before);
    assert_eq!(judge.readings, 1);
    fs.open(Path::new("/a.raw"), OpenOptions::WRITE).unwrap().write_at(8999, b"x").unwrap();
    assert_ne!(*judge.judge(&fs.freeze()), before);
    assert_eq!(judge.readings, 2);
}
