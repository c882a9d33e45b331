//! Killed at every system call that changes something, and at many moments between.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{After, Before, Bench, JOBS, Job, Room};

/// System calls that change files or names, or say that they are durable.
const CALLS: [&str; 14] = [
    "openat",
    "open",
    "fcntl",
    "ftruncate",
    "fallocate",
    "pwrite64",
    "pwritev",
    "copy_file_range",
    "fchmod",
    "fsync",
    "fdatasync",
    "linkat",
    "renameat",
    "renameat2",
];

/// The calls of one kind at which the command is killed: all of the first, then fewer.
fn moments() -> impl Iterator<Item = u32> {
    (1..7).chain([9, 13, 24, 70])
}

#[test]
fn at_every_system_call() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        for before in [Before::Nothing, Before::OldImage] {
            let killed: u32 = CALLS.into_iter().map(|call| kill_at_each(&bench, job, before, call)).sum();
            assert!(killed > 20, "{job:?}: strace killed it only {killed} times");
        }
    }
}

/// Kills the job at each call of one kind until it gets through; says how often it died.
fn kill_at_each(bench: &Bench, job: Job, before: Before, call: &str) -> u32 {
    let mut killed = 0;
    for moment in moments() {
        let room = bench.room(before);
        let inject = format!("inject={call}:signal=SIGKILL:when={moment}");
        let output = room.run(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], job);
        let circumstances = format!("{job:?} over {before:?}, killed at {call} {moment}");
        let after = room.verdict(job, before, &circumstances);
        if output.status.success() {
            assert_eq!(after, After::New, "{circumstances}, which it was not");
            break;
        }
        assert_eq!(output.status.signal(), Some(9), "{circumstances}: {output:?}");
        let may_litter = before == Before::OldImage && matches!(call, "linkat" | "renameat");
        assert!(may_litter || room.litter().is_empty(), "{circumstances} left {:?}", room.litter());
        killed += 1;
    }
    killed
}

#[test]
fn at_any_time() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    const ROUNDS: u32 = 24;
    let bench = Bench::new();
    for job in JOBS {
        let started = Instant::now();
        assert!(bench.room(Before::Nothing).run(&[], job).status.success());
        let whole = started.elapsed();
        for round in 0..ROUNDS {
            let before = if round % 2 == 0 { Before::Nothing } else { Before::OldImage };
            let signal = [Signal::KILL, Signal::TERM, Signal::INT][round as usize % 3];
            let room = bench.room(before);
            let ended_well = kill_after(&room, job, whole * round / (ROUNDS - 4), signal);
            let circumstances = format!("{job:?} over {before:?}, round {round} with {signal:?}");
            let after = room.verdict(job, before, &circumstances);
            assert!(!ended_well || after == After::New, "{circumstances}: success without an image");
        }
    }
}

/// Whether the job ended by itself, and well, before the signal reached it.
fn kill_after(room: &Room<'_>, job: Job, delay: Duration, signal: Signal) -> bool {
    let mut child = room.command(&[], job).spawn().unwrap();
    std::thread::sleep(delay);
    // It may have ended already; as it was not waited for, its number is still its own.
    let _ = kill_process(Pid::from_child(&child), signal);
    child.wait().unwrap().success()
}
