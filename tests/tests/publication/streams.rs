//! Targets and outputs that are no files.

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::oracle::oracle;
use testkit::run::{Outcome, Run};
use testkit::tximg::binary;

use crate::bench::{Before, Bench};

fn both(dir: &Path, line: &str) -> (Outcome, Outcome) {
    let run = |program: &Path| Run::new(program, dir).named("qemu-img").args(line.split(' ')).run();
    (run(&oracle().img), run(binary()))
}

#[test]
fn devices_that_cannot_hold_an_image_are_refused_as_qemu_img_does() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    let room = bench.room(Before::Nothing);
    for line in [
        "convert -f raw -O raw source.raw /dev/full",
        "create -f raw /dev/null 1M",
        "create -f qcow2 . 1M",
        "create -f raw missing/out 1M",
        "create -f raw source.raw/out 1M",
        "convert -f raw -O raw source.raw missing/out",
    ] {
        let (stock, ours) = both(room.path(), line);
        assert_eq!((ours.status_text(), ours.err()), (stock.status_text(), stock.err()), "{line}");
        assert!(!ours.success() && !ours.crashed(), "{line}");
    }
    assert!(room.litter().is_empty());
}

/// tximg writes later than qemu-img, so it is told of the full device in another sentence.
#[test]
fn a_device_that_is_full_is_told_with_its_reason() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    let room = bench.room(Before::Nothing);
    for line in ["convert -f raw -O qcow2 source.raw /dev/full", "create -f qcow2 /dev/full 1M"] {
        let (stock, ours) = both(room.path(), line);
        let reason = |outcome: &Outcome| outcome.err().rsplit(": ").next().unwrap_or_default().to_owned();
        assert_eq!((ours.status_text(), reason(&ours)), (stock.status_text(), reason(&stock)), "{line}");
    }
}

/// A reader that goes away is an error or nothing, but no crash and no lost image.
#[test]
fn a_closed_standard_output_does_no_harm() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for line in ["convert -p -f raw -O qcow2 source.raw out", "create -f qcow2 out 4M", "info source.raw"] {
        let room = bench.room(Before::Nothing);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary())
            .args(line.split(' '))
            .env("TXIMG_CATALOG", "")
            .current_dir(room.path())
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{line}: {output:?}");
        assert!(room.litter().is_empty());
        if room.target().exists() {
            let check = Command::new(&oracle().img)
                .args(["check", "-q", "-f", "qcow2", "out"])
                .current_dir(room.path())
                .status();
            assert!(check.unwrap().success(), "{line}");
        }
    }
}
