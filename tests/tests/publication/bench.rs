//! A directory with sources, a target, and the verdict on what became of the target.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use testkit::oracle::{in_path, oracle};
use testkit::script;
use testkit::tximg::binary;

/// The target's name in the directory.
pub const TARGET: &str = "out";

/// A command that makes an image, and what it makes.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The command line, without the program.
    line: &'static str,
    /// The new image's format.
    format: &'static str,
    /// What it must hold: the source, or nothing.
    like: &'static str,
}

/// Every way to make an image that writes in its own manner.
pub const JOBS: [Job; 6] = [
    Job { line: "convert -f raw -O raw source.raw out", format: "raw", like: "source.raw" },
    Job { line: "convert -f qcow2 -O raw -S 0 source.qcow2 out", format: "raw", like: "source.raw" },
    Job { line: "convert -f raw -O qcow2 source.raw out", format: "qcow2", like: "source.raw" },
    Job { line: "convert -c -f raw -O qcow2 source.raw out", format: "qcow2", like: "source.raw" },
    Job { line: "create -f qcow2 -o preallocation=full out 4M", format: "qcow2", like: "empty.raw" },
    Job { line: "create -f raw -o preallocation=full out 4M", format: "raw", like: "empty.raw" },
];

/// What stands under the target's name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    OldImage,
}

/// What stands there after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// What was there before.
    Old,
    /// The whole new image.
    New,
}

/// A directory with sources and a place for a target.
#[derive(Debug)]
pub struct Bench {
    sources: TempDir,
    old: Vec<u8>,
}

impl Bench {
    pub fn new() -> Self {
        let sources = TempDir::new().unwrap();
        fs::set_permissions(sources.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let script = "
            noise source.raw 3M 1
            cut source.raw 24M
            io -f raw source.raw | write -P 5 23M 60k
            sparse empty.raw 4M
            img convert -f raw -O qcow2 source.raw source.qcow2
            img create -q -f qcow2 old 1M
            io -f qcow2 old | write -P 7 0 1M
        ";
        script::run(script, sources.path());
        let old = fs::read(sources.path().join("old")).unwrap();
        Self { sources, old }
    }

    /// A fresh directory that sees the sources, and the target as it was before.
    pub fn room(&self, before: Before) -> Room<'_> {
        let directory = TempDir::new().unwrap();
        let room = Room { bench: self, path: directory.path().to_owned(), _directory: Some(directory) };
        room.furnish(before);
        room
    }

    /// The same in a directory that exists already.
    pub fn room_at(&self, path: &Path, before: Before) -> Room<'_> {
        let room = Room { bench: self, path: path.to_owned(), _directory: None };
        room.furnish(before);
        room
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.sources.path().join(name)
    }
}

/// Where one command runs.
#[derive(Debug)]
pub struct Room<'a> {
    bench: &'a Bench,
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Room<'_> {
    fn furnish(&self, before: Before) {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["source.raw", "source.qcow2", "empty.raw"] {
            std::os::unix::fs::symlink(self.bench.source(name), self.path.join(name)).unwrap();
        }
        if before == Before::OldImage {
            fs::write(self.target(), &self.bench.old).unwrap();
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn target(&self) -> PathBuf {
        self.path.join(TARGET)
    }

    /// The job as a command under `wrapper`, which is a program and its arguments.
    pub fn command(&self, wrapper: &[&str], job: Job) -> Command {
        let mut words: Vec<&OsStr> = wrapper.iter().map(OsStr::new).collect();
        words.push(binary().as_os_str());
        words.extend(job.line.split(' ').map(OsStr::new));
        let program = words[0].to_str().and_then(in_path).unwrap_or_else(|| PathBuf::from(words[0]));
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(&self.path).env("TXIMG_CATALOG", "").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the job to its end.
    pub fn run(&self, wrapper: &[&str], job: Job) -> Output {
        self.command(wrapper, job)
            .output()
            .unwrap_or_else(|error| panic!("cannot start {wrapper:?}: {error}"))
    }

    /// What became of the target; a part of an image fails the test.
    pub fn verdict(&self, job: Job, before: Before, circumstances: &str) -> After {
        let target = self.target();
        match (before, target.exists()) {
            (Before::Nothing, false) => return After::Old,
            (Before::OldImage, true) if fs::read(&target).unwrap() == self.bench.old => return After::Old,
            _ => {}
        }
        let whole = self.is_whole(job);
        assert!(whole.is_ok(), "{circumstances}: the target is neither old nor new: {}", whole.unwrap_err());
        After::New
    }

    /// Whether the target is the whole new image, in the eyes of the oracle.
    fn is_whole(&self, job: Job) -> Result<(), String> {
        if job.format == "qcow2" {
            self.oracle(&["check", "-f", job.format, TARGET])?;
        }
        let compared = self.oracle(&["compare", "-f", job.format, "-F", "raw", TARGET, job.like])?;
        // Images that differ in zeroes at the end are called equal, with a warning.
        if compared.contains("mismatch") { Err(compared) } else { Ok(()) }
    }

    /// What the oracle says, as an error if it fails.
    fn oracle(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&oracle().img).args(args).current_dir(&self.path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        if output.status.success() { Ok(said.into_owned()) } else { Err(format!("{args:?}: {said}")) }
    }

    /// Names that were not there before, but for the target.
    pub fn litter(&self) -> Vec<String> {
        let known = ["source.raw", "source.qcow2", "empty.raw", TARGET];
        let names =
            fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !known.contains(&name.as_str())).collect()
    }
}

/// What a command said, for messages.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
