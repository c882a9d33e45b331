//! `batch` and `recover` as a person meets them.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Output};

fn tximg(directory: &Path, args: &[&str]) -> Output {
    Command::new(testkit::tximg::binary())
        .args(args)
        .current_dir(directory)
        .env("TXIMG_CATALOG", directory.join("catalog"))
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names in a directory, without the catalog's.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("catalog"));
    names.sort();
    names
}

#[test]
fn later_lines_see_what_earlier_ones_did() {
    let scratch = tempfile::tempdir().unwrap();
    let batch = "
        # a base, and an overlay with a name in quotes
        create -q -f qcow2 base 8M
        qemu-img create -q -f qcow2 -b base -F qcow2 'over lay'
        snapshot -c before 'over lay'   # comments end a line
        snapshot -c base-too base
        convert -O raw base flat
    ";
    std::fs::write(scratch.path().join("steps"), batch).unwrap();
    let done = tximg(scratch.path(), &["batch", "steps"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(names(scratch.path()), ["base", "flat", "over lay", "steps"]);
    for (image, snapshot) in [("base", "base-too"), ("over lay", "before")] {
        let list = tximg(scratch.path(), &["snapshot", "-l", image]);
        assert!(text(&list.stdout).contains(snapshot), "{image}: {}", text(&list.stdout));
        assert!(tximg(scratch.path(), &["check", image]).status.success());
    }
}

#[test]
fn one_image_may_be_changed_again_and_again() {
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "image", "8M"]);
    let mut batch = String::new();
    for round in 0..12 {
        batch += &format!("snapshot -c s{round} image\nbitmap --add image b{round}\n");
        if round % 3 == 2 {
            batch += &format!("snapshot -d s{} image\nbitmap --remove image b{}\n", round - 1, round - 2);
        }
    }
    std::fs::write(scratch.path().join("steps"), batch).unwrap();
    let done = tximg(scratch.path(), &["batch", "steps"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let check = tximg(scratch.path(), &["check", "image"]);
    assert!(check.status.success(), "{}{}", text(&check.stdout), text(&check.stderr));
    let list = text(&tximg(scratch.path(), &["snapshot", "-l", "image"]).stdout);
    assert_eq!(list.lines().count(), 2 + 8, "{list}");
}

#[test]
fn a_line_that_fails_undoes_all() {
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "image", "8M"]);
    let before = std::fs::read(scratch.path().join("image")).unwrap();
    let batch = "snapshot -c one image\ncreate -f raw new 1M\ncreate -f qcow2 bad\n";
    std::fs::write(scratch.path().join("steps"), batch).unwrap();
    let failed = tximg(scratch.path(), &["batch", "steps"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("Line 3 of the batch"), "{}", text(&failed.stderr));
    assert_eq!(names(scratch.path()), ["image", "steps"]);
    assert_eq!(std::fs::read(scratch.path().join("image")).unwrap(), before);
}

#[test]
fn a_dry_run_changes_nothing_and_tells_what_would_change() {
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "image", "8M"]);
    let before = std::fs::read(scratch.path().join("image")).unwrap();
    std::fs::write(scratch.path().join("steps"), "snapshot -c one image\ncreate -q -f raw new 1M\n").unwrap();
    let told = tximg(scratch.path(), &["batch", "--dry-run", "steps"]);
    assert!(told.status.success());
    let told = text(&told.stdout);
    assert!(told.contains("modified: ") && told.contains("/image (") && told.contains("made: "), "{told}");
    let told = tximg(scratch.path(), &["batch", "--dry-run", "--output", "json", "steps"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["images"].as_array().map(Vec::len), Some(2));
    assert_eq!(names(scratch.path()), ["image", "steps"]);
    assert_eq!(std::fs::read(scratch.path().join("image")).unwrap(), before);
}

#[test]
fn results_are_told_line_by_line() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("steps"), "create -f raw one 1M\n\ncreate -q -f raw two 1M\n")
        .unwrap();
    let done = tximg(scratch.path(), &["batch", "--output=json", "steps"]);
    let results: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(results[0]["line"], 1);
    assert_eq!(results[0]["output"], "Formatting 'one', fmt=raw size=1048576\n");
    assert_eq!(results[1]["line"], 3);
}

#[test]
fn what_is_no_batch_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    for (batch, complaint) in [
        ("create 'open", "open quote"),
        ("frobnicate", "Command not found: frobnicate"),
        ("batch other", "cannot be a part of a batch"),
    ] {
        std::fs::write(scratch.path().join("steps"), batch).unwrap();
        let refused = tximg(scratch.path(), &["batch", "steps"]);
        assert_eq!(refused.status.code(), Some(1), "{batch}");
        assert!(text(&refused.stderr).contains(complaint), "{batch}: {}", text(&refused.stderr));
    }
    assert_eq!(tximg(scratch.path(), &["batch", "nothing-there"]).status.code(), Some(1));
}

#[test]
fn journals_that_mean_nothing_are_dropped() {
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "image", "8M"]);
    let journal = scratch.path().join("image.tximg-journal");
    for garbage in [&b""[..], b"TXIMGJNL", b"TXIMGPTR", &[0xff; 5000]] {
        std::fs::write(&journal, garbage).unwrap();
        let explained = tximg(scratch.path(), &["recover", "--explain", "image"]);
        assert!(explained.status.success(), "{}", text(&explained.stderr));
        let info = tximg(scratch.path(), &["info", "image"]);
        assert!(info.status.success(), "{}", text(&info.stderr));
        assert!(!journal.exists(), "{garbage:?}");
    }
    std::fs::write(&journal, "garbage").unwrap();
    let found = tximg(scratch.path(), &["recover", "--scan", "."]);
    assert!(text(&found.stdout).contains("undone"), "{}", text(&found.stdout));
    let nothing = tximg(scratch.path(), &["recover", "image"]);
    assert_eq!(text(&nothing.stdout), "image: nothing to recover\n");
}

/// Only root can give a file to somebody.
#[test]
fn a_journal_of_another_user_is_refused_and_can_be_dropped() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a journal to another user");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "image", "8M"]);
    let journal = scratch.path().join("image.tximg-journal");
    std::fs::write(&journal, "not to be believed").unwrap();
    std::os::unix::fs::chown(&journal, Some(12345), None).unwrap();
    for command in [&["info", "image"][..], &["resize", "image", "9M"], &["recover", "image"]] {
        let refused = tximg(scratch.path(), command);
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        let told = text(&refused.stderr);
        assert!(told.contains("belongs to another user and is not believed"), "{command:?}: {told}");
    }
    assert!(tximg(scratch.path(), &["recover", "--discard", "image"]).status.success());
    assert!(!journal.exists());
    assert!(tximg(scratch.path(), &["info", "image"]).status.success());
}

#[test]
fn the_guard_counts_what_earlier_lines_did() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |steps: &str| {
        std::fs::write(scratch.path().join("steps"), steps).unwrap();
        tximg(scratch.path(), &["batch", "steps"])
    };
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "base", "8M"]);
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "other", "8M"]);
    let refused = run("create -q -f qcow2 -b base -F qcow2 overlay\ncreate -q -f qcow2 base 4M\n");
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("Refusing to replace 'base': 1 other image needs it"), "{told}");
    assert!(told.contains("/overlay\n"), "{told}");
    assert_eq!(names(scratch.path()), ["base", "other", "steps"]);

    // What stands on another base now, or is gone, does not count any more.
    let done = run("create -q -f qcow2 -b base -F qcow2 overlay\n\
         create -q -f qcow2 -b base -F qcow2 short-lived\n\
         rebase -u -b other -F qcow2 overlay\n\
         rm short-lived\n\
         create -q -f qcow2 base 4M\n");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let refused = run("create -q -f qcow2 other 4M\n");
    assert!(text(&refused.stderr).contains("Refusing to replace 'other'"), "{}", text(&refused.stderr));
}

#[test]
fn a_move_reaches_what_earlier_lines_made() {
    let scratch = tempfile::tempdir().unwrap();
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "base", "8M"]);
    tximg(scratch.path(), &["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "old", "8M"]);
    let steps = "create -q -f qcow2 -b base -F qcow2 new\nmv base moved\n";
    std::fs::write(scratch.path().join("steps"), steps).unwrap();
    let done = tximg(scratch.path(), &["batch", "steps"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for overlay in ["old", "new"] {
        let info = text(&tximg(scratch.path(), &["info", overlay]).stdout);
        assert!(info.contains("backing file: moved"), "{overlay}: {info}");
        assert!(tximg(scratch.path(), &["check", overlay]).status.success());
    }
}
