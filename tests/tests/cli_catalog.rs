//! The catalog knows what commands did and who needs whom, and nothing depends on it.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::cataloged::{Scene, names};

#[test]
fn what_commands_make_is_known_with_what_it_needs() {
    let scene = Scene::new();
    scene.chain();
    assert_eq!(
        scene.out("catalog tree"),
        "base.qcow2 (qcow2)\n├── one.qcow2 (qcow2)\n│   └── top.qcow2 (qcow2)\n└── two.qcow2 (qcow2)\n"
    );
    assert_eq!(scene.out("catalog dependents base.qcow2"), "one.qcow2\ntop.qcow2\ntwo.qcow2\n");
    assert_eq!(scene.out("catalog dependents one.qcow2"), "top.qcow2\n");
    assert_eq!(scene.out("catalog dependents top.qcow2"), "");
    let list = scene.json("catalog list --output json");
    assert_eq!(names(&list, "filename"), ["base.qcow2", "one.qcow2", "top.qcow2", "two.qcow2"]);
    assert_eq!(list[0]["virtual-size"], 1 << 20);
    let tree = scene.json("catalog tree --output json base.qcow2");
    assert_eq!(names(&tree[0]["overlays"], "filename"), ["one.qcow2", "two.qcow2"]);
    assert_eq!(names(&tree[0]["overlays"][0]["overlays"], "filename"), ["top.qcow2"]);
    let dot = scene.out("catalog tree --output dot");
    assert!(dot.starts_with("digraph images {") && dot.matches(" -> ").count() == 3, "{dot}");
    let shown = scene.json("catalog show --output json one.qcow2");
    assert_eq!(shown[0]["backing"]["full-filename"], "base.qcow2");
    assert_eq!((&shown[0]["state"], &shown[0]["dependents"][0]), (&"same".into(), &"top.qcow2".into()));
    assert!(scene.out("catalog show one.qcow2").contains("dependent: top.qcow2\n"));
}

#[test]
fn a_scan_finds_what_other_programs_made() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = Scene::new();
    std::fs::create_dir(scene.images().join("below")).expect("scratch files can be written");
    scene.write("base", &[0; 4096]);
    scene.write("plain.raw", &[0; 4096]);
    scene.write("note.txt", b"not an image");
    scene.stock("create -q -f qcow2 -b ../base -F raw below/a.qcow2");
    scene.stock("create -q -f qcow2 -b 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"below/a.qcow2\"}}' -F qcow2 j.qcow2 4096");
    scene.stock("create -q -f qcow2 -o data_file=data d.qcow2 4096");
    scene.stock("create -q -f vmdk v.vmdk 4096");
    assert_eq!(scene.out("catalog scan ."), "Found 7 images.\n");
    assert_eq!(
        scene.out("catalog tree"),
        "base (raw)\n└── below/a.qcow2 (qcow2)\n    └── j.qcow2 (qcow2)\n\
         data (raw)\n└── d.qcow2 (qcow2, data file below)\nplain.raw (raw)\nv.vmdk (vmdk)\n"
    );
    let again = scene.json("catalog scan --output json .");
    assert_eq!(again["found"].as_array().map(Vec::len), Some(7));
    assert_eq!(again["failed"], Value::Array(Vec::new()));
    std::fs::remove_file(scene.images().join("d.qcow2")).expect("it was made");
    assert_eq!(scene.out("catalog scan ."), "Found 6 images; 1 no longer there.\n");
    let missing = scene.run("catalog scan nowhere");
    assert_eq!(missing.code(), Some(1));
    assert!(missing.err().ends_with("/nowhere': No such file or directory\n"), "{}", missing.err());
}

#[test]
fn what_is_needed_is_not_replaced_unless_it_is_forced() {
    let scene = Scene::new();
    scene.chain();
    scene.write("other.raw", &[7; 4096]);
    let before = scene.read("base.qcow2");
    for (line, verb) in [
        ("create -q -f qcow2 base.qcow2 2M", "replace"),
        ("convert -f raw -O qcow2 other.raw base.qcow2", "replace"),
        ("convert -n -f raw -O qcow2 other.raw base.qcow2", "change the content of"),
        (
            "convert -n -f raw --target-image-opts other.raw driver=qcow2,file.filename=base.qcow2",
            "change the content of",
        ),
        ("dd -f raw -O qcow2 if=other.raw of=base.qcow2", "replace"),
        ("dd -n -f raw -O qcow2 if=other.raw of=base.qcow2", "change the content of"),
    ] {
        let refused = scene.run(line);
        let dir = scene.images();
        let expected = format!(
            "tximg: Refusing to {verb} 'base.qcow2': 3 other images need it\n  {0}/one.qcow2\n  {0}/two.qcow2\n  {0}/top.qcow2\n\
             With --force it is done all the same.\n",
            dir.display()
        );
        assert_eq!((refused.code(), refused.err()), (Some(1), expected), "{line}");
        assert!(scene.read("base.qcow2") == before, "{line}");
    }
    // Under the other name there is no guard, and no such option.
    let stock = scene.command("qemu-img", "create -q -f qcow2 base.qcow2 2M").run();
    assert!(stock.success(), "{}", stock.err());
    let unknown = scene.command("qemu-img", "create --force -f qcow2 base.qcow2 2M").run();
    assert!(unknown.err().starts_with("qemu-img create: unrecognized option '--force'\n"));
    scene.out("convert --force -f raw -O qcow2 other.raw base.qcow2");
    assert!(scene.read("base.qcow2") != before);
}

#[test]
fn changes_inside_an_image_count_if_its_content_does() {
    let scene = Scene::new();
    scene.chain();
    scene.out("snapshot -c then base.qcow2");
    let content = scene.out("digest base.qcow2");
    for line in [
        "snapshot -a then base.qcow2",
        // One of the chain that is committed does not count, but its sibling does.
        "commit one.qcow2",
        "commit -b base.qcow2 top.qcow2",
        "rebase -u -b '' one.qcow2",
    ] {
        let refused = scene.run(line);
        assert!(refused.err().contains("Refusing to change the content of '"), "{line}: {}", refused.err());
        assert!(refused.err().ends_with("With --force it is done all the same.\n"));
        assert_eq!(refused.stdout, b"", "{line}");
        assert_eq!(scene.command("qemu-img", &format!("{line} --help")).run().code(), Some(0));
    }
    assert_eq!(scene.out("digest base.qcow2"), content);
    // What changes nothing that others see is nobody's concern.
    scene.out("snapshot -d then base.qcow2");
    scene.out("bitmap --add base.qcow2 b");
    scene.out("rebase -b '' one.qcow2");
    assert_eq!(scene.out("catalog dependents base.qcow2"), "two.qcow2\n");
    // The only one that needs the base is the one that goes into it.
    scene.out("commit -q two.qcow2");
    scene.out("rebase -u --force -b base.qcow2 -F qcow2 one.qcow2");
}

#[test]
fn only_images_that_still_say_so_are_dependents() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = Scene::new();
    scene.chain();
    scene.out("catalog list");
    scene.stock("rebase -u -b '' two.qcow2");
    std::fs::remove_file(scene.images().join("one.qcow2")).expect("it was made");
    assert_eq!(scene.out("catalog dependents base.qcow2"), "");
    scene.out("create -q -f qcow2 base.qcow2 2M");
    // Another name of the same file is the same image.
    scene.out("create -q -f qcow2 -b base.qcow2 -F qcow2 one.qcow2");
    std::fs::hard_link(scene.images().join("base.qcow2"), scene.images().join("alias"))
        .expect("scratch files can be written");
    assert_eq!(scene.out("catalog dependents alias"), "one.qcow2\ntop.qcow2\n");
    assert_eq!(scene.run("create -q -f qcow2 alias 2M").code(), Some(1));
    std::os::unix::fs::symlink("base.qcow2", scene.images().join("link")).expect("it can be made");
    assert_eq!(scene.out("catalog dependents link"), "one.qcow2\ntop.qcow2\n");
}

#[test]
fn a_raw_image_stays_raw_whatever_its_guest_writes() {
    let scene = Scene::new();
    scene.chain();
    scene.out("create -q -f raw guest.raw 1M");
    scene.out("catalog list");
    let header = scene.read("one.qcow2");
    let file = std::fs::OpenOptions::new().write(true).open(scene.images().join("guest.raw"));
    std::os::unix::fs::FileExt::write_all_at(&file.expect("it was made"), &header[..65536], 0)
        .expect("scratch files can be written");
    scene.out("catalog scan .");
    assert_eq!(scene.out("catalog dependents base.qcow2"), "one.qcow2\ntop.qcow2\ntwo.qcow2\n");
    assert!(scene.out("catalog list").contains("guest.raw"));
    assert_eq!(scene.out("catalog verify guest.raw"), "same            guest.raw\n");
}

#[test]
fn nothing_needs_the_catalog() {
    let scene = Scene::new();
    scene.write("file", b"");
    // No place for it, as root too: a directory cannot be made in a file.
    let nowhere = scene.images().join("file/catalog.sqlite");
    for catalog in [OsString::new(), nowhere.clone().into()] {
        let run = |line: &str| scene.command("tximg", line).catalog(&catalog).run();
        let made = run("create -f qcow2 a.qcow2 1M");
        assert!(made.success() && made.stderr.is_empty(), "{}", made.err());
        assert!(run("create -q -f qcow2 a.qcow2 2M").success());
        let refused = run("catalog list");
        assert_eq!((refused.code(), refused.stdout.len()), (Some(1), 0));
    }
    let told = scene.command("tximg", "-T store::*").args(["create", "-q", "a.raw", "1M"]).catalog(&nowhere);
    assert!(told.run().err().contains("The catalog cannot be written."));
}

#[test]
fn a_damaged_catalog_stops_nothing_and_says_how_to_go_on() {
    let scene = Scene::new();
    scene.chain();
    scene.out("catalog list");
    let damage = |bytes: &[u8]| std::fs::write(&scene.catalog, bytes).expect("it can be written");
    let whole = std::fs::read(&scene.catalog).expect("it was made");
    let mut torn = whole.clone();
    torn[4096..].fill(0xa5);
    for bytes in
        [&b"this is no database, and longer than a header of one is, so that it is looked at"[..], &torn]
    {
        damage(bytes);
        scene.out("create -q -f qcow2 base.qcow2 1M");
        scene.out("info one.qcow2");
        let told = scene.run("catalog list");
        assert_eq!(told.code(), Some(1));
        assert!(told.err().contains("catalog scan"), "{}", told.err());
    }
    std::fs::remove_file(&scene.catalog).expect("it was made");
    assert_eq!(scene.out("catalog scan -q ."), "");
    assert_eq!(scene.out("catalog dependents base.qcow2"), "one.qcow2\ntop.qcow2\ntwo.qcow2\n");
}

#[test]
fn many_processes_use_it_at_once() {
    const PROCESSES: usize = 8;
    const COMMANDS: usize = 12;
    let scene = Scene::new();
    scene.out("create -q -f qcow2 base.qcow2 1M");
    std::thread::scope(|threads| {
        for process in 0..PROCESSES {
            let scene = &scene;
            threads.spawn(move || {
                for number in 0..COMMANDS {
                    let line = format!("create -q -f qcow2 -b base.qcow2 -F qcow2 {process}-{number}.qcow2");
                    scene.out(&line);
                    // Readers absorb what the others append meanwhile.
                    if number % 4 == process % 4 {
                        scene.out("catalog list");
                    }
                }
            });
        }
    });
    let dependents = scene.json("catalog dependents --output json base.qcow2");
    assert_eq!(dependents.as_array().map(Vec::len), Some(PROCESSES * COMMANDS));
    let log = scene.json("log --output json");
    assert_eq!(log.as_array().map(Vec::len), Some(PROCESSES * COMMANDS + 1));
    let left: Vec<_> = std::fs::read_dir(scene.catalog.parent().expect("it has one"))
        .expect("it can be listed")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, [OsStr::new("catalog.sqlite")]);
}

#[test]
fn the_log_tells_what_was_done_and_how_it_ended() {
    let scene = Scene::new();
    scene.out("create -q -f qcow2 a.qcow2 1M");
    scene.out("convert -O raw a.qcow2 'b c.raw'");
    let failed = scene.run("convert -n -f raw -O raw a.qcow2 'b c.raw' --object secret,id=s,data=hidden");
    assert_eq!(failed.code(), Some(0), "{}", failed.err());
    scene.out("info a.qcow2");
    let log = scene.json("log --output json");
    let commands: Vec<String> = log
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|entry| {
            entry["command"]
                .as_array()
                .expect("words")
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        commands,
        [
            "tximg convert -n -f raw -O raw a.qcow2 b c.raw --object secret,id=s,data=***",
            "tximg convert -O raw a.qcow2 b c.raw",
            "tximg create -q -f qcow2 a.qcow2 1M",
        ]
    );
    assert!(names(&log, "outcome").iter().all(|outcome| outcome == "done"));
    let one = scene.out("log a.qcow2");
    assert!(one.contains("    command: tximg create -q -f qcow2 a.qcow2 1M\n    directory: "), "{one}");
    assert!(one.contains("    image: a.qcow2\n") && one.contains("  done in 0."), "{one}");
    assert_eq!(scene.json("log --output json 'b c.raw'").as_array().map(Vec::len), Some(2));
    assert_eq!(scene.json("log --output json -n 1").as_array().map(Vec::len), Some(1));
    assert!(scene.out("log -n 1").contains("'b c.raw'"));
}

#[test]
fn a_moved_image_keeps_its_history() {
    let scene = Scene::new();
    scene.out("create -q -f qcow2 old.qcow2 1M");
    scene.out("catalog list");
    std::fs::rename(scene.images().join("old.qcow2"), scene.images().join("new.qcow2"))
        .expect("scratch files can be written");
    scene.out("catalog scan .");
    assert_eq!(names(&scene.json("catalog list --output json"), "filename"), ["new.qcow2"]);
    let log = scene.json("log --output json new.qcow2");
    assert_eq!(log[0]["images"][0]["filename"], "old.qcow2");
    assert_eq!(log[0]["images"][0]["now"], "new.qcow2");
}

#[test]
fn images_that_are_not_what_they_were_are_told() {
    let scene = Scene::new();
    for name in ["same", "missing", "replaced", "changed", "content"] {
        scene.out(&format!("create -q -f qcow2 -o preallocation=full {name}.qcow2 1M"));
    }
    assert!(scene.run("catalog verify").success());
    assert!(scene.run("catalog verify --digest content.qcow2").success());
    let in_dir = |name: &str| scene.images().join(name);
    std::fs::remove_file(in_dir("missing.qcow2")).expect("it was made");
    let copy = scene.read("replaced.qcow2");
    std::fs::rename(in_dir("replaced.qcow2"), in_dir("kept")).expect("it was made");
    scene.write("replaced.qcow2", &copy);
    let mut header = scene.read("changed.qcow2");
    header[79] ^= 1;
    overwrite(&in_dir("changed.qcow2"), &header);
    let mut content = scene.read("content.qcow2");
    let end = content.len() - 1;
    content[end] ^= 1;
    overwrite(&in_dir("content.qcow2"), &content);

    let told = scene.run("catalog verify --digest --output json");
    assert_eq!(told.code(), Some(1), "{}", told.err());
    let told: Value = serde_json::from_slice(&told.stdout).expect("it prints JSON");
    assert_eq!(
        names(&told, "state"),
        ["header-changed", "content-changed", "missing", "replaced", "same"],
        "{told}"
    );
    assert_eq!(scene.run("catalog verify -q same.qcow2").stdout, b"");
    scene.out("catalog forget missing.qcow2 changed.qcow2");
    assert_eq!(names(&scene.json("catalog list --output json"), "filename").len(), 3);
    let unknown = scene.run("catalog forget missing.qcow2");
    assert!(unknown.err().ends_with("is not in the catalog\n'tximg catalog scan DIR' looks for images.\n"));
}

/// Changes a file that stays the same file.
fn overwrite(path: &Path, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("it was made");
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).expect("scratch files can be written");
}

#[test]
fn names_need_not_be_text() {
    let scene = Scene::new();
    let name = OsStr::from_bytes(b"\xff\xfe.qcow2");
    let made = scene.command("tximg", "create -q -f qcow2").args([name]).args(["1M"]).run();
    assert!(made.success(), "{}", made.err());
    let listed = scene.run("catalog list");
    assert!(listed.stdout.windows(name.len()).any(|window| window == name.as_bytes()));
    let shown = scene.command("tximg", "catalog show").args([name]).run();
    assert!(shown.success(), "{}", shown.err());
    let log = scene.run("log").stdout;
    assert!(log.windows(name.len()).filter(|window| *window == name.as_bytes()).count() == 2);
}

#[test]
fn readers_never_open_it() {
    let scene = Scene::new();
    let run = |line: &str| scene.command("tximg", line).timeout(Duration::from_secs(20)).run();
    scene.write("a.raw", &[0; 4096]);
    for line in
        ["info a.raw", "map a.raw", "check -f raw a.raw", "measure -O raw a.raw", "digest a.raw", "--help"]
    {
        run(line);
    }
    assert!(!scene.catalog.parent().expect("it has one").exists());
}

#[test]
fn the_other_name_has_no_such_commands() {
    let scene = Scene::new();
    for line in ["catalog list", "log", "digest a"] {
        let told = scene.command("qemu-img", line).run();
        assert!(told.err().starts_with("qemu-img: Command not found: "), "{}", told.err());
    }
    let help = scene.command("qemu-img", "--help").run().out();
    assert!(!help.contains("catalog"));
    assert!(!scene.command("qemu-img", "create --help").run().out().contains("--force"));
    assert!(scene.out("create --help").contains("--force\n"));
    let told = scene.run("catalog");
    assert_eq!(
        told.err(),
        "tximg: Expecting what to do with the catalog\nTry 'tximg catalog --help' for more info\n"
    );
    assert!(scene.out("catalog tree --help").starts_with("Draw which image stands on which.\n"));
}
