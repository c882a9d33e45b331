//! Images that other programs made. They are data to read and no part of the project: the suite
//! takes them from the directory that `TXIMG_SAMPLES` names, or from `../shared/samples` beside
//! the project, and says so aloud when there is none.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::effects::{both, run_oracle, run_tximg};
use testkit::{content, scene, tximg};

/// Formats that tximg reads; of all others it must say that it does not yet.
const SUPPORTED: [&str; 12] =
    ["raw", "qcow", "qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc", "parallels", "bochs", "cloop", "dmg"];

#[test]
fn every_sample_is_read_or_refused() {
    let dir = std::env::var_os("TXIMG_SAMPLES")
        .map_or_else(|| tximg::root().join("../shared/samples"), PathBuf::from);
    let Ok(entries) = fs::read_dir(&dir) else {
        let text = format!("SKIPPED: no samples in {} (set TXIMG_SAMPLES)\n", dir.display());
        io::stderr().write_all(text.as_bytes()).expect("standard error is open");
        return;
    };
    let mut samples: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    samples.sort();
    samples.retain(|path| path.extension().is_some_and(|extension| extension == "bz2"));
    assert!(!samples.is_empty(), "{} holds no samples", dir.display());
    for sample in samples {
        sample_is_read_or_refused(&sample);
    }
}

fn sample_is_read_or_refused(sample: &Path) {
    let dir = scene::empty();
    let name = sample.file_stem().expect("a sample has a name").to_string_lossy().into_owned();
    unpack(sample, &dir.path().join(&name));
    let description = run_oracle(dir.path(), ["info", "--output=json", &name]);
    // What the oracle cannot open without a repair is of no format in reach either.
    let description: Value = serde_json::from_slice(&description.stdout).unwrap_or_default();
    if description["format"].as_str().is_some_and(|format| SUPPORTED.contains(&format)) {
        read(dir.path(), &name);
    } else if name.ends_with(".vhdx") {
        read_despite_its_log(dir.path(), &name);
    } else {
        refused(dir.path(), &name);
    }
}

fn unpack(sample: &Path, target: &Path) {
    let output = fs::File::create(target).expect("scratch files can be written");
    let status = Command::new("bzip2").arg("-dc").arg(sample).stdout(output).status();
    assert!(status.expect("bzip2 is installed").success(), "{} cannot be unpacked", sample.display());
}

fn read(dir: &Path, name: &str) {
    for command in [&["info", name][..], &["map", "--output=json", name], &["check", name]] {
        let differences = both(dir, command);
        assert!(differences.is_empty(), "{name}: {command:?}: {differences:?}");
    }
    for (run, out) in [
        (run_oracle(dir, ["convert", name, "oracle.raw"]), "oracle"),
        (run_tximg(dir, ["convert", name, "tximg.raw"]), "tximg"),
    ] {
        assert!(run.success(), "{name}: {out}: {}", run.err());
    }
    let difference = content::difference(&dir.join("oracle.raw"), &dir.join("tximg.raw"));
    assert_eq!(difference.expect("both can be read"), None, "{name}");
}

/// An image whose log was not replayed, which the oracle does not read: the same bytes before and after.
fn read_despite_its_log(dir: &Path, name: &str) {
    assert!(both(dir, &["check", name]).is_empty(), "{name}: the refusals of a check differ");
    let run = run_tximg(dir, ["convert", name, "before.raw"]);
    assert!(run.success(), "{name}: {}", run.err());
    fs::copy(dir.join(name), dir.join("copy.vhdx")).expect("scratch files can be copied");
    let repaired = run_tximg(dir, ["check", "-r", "all", name]);
    let expected = run_oracle(dir, ["check", "-r", "all", "copy.vhdx"]);
    assert_eq!(repaired.out(), expected.out(), "{name}: {}", repaired.err());
    assert_eq!(repaired.code(), expected.code());
    read(dir, name);
    run_oracle(dir, ["convert", "copy.vhdx", "after.raw"]);
    let difference = content::difference(&dir.join("before.raw"), &dir.join("after.raw"));
    assert_eq!(difference.expect("both can be read"), None, "{name}");
}

/// Nothing of it is taken for raw data, whatever the command.
fn refused(dir: &Path, name: &str) {
    for command in [&["info", name][..], &["convert", name, "out.raw"], &["check", name], &["map", name]] {
        let outcome = run_tximg(dir, command);
        assert_eq!(outcome.code(), Some(1), "{name}: {command:?}: {}", outcome.status_text());
        let told = outcome.err();
        assert!(told.contains("is not supported yet"), "{name}: {command:?}: {told}");
        assert!(!dir.join("out.raw").exists(), "{name}: {command:?} left a target");
    }
}
