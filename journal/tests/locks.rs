//! Locks against the programs whose language they speak. The tests fail where these are missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/src/need.rs"]
mod need;
#[path = "../../tests/src/start.rs"]
mod start;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal::{Claim, DraftOptions, ErrorKind, Fs, OpenOptions, RealFs};

const NO_WRITE: &str = "Failed to get \"write\" lock";
const NO_RESIZE: &str = "Failed to get \"resize\" lock";
const NO_SHARE: &str = "Failed to get shared \"write\" lock";

const RAW: &str = "raw";
const QCOW2: &str = "qcow2";

/// A program that has an image open until it is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Holder {
    let name = command.get_program().to_owned();
    Holder(start::start(command).unwrap_or_else(|error| panic!("{} is needed: {error}", name.display())))
}

fn image(format: &str) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = scratch.path().join("disk");
    run(Command::new("qemu-img").args(["create", "-q", "-f", format]).arg(&path).arg("1M")).unwrap();
    (scratch, path)
}

/// `qemu-io` with the image open, once it answers.
fn qemu_io(path: &Path, format: &str, flags: &[&str]) -> Holder {
    let mut command = Command::new("qemu-io");
    command.args(flags).args(["-f", format]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = start(&mut command);
    holder.0.stdin.as_mut().unwrap().write_all(b"length\n").unwrap();
    let mut line = String::new();
    BufReader::new(holder.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("1 MiB"), "qemu-io opened the image: {line}");
    holder
}

/// Waits until a server has made its socket.
///
/// The socket may be there before the program has given back what it locked only while it was opening
/// the image, so the lock that it may not keep is waited for, too.
fn wait_for(socket: &Path, path: &Path, shared: Claim) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !socket.exists() || complaint(path, shared).is_some() {
        assert!(Instant::now() < deadline, "the server did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a server says who it is: its socket is there before it opens the image.
fn wait_for_greeting(socket: &Path) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"NBDMAGIC");
}

/// The complaint when `claim` is made on the image, if it fails.
fn complaint(path: &Path, claim: Claim) -> Option<&'static str> {
    let disk = RealFs.open(path, OpenOptions::WRITE).unwrap();
    disk.lock(claim).err().map(|error| {
        assert_eq!(error.kind(), ErrorKind::Locked);
        error.op()
    })
}

#[test]
fn a_writing_qemu_io_excludes_everybody_from_a_qcow2_image() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(QCOW2);
    let holder = qemu_io(&path, QCOW2, &[]);
    assert_eq!(complaint(&path, Claim::inspector()), Some(NO_SHARE));
    assert_eq!(complaint(&path, Claim::reader()), Some(NO_SHARE));
    assert_eq!(complaint(&path, Claim::writer()), Some(NO_WRITE));
    let error = RealFs.draft(&path, DraftOptions::default()).unwrap_err();
    assert_eq!(error.op(), NO_WRITE);
    drop(holder);
    assert_eq!(complaint(&path, Claim::writer()), None);
}

#[test]
fn a_reading_qemu_io_excludes_writers_from_a_qcow2_image() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(QCOW2);
    let _holder = qemu_io(&path, QCOW2, &["-r"]);
    assert_eq!(complaint(&path, Claim::reader()), None);
    assert_eq!(complaint(&path, Claim::writer()), Some(NO_WRITE));
}

#[test]
fn a_writing_qemu_io_shares_a_raw_image() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(RAW);
    let _holder = qemu_io(&path, RAW, &[]);
    assert_eq!(complaint(&path, Claim::raw_reader()), None);
    assert_eq!(complaint(&path, Claim::raw_writer()), None);
    assert_eq!(complaint(&path, Claim::reader()), Some(NO_SHARE));
    assert_eq!(complaint(&path, Claim::writer()), Some(NO_SHARE));
}

#[test]
fn a_serving_qemu_nbd_excludes_writers_from_a_qcow2_image() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (scratch, path) = image(QCOW2);
    let socket = scratch.path().join("nbd");
    let mut command = Command::new("qemu-nbd");
    command.args(["-f", QCOW2, "--read-only", "--persistent", "-k"]).arg(&socket).arg(&path);
    let _holder = start(&mut command);
    wait_for(&socket, &path, Claim::reader());
    wait_for_greeting(&socket);
    assert_eq!(complaint(&path, Claim::reader()), None);
    assert_eq!(complaint(&path, Claim::writer()), Some(NO_WRITE));
}

#[test]
fn a_storage_daemon_with_a_raw_export_denies_only_a_change_of_length() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (scratch, path) = image(RAW);
    let socket = scratch.path().join("nbd");
    let ready = scratch.path().join("pid");
    let mut command = Command::new("qemu-storage-daemon");
    command
        .args(["--blockdev", &format!("driver=file,node-name=disk,filename={}", path.display())])
        .args(["--nbd-server", &format!("addr.type=unix,addr.path={}", socket.display())])
        .args(["--export", "type=nbd,id=out,node-name=disk,writable=on"])
        .args(["--pidfile", &ready.display().to_string()]);
    let _holder = start(&mut command);
    wait_for(&ready, &path, Claim::raw_writer());
    assert_eq!(complaint(&path, Claim::raw_writer()), None);
    assert_eq!(complaint(&path, Claim::reader()), Some(NO_SHARE));
    assert_eq!(complaint(&path, Claim::writer()), Some(NO_RESIZE));
}

/// What `qemu-img` says about an image that is claimed here.
fn qemu_img(path: &Path, claim: Claim, args: &[&str]) -> Result<(), String> {
    let disk = RealFs.open(path, OpenOptions::WRITE).unwrap();
    disk.lock(claim).unwrap();
    run(Command::new("qemu-img").args(args).arg(path))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = start::output(command).unwrap_or_else(|error| panic!("{command:?} is needed: {error}"));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

#[test]
fn qemu_img_respects_a_writer() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(QCOW2);
    let question = format!("{NO_SHARE}\nIs another process using the image [{}]?\n", path.display());
    let said = qemu_img(&path, Claim::writer(), &["info"]).unwrap_err();
    assert!(said.ends_with(&question), "{said}");
    qemu_img(&path, Claim::writer(), &["info", "-U"]).unwrap();
}

#[test]
fn qemu_img_respects_a_reader() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(QCOW2);
    let bench = ["bench", "-w", "-c", "1", "-f", QCOW2];
    qemu_img(&path, Claim::reader(), &["info"]).unwrap();
    let said = qemu_img(&path, Claim::reader(), &bench).unwrap_err();
    assert!(said.contains(NO_WRITE), "{said}");
    qemu_img(&path, Claim::none(), &bench).unwrap();
}

#[test]
fn qemu_img_respects_a_draft_of_an_existing_file() {
    if need::lacks(&["qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon"]) {
        return;
    }
    let (_scratch, path) = image(QCOW2);
    let draft = RealFs.draft(&path, DraftOptions::default()).unwrap();
    let said = run(Command::new("qemu-img").arg("info").arg(&path)).unwrap_err();
    assert!(said.contains(NO_SHARE), "{said}");
    draft.publish().unwrap();
    run(Command::new("qemu-img").arg("info").arg(&path)).unwrap();
}
