//! Runs a program and kills it as it enters one of the system calls that change something.

use std::collections::HashSet;
use std::io;
use std::mem::size_of;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// System calls that change files or names, or make them durable.
const CHANGING: [i64; 17] = [
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_copy_file_range,
    libc::SYS_ioctl,
    libc::SYS_linkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
];

/// How a traced program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    /// How many changing calls it had begun.
    pub calls: u64,
    /// Whether it ended by itself, with success.
    pub ended_well: bool,
}

/// Runs a program, and kills it as it enters its `kill_at`-th changing call, counted from 1 over
/// all threads. What the call was to do is not done.
pub fn run(command: &mut Command, kill_at: u64) -> io::Result<Traced> {
    // SAFETY: the closure makes one system call between fork and exec, and allocates nothing.
    unsafe {
        command.pre_exec(|| check(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)).map(drop));
    }
    let child = command.spawn()?;
    let main = child.id() as libc::pid_t;
    wait(main)?;
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, main, i64::from(options))?;
    request(libc::PTRACE_SYSCALL, main, 0)?;
    let mut tracer = Tracer { main, kill_at, calls: 0, threads: HashSet::from([main]) };
    loop {
        let (thread, status) = wait(-1)?;
        if let Some(ended_well) = tracer.event(thread, status)? {
            return Ok(Traced { calls: tracer.calls, ended_well });
        }
    }
}

struct Tracer {
    main: libc::pid_t,
    kill_at: u64,
    calls: u64,
    threads: HashSet<libc::pid_t>,
}

impl Tracer {
    /// Deals with what happened to a thread; says how the program ended, if it did.
    fn event(&mut self, thread: libc::pid_t, status: i32) -> io::Result<Option<bool>> {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            let ended_well = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
            return Ok((thread == self.main).then_some(ended_well));
        }
        let stopped_by = libc::WSTOPSIG(status);
        let signal = match stopped_by {
            _ if stopped_by == libc::SIGTRAP | 0x80 => {
                self.call(thread)?;
                0
            }
            libc::SIGTRAP => 0,
            // A new thread stops once.
            libc::SIGSTOP if self.threads.insert(thread) => 0,
            other => other,
        };
        match request(libc::PTRACE_SYSCALL, thread, i64::from(signal)) {
            // It was killed in the meantime.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            other => other.map(|()| None),
        }
    }

    fn call(&mut self, thread: libc::pid_t) -> io::Result<()> {
        // SAFETY: the structure is plain data, for which zeroes are valid.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::ptrace_syscall_info>();
        // SAFETY: the kernel writes at most `size` bytes to `info`, which outlives the call.
        let got = check(unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, &raw mut info) });
        if got.is_err() || info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return Ok(());
        }
        // SAFETY: `op` says that this is the valid member of the union.
        let number = unsafe { info.u.entry.nr };
        if CHANGING.contains(&(number as i64)) {
            self.calls += 1;
            if self.calls == self.kill_at {
                // SAFETY: the process is our child and was not waited for, so the number is its own.
                check(i64::from(unsafe { libc::kill(self.main, libc::SIGKILL) }))?;
            }
        }
        Ok(())
    }
}

fn request(request: libc::c_uint, thread: libc::pid_t, data: i64) -> io::Result<()> {
    // SAFETY: these requests take a number as data and touch no memory of ours.
    check(unsafe { libc::ptrace(request, thread, 0_i64, data) }).map(drop)
}

fn wait(thread: libc::pid_t) -> io::Result<(libc::pid_t, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let found = check(i64::from(unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) }))?;
    Ok((found as libc::pid_t, status))
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
