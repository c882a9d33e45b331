//! How far the work is, told to the person or the script that asked.
//!
//! A script gets qemu-img's line, `    (12.34/100%)` and a carriage return, each in one write; a
//! person at a terminal gets a bar with the rate and the time left. Without `-p`, SIGUSR1 asks for
//! one line on standard error.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use store::Progress;

use crate::output::Output;

/// Whether progress was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// With `-p`.
    Always,
    /// Only when SIGUSR1 asks.
    OnSignal,
}

impl Wanted {
    /// What `-p` and `-q` together mean.
    pub(crate) fn from_flags(progress: bool, quiet: bool) -> Self {
        if progress && !quiet { Self::Always } else { Self::OnSignal }
    }
}

/// Prints how far the work is; ends its line when it is dropped.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    out: &'a Output,
    face: Face,
    /// Hundredths of a percent that must be passed before the next line, so that most calls return
    /// at once.
    next: AtomicU64,
    /// Held while a line is printed, so that lines do not go backwards.
    printing: Mutex<Option<u64>>,
    step: u64,
}

#[derive(Debug)]
enum Face {
    Line,
    Bar(ProgressBar),
    Signal,
}

/// Everything, in hundredths of a percent.
const ALL: u64 = 10_000;

impl<'a> Meter<'a> {
    /// A meter whose lines are more than `step` percent apart.
    pub(crate) fn new(out: &'a Output, wanted: Wanted, step: u32) -> Self {
        signal::listen();
        let face = match wanted {
            Wanted::OnSignal => Face::Signal,
            Wanted::Always if std::io::stdout().is_terminal() => Face::Bar(bar()),
            Wanted::Always => Face::Line,
        };
        Self { out, face, next: AtomicU64::new(0), printing: Mutex::new(None), step: u64::from(step) * 100 }
    }

    /// Tells that the work begins.
    pub(crate) fn start(&self) {
        self.set(0, 1);
    }

    fn line(&self, hundredths: u64) {
        let Ok(mut last) = self.printing.lock() else { return };
        if last.is_some_and(|last| hundredths <= last) {
            return;
        }
        *last = Some(hundredths);
        self.next.store((hundredths + self.step + 1).min(ALL), Ordering::Relaxed);
        self.out.print(text(hundredths, '\r'));
        self.out.flush();
    }
}

impl Progress for Meter<'_> {
    fn set(&self, done: u64, total: u64) {
        match &self.face {
            Face::Line => {
                let hundredths = hundredths(done, total);
                if hundredths >= self.next.load(Ordering::Relaxed) {
                    self.line(hundredths);
                }
            }
            Face::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Face::Signal => {
                if signal::take() {
                    let line = text(hundredths(done, total), '\n');
                    let _ = std::io::stderr().write_all(line.as_bytes());
                }
            }
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        match &self.face {
            Face::Line => self.out.print("\n"),
            // What is printed from now on begins on a line of its own.
            Face::Bar(bar) => {
                bar.abandon();
                let _ = std::io::stdout().write_all(b"\n");
            }
            Face::Signal => {}
        }
    }
}

fn hundredths(done: u64, total: u64) -> u64 {
    match total {
        0 => ALL,
        _ => (u128::from(done.min(total)) * u128::from(ALL) / u128::from(total)) as u64,
    }
}

fn text(hundredths: u64, end: char) -> String {
    format!("    ({}.{:02}/100%){end}", hundredths / 100, hundredths % 100)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
    let template = "{wide_bar} {percent:>3}%  {binary_bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// SIGUSR1 asks for a line.
mod signal {
    use super::{AtomicBool, Ordering};

    static ASKED: AtomicBool = AtomicBool::new(false);

    extern "C" fn ask(_signal: libc::c_int) {
        ASKED.store(true, Ordering::Relaxed);
    }

    pub(super) fn listen() {
        // SAFETY: the handler only stores to an atomic, which is safe at any instant.
        unsafe {
            libc::signal(libc::SIGUSR1, ask as extern "C" fn(libc::c_int) as libc::sighandler_t);
        }
    }

    /// Whether a line was asked for since the last call.
    pub(super) fn take() -> bool {
        ASKED.load(Ordering::Relaxed) && ASKED.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_scripts_take_them_apart() {
        assert_eq!(text(hundredths(0, 1), '\r'), "    (0.00/100%)\r");
        assert_eq!(text(hundredths(1234, 10_000), '\r'), "    (12.34/100%)\r");
        assert_eq!(text(hundredths(u64::MAX, u64::MAX), '\n'), "    (100.00/100%)\n");
        assert_eq!(hundredths(0, 0), ALL);
    }
}
