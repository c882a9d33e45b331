//! Images that others have open: refused as qemu-img refuses them, waited for on request, and the
//! other way round.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use journal::{Claim, Fs, OpenOptions, RealFs};
use testkit::start::start;
use testkit::tximg::own;
use testkit::{effects, need, scene, script, tximg};

/// A program that has an image open until it is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `qemu-io` with an image open, once it answers.
fn qemu_io(dir: &Path, args: &[&str]) -> Holder {
    let mut command = Command::new("qemu-io");
    command.current_dir(dir).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = Holder(start(&mut command).unwrap());
    holder.0.stdin.as_mut().unwrap().write_all(b"length\n").unwrap();
    let mut line = String::new();
    BufReader::new(holder.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("MiB"), "qemu-io opened the image: {line}");
    holder
}

/// A server that has made a file once it is ready.
fn server(dir: &Path, program: &str, args: &[&str], ready: &str) -> Holder {
    let holder = Holder(start(Command::new(program).current_dir(dir).args(args)).unwrap());
    until(|| dir.join(ready).exists());
    holder
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it takes too long");
        thread::sleep(Duration::from_millis(5));
    }
}

/// tximg under its own name.
/// An overlay of two images and a raw one, in a directory of their own.
fn images() -> tempfile::TempDir {
    let dir = scene::empty();
    let steps = "
        img create -q -f qcow2 base 1M
        img create -q -f qcow2 -b base -F qcow2 top
        img create -q -f qcow2 other 1M
        sparse raw 1M";
    script::run(steps, dir.path());
    dir
}

fn lacks_qemu() -> bool {
    need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"])
}

/// Under qemu-img's name the two programs say the same; under its own, tximg names the holder.
fn refused(dir: &Path, line: &str, holder: &Holder, program: &str) {
    let args: Vec<&str> = line.split_whitespace().collect();
    let differences: Vec<String> = effects::both(dir, &args).into_iter().map(|it| it.text).collect();
    assert!(differences.is_empty(), "{line}: {differences:#?}");
    let told = effects::run_tximg(dir, &args);
    let own = own(dir, line);
    assert_eq!(own.code(), told.code(), "{line}: {}", own.err());
    let named = format!("It is in use by {program} (process {}).\n", holder.0.id());
    assert_eq!(own.err(), told.err().replace("qemu-img: ", "tximg: ") + &named, "{line}");
}

#[test]
fn a_writing_qemu_io_is_named() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let holder = qemu_io(dir.path(), &["-f", "qcow2", "base"]);
    for line in ["info base", "check base", "check -r all base", "map base", "map top", "compare base other"]
    {
        refused(dir.path(), line, &holder, "qemu-io");
    }
    assert!(own(dir.path(), "info -U base").success());
    drop(holder);
    assert!(own(dir.path(), "check -r all base").success());
}

#[test]
fn an_image_is_called_what_the_caller_calls_it() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    script::run("link link base", dir.path());
    script::run("dir sub", dir.path());
    let holder = qemu_io(dir.path(), &["-f", "qcow2", "base"]);
    for name in ["link", "./base", "sub/../base"] {
        for line in ["snapshot -c one", "resize -q --shrink", "bitmap --add", "amend -o lazy_refcounts=on"] {
            let rest = match line {
                "resize -q --shrink" => " 2M",
                "bitmap --add" => " b",
                _ => "",
            };
            refused(dir.path(), &format!("{line} {name}{rest}"), &holder, "qemu-io");
        }
    }
    // Both names are one file, which is opened twice.
    drop(holder);
    let differences = effects::both(dir.path(), &["convert", "-n", "-O", "qcow2", "base", "link"]);
    let differences: Vec<String> = differences.into_iter().map(|it| it.text).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn a_reading_qemu_io_stops_writers_only() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let holder = qemu_io(dir.path(), &["-r", "-f", "qcow2", "base"]);
    refused(dir.path(), "check -r leaks base", &holder, "qemu-io");
    refused(dir.path(), "bench -w -c 1 -f qcow2 base", &holder, "qemu-io");
    for line in ["info base", "check base", "map top", "convert -O raw top out"] {
        assert!(own(dir.path(), line).success(), "{line}");
    }
}

#[test]
fn every_reader_that_stops_a_writer_is_named() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let holders = [0, 1].map(|_| qemu_io(dir.path(), &["-r", "-f", "qcow2", "base"]));
    let mut pids = holders.each_ref().map(|holder| holder.0.id());
    pids.sort_unstable();
    let told = own(dir.path(), "check -r all base").err();
    let expected = format!("It is in use by qemu-io (process {}), qemu-io (process {}).\n", pids[0], pids[1]);
    assert!(told.ends_with(&expected), "{told}");
}

#[test]
fn servers_are_named() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let args = ["-f", "qcow2", "--read-only", "--persistent", "-k"];
    let socket = dir.path().join("nbd");
    let args: Vec<&str> = args.into_iter().chain([socket.to_str().unwrap(), "base"]).collect();
    let nbd = server(dir.path(), "qemu-nbd", &args, "nbd");
    refused(dir.path(), "check -r all base", &nbd, "qemu-nbd");
    assert!(own(dir.path(), "check base").success());

    let address = format!("addr.type=unix,addr.path={}", dir.path().join("export").display());
    let args = [
        "--blockdev",
        "driver=file,node-name=file,filename=other",
        "--blockdev",
        "driver=qcow2,node-name=disk,file=file",
        "--nbd-server",
        &address,
        "--export",
        "type=nbd,id=out,node-name=disk,writable=on",
        "--pidfile",
        "pid",
    ];
    let daemon = server(dir.path(), "qemu-storage-daemon", &args, "pid");
    refused(dir.path(), "info other", &daemon, "qemu-storage-daemon");
    refused(dir.path(), "check -r all other", &daemon, "qemu-storage-daemon");
}

#[test]
fn a_lock_is_waited_for() {
    if lacks_qemu() {
        return;
    }
    const HELD: Duration = Duration::from_millis(600);
    let dir = images();
    for line in ["info", "check -r all", "bench -w -c 1 -f qcow2"] {
        let holder = qemu_io(dir.path(), &["-f", "qcow2", "base"]);
        let started = Instant::now();
        let waiting = thread::scope(|scope| {
            let waiting = scope.spawn(|| own(dir.path(), &format!("{line} --lock-timeout 60 base")));
            thread::sleep(HELD);
            drop(holder);
            waiting.join().unwrap()
        });
        assert!(waiting.success() && started.elapsed() >= HELD, "{line}: {}", waiting.err());
        assert_eq!(waiting.err(), "", "{line}");
    }
}

#[test]
fn patience_ends() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let holder = qemu_io(dir.path(), &["-f", "qcow2", "base"]);
    let started = Instant::now();
    let outcome = own(dir.path(), "info --lock-timeout=0.4 base");
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(outcome.code(), Some(1));
    assert!(outcome.err().ends_with(&format!("qemu-io (process {}).\n", holder.0.id())), "{}", outcome.err());
}

/// Whoever waits holds nothing: the overlay can be had while its base is waited for.
#[test]
fn who_waits_holds_nothing() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let holder = qemu_io(dir.path(), &["-f", "qcow2", "base"]);
    let outcome = thread::scope(|scope| {
        let waiting = scope.spawn(|| own(dir.path(), "check -r all --lock-timeout 60 top"));
        thread::sleep(Duration::from_millis(300));
        let top = RealFs.open(&dir.path().join("top"), OpenOptions::WRITE).unwrap();
        until(|| top.lock(Claim::writer()).is_ok());
        drop(holder);
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "the overlay is taken now");
        drop(top);
        waiting.join().unwrap()
    });
    assert!(outcome.success(), "{}", outcome.err());
}

/// Two chains that cross: each command wants what the other has.
#[test]
fn commands_that_cross_come_to_an_end() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    script::run("img create -q -f qcow2 -b top -F qcow2 upper", dir.path());
    let dir = dir.path();
    let lines = ["check -r all --lock-timeout 60 upper", "bench -w -c 200 -f qcow2 --lock-timeout 60 top"];
    thread::scope(|scope| {
        let spawn = |number: usize| scope.spawn(move || own(dir, lines[number % 2]));
        let all: Vec<_> = (0..8).map(spawn).collect();
        for outcome in all {
            let outcome = outcome.join().unwrap();
            assert!(outcome.success(), "{}", outcome.err());
        }
    });
}

#[test]
fn qemu_img_respects_running_commands() {
    if lacks_qemu() {
        return;
    }
    let dir = images();
    let running = |args: &[&str]| {
        let mut command = Command::new(tximg::binary());
        // Looking whether it runs may keep it from running.
        command.current_dir(dir.path()).args(args).args(["--lock-timeout", "60"]).stdout(Stdio::null());
        Holder(start(&mut command).unwrap())
    };
    let oracle = |line: &str| effects::run_oracle(dir.path(), line.split_whitespace());

    let writer = running(&["bench", "-w", "-c", "100000000", "-f", "qcow2", "base"]);
    until(|| !oracle("info base").success());
    assert!(oracle("info base").err().contains("Failed to get shared \"write\" lock"));
    assert!(oracle("bench -w -c 1 -f qcow2 base").err().contains("Failed to get \"write\" lock"));
    drop(writer);
    assert!(oracle("info base").success());

    let reader = running(&["bench", "-c", "100000000", "-f", "qcow2", "base"]);
    until(|| !oracle("bench -w -c 1 -f qcow2 base").success());
    assert!(oracle("info base").success());
    drop(reader);
    assert!(oracle("bench -w -c 1 -f qcow2 base").success());
}

#[test]
fn the_option_is_tximgs_own() {
    let dir = scene::empty();
    script::run("sparse raw 1M", dir.path());
    let stock = effects::run_tximg(dir.path(), ["info", "--lock-timeout", "1", "raw"]);
    assert_eq!(stock.code(), Some(1));
    assert!(stock.err().contains("unrecognized option '--lock-timeout'"), "{}", stock.err());
    assert!(own(dir.path(), "info --lock-timeout 1 raw").success());
    for wrong in ["soon", "-1", "", "inf", "nan"] {
        let outcome = own(dir.path(), &format!("info --lock-timeout={wrong} raw"));
        let told = format!("tximg: --lock-timeout expects a number of seconds, not '{wrong}'\n");
        assert_eq!(outcome.code(), Some(1));
        assert!(outcome.err().starts_with(&told), "{}", outcome.err());
    }
    assert!(own(dir.path(), "convert --help").out().contains("--lock-timeout SECONDS"));
    // A beginning that means something to qemu-img means the same here.
    assert!(own(dir.path(), "snapshot --l -f raw raw").success(), "--list is meant");
}
