//! The tximg command: arguments, output, progress and exit codes.
//!
//! ```text
//!   main ── getopt ── commands/<name> ──► store::ops::<name>
//!             │            │
//!           help         output, progress, report
//! ```

mod command;
mod commands;
mod getopt;
mod guard;
mod help;
mod history;
mod image;
mod object;
mod options_help;
mod output;
mod patience;
mod program;
mod progress;
mod report;
mod selector;
mod signals;
mod size;
mod top;
mod trace;
mod transact;

use std::process::ExitCode;

use crate::output::Output;
use crate::program::Program;
use crate::report::Failure;

fn main() -> ExitCode {
    share_memory_pools();
    let mut args = std::env::args_os();
    let program = Program::new(args.next());
    let out = Output::default();
    let code = top::run(&program, &args.collect::<Vec<_>>(), &out);
    let written = match out.finish() {
        Ok(()) => 0,
        Err(error) => Failure::from(error).tell(&program),
    };
    ExitCode::from(if code == 0 { written } else { code })
}

/// Callers limit the address space to a gigabyte, and the C library would reserve 64 MiB of it for
/// every thread.
#[cfg(target_env = "gnu")]
fn share_memory_pools() {
    // SAFETY: sets a limit of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(not(target_env = "gnu"))]
fn share_memory_pools() {}
