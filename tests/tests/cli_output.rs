//! What the program writes arrives, or it says so; and scripts find in it what they look for.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::FromRawFd;
use std::process::{Command, Stdio};

use testkit::effects::run_tximg;
use testkit::run::Run;
use testkit::tximg::{binary, tximg};
use testkit::{scene, script};

#[test]
fn lost_output_is_not_a_success() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let full = OpenOptions::new().write(true).open("/dev/full").expect("there is a /dev/full");
    let output = Command::new(tximg()).arg("--version").stdout(full).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "qemu-img: Could not write output: No space left on device\n");

    let script = "exec \"$0\" --version >&-";
    let output = Command::new("sh").args(["-c", script]).arg(tximg()).output().expect("sh starts");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "qemu-img: Could not write output: Bad file descriptor\n");
}

#[test]
fn a_reader_that_went_away_is_told_nothing() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let (reader, writer) = packet_pipe();
    drop(reader);
    let output = Command::new(tximg()).arg("--help").stdout(writer).output().expect("it starts");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}

#[test]
fn no_output_is_no_error() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run("sparse a 1M", dir.path());
    let script = "exec \"$0\" compare -q a a >&- 2>&-";
    let command = Command::new("sh").args(["-c", script]).arg(tximg()).current_dir(dir.path()).status();
    assert_eq!(command.expect("sh starts").code(), Some(0));
}

#[test]
fn each_line_of_progress_is_one_write() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run("noise a 64M 1\nlink b a", dir.path());
    let (mut reader, writer) = packet_pipe();
    let mut child = Command::new(tximg())
        .args(["compare", "-p", "a", "b"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(writer)
        .spawn()
        .expect("it starts");
    let mut packets = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = reader.read(&mut buffer) {
        packets.push(String::from_utf8_lossy(&buffer[..len]).into_owned());
    }
    assert!(child.wait().expect("it ends").success());
    let (end, lines) = packets.split_last().expect("something was written");
    assert_eq!(end, "Images are identical.\n\n");
    let percents: Vec<f64> = lines
        .iter()
        .map(|line| {
            let number = line.strip_prefix("    (").and_then(|rest| rest.strip_suffix("/100%)\r"));
            let number = number.unwrap_or_else(|| panic!("{line:?}"));
            assert_eq!(number.split_once('.').map(|(_, decimals)| decimals.len()), Some(2), "{line:?}");
            number.parse().unwrap_or_else(|_| panic!("{line:?}"))
        })
        .collect();
    assert_eq!((percents.first(), percents.last()), (Some(&0.0), Some(&100.0)));
    assert!(percents.is_sorted(), "{percents:?}");
}

/// A pipe each of whose reads returns what one write put into it.
fn packet_pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors into `ends`, which has room for two.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_DIRECT | libc::O_CLOEXEC) };
    assert_eq!(made, 0, "a pipe can be made");
    // SAFETY: both descriptors are new and belong to nobody else.
    unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) }
}

#[test]
fn the_version_is_what_scripts_take_apart() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let text = run_tximg(dir.path(), ["--version"]).out();
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with("qemu-img version 10.0.2 "), "{first}");
    assert!(text.contains("tximg"), "it says what it is: {text}");
    assert_eq!(first.split(' ').nth(2), Some("10.0.2"));
    let own = Run::new(binary(), dir.path()).named("tximg").args(["--version"]).run().out();
    assert!(own.starts_with("tximg version "), "{own}");
}

#[test]
fn the_help_answers_the_probes_of_known_callers() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let help = run_tximg(dir.path(), ["--help"]).out();
    let has_line = |parts: &[&str]| help.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has_line(&["info ", "[-U]"]), "libguestfs looks for -U in the line of info");
    assert!(has_line(&["--target-is-zero"]), "CloudStack looks for it in the whole help");
    assert!(has_line(&["Supported formats:", " qcow2", " raw"]));
    assert!(has_line(&["Supported image formats:"]));
    for command in ["info", "map", "check", "compare", "convert", "measure", "snapshot"] {
        let page = run_tximg(dir.path(), [command, "--help"]);
        assert!(page.success() && page.out().contains("-U, --force-share"), "{command}");
        assert_eq!(page.stdout, run_tximg(dir.path(), [command, "-h", "nonsense"]).stdout);
    }
}

#[test]
fn its_own_name_stands_in_its_messages() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let told = Run::new(binary(), dir.path()).named("/opt/tximg").args(["info"]).run().err();
    assert_eq!(told, "tximg: Expecting one image file name\nTry '/opt/tximg info --help' for more info\n");
    let told = Run::new(binary(), dir.path()).named("./qemu-img").args(["info", "-Z"]).run().err();
    assert_eq!(told, "./qemu-img info: invalid option -- 'Z'\nTry './qemu-img info --help' for more info\n");
}

#[test]
fn a_trace_goes_where_it_is_sent() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    script::run("sparse a 1M", dir.path());
    let plain = run_tximg(dir.path(), ["info", "a"]);
    let traced = run_tximg(dir.path(), ["-T", "formats::open*", "info", "a"]);
    assert_eq!(traced.stdout, plain.stdout);
    assert!(traced.err().contains("formats::open::file: Opened a file. file=a"), "{}", traced.err());
    let filed = run_tximg(dir.path(), ["--trace", "enable=*,file=log", "info", "a"]);
    assert_eq!((filed.stdout, filed.stderr), (plain.stdout, Vec::new()));
    let log = std::fs::read_to_string(dir.path().join("log")).expect("the trace was written");
    assert!(log.contains("tximg::top: Begins. command=\"info\""), "{log}");
}
