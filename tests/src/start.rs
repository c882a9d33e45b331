//! Starting programs from a test that has images open itself.
//!
//! A process that is being started has, until it runs its program, every file of this one open, with their
//! locks. If two were started at once, one would meet the locks of files that another thread has closed already.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// Starts a program while no other is being started.
pub fn start(command: &mut Command) -> io::Result<Child> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Starts it likewise, and waits for its end.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start(command)?.wait_with_output()
}
