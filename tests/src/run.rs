//! Runs a program hermetically: nothing of this machine's environment reaches it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::start::start;

/// The address space that every command must be content with: `ulimit -v 1048576`.
pub const SMALL_ADDRESS_SPACE: u64 = 1 << 30;

/// No output of a command under test is longer; the rest is dropped.
const OUTPUT_LIMIT: u64 = 16 << 20;

/// A command about to be run.
#[derive(Debug, Clone)]
pub struct Run {
    program: PathBuf,
    name: OsString,
    args: Vec<OsString>,
    dir: PathBuf,
    stdin: Vec<u8>,
    timeout: Duration,
    address_space: Option<u64>,
    path: Option<OsString>,
    catalog: OsString,
}

impl Run {
    /// A run of `program` in `dir` that the program sees as started by its own file name.
    pub fn new(program: &Path, dir: &Path) -> Self {
        Self {
            program: program.to_owned(),
            name: program.file_name().unwrap_or_default().to_owned(),
            args: Vec::new(),
            dir: dir.to_owned(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(120),
            address_space: None,
            path: None,
            catalog: OsString::new(),
        }
    }

    /// Starts it under another name (`argv[0]`).
    #[must_use]
    pub fn named(mut self, name: impl Into<OsString>) -> Self {
        self.name = name.into();
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Gives it bytes on standard input; without this it is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Kills it after that long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits its address space to that many bytes.
    #[must_use]
    pub fn address_space(mut self, bytes: u64) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Sets its `PATH`, for shells.
    #[must_use]
    pub fn path(mut self, path: impl Into<OsString>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Lets it use the catalog of that name; without this it has none.
    #[must_use]
    pub fn catalog(mut self, path: impl Into<OsString>) -> Self {
        self.catalog = path.into();
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        let started = Instant::now();
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {}: {error}", self.program.display()),
        };
        let pid = child.id() as libc::pid_t;
        let (done, finished) = mpsc::channel();
        let feeder = feed(&mut child, self.stdin);
        let stdout = drain(child.stdout.take(), done.clone());
        let stderr = drain(child.stderr.take(), done);

        let timed_out = !both_closed(&finished, self.timeout);
        if timed_out {
            // SAFETY: the process is our own child and has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let written = written_by(pid);
        let (status, peak_rss) = reap(pid);
        drop(feeder.join());
        Outcome {
            status,
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
            timed_out,
            peak_rss,
            written,
            elapsed: started.elapsed(),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .arg0(&self.name)
            .args(&self.args)
            .current_dir(&self.dir)
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("TXIMG_CATALOG", &self.catalog)
            .stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        if let Some(bytes) = self.address_space {
            // SAFETY: setrlimit is async-signal-safe and touches no memory of the parent.
            unsafe {
                command.pre_exec(move || {
                    setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
                    Ok(())
                })
            };
        }
        start(&mut command)
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether it had to be killed.
    pub timed_out: bool,
    /// Largest resident set in bytes.
    pub peak_rss: u64,
    /// Bytes that it caused to be written to disks, as the kernel counts them.
    pub written: Option<u64>,
    /// Wall time.
    pub elapsed: Duration,
}

impl Outcome {
    /// The exit code, if it was not killed by a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The status as a person reads it.
    pub fn status_text(&self) -> String {
        match (self.timed_out, self.status.code(), self.status.signal()) {
            (true, _, _) => "timed out".to_owned(),
            (false, Some(code), _) => format!("exit {code}"),
            (false, None, Some(signal)) => format!("killed by signal {signal}"),
            (false, None, None) => "ended strangely".to_owned(),
        }
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Whether the program broke, as opposed to refusing: a signal, Rust's panic status, a hang.
    pub fn crashed(&self) -> bool {
        self.timed_out || self.status.signal().is_some() || self.code() == Some(101)
    }
}

fn feed(child: &mut Child, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let stdin = child.stdin.take();
    thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // A program that does not read all its input is no failure of ours.
            drop(stdin.write_all(&bytes));
        }
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>, done: mpsc::Sender<()>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            drop(pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes));
            drop(io::copy(&mut pipe, &mut io::sink()));
        }
        // Nobody listens any more when the time was up.
        let _ = done.send(());
        bytes
    })
}

fn both_closed(finished: &mpsc::Receiver<()>, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    (0..2).all(|_| finished.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok())
}

/// Waits until a child has ended, without forgetting it, and tells how many bytes it caused to be
/// written to disks.
fn written_by(pid: libc::pid_t) -> Option<u64> {
    // SAFETY: a zeroed siginfo is a valid value of that plain C structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live local, and the child is ours and not yet waited for.
    while unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, libc::WEXITED | libc::WNOWAIT) }
        < 0
    {
        let error = io::Error::last_os_error();
        assert!(error.kind() == io::ErrorKind::Interrupted, "waitid failed: {error}");
    }
    let figures = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    figures.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// Waits for a child and tells its largest resident set in bytes.
fn reap(pid: libc::pid_t) -> (ExitStatus, u64) {
    let mut status = 0;
    // SAFETY: a zeroed rusage is a valid value of that plain C structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals, and the child is ours and not yet waited for.
    while unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } < 0 {
        let error = io::Error::last_os_error();
        assert!(error.kind() == io::ErrorKind::Interrupted, "wait4 failed: {error}");
    }
    (ExitStatus::from_raw(status), u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024)
}
