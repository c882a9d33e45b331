//! Signals that ask a command to stop.

use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};

use journal::Interrupt;
use tokio::signal::unix::{SignalKind, signal};

/// What a command was asked by a signal.
#[derive(Debug)]
pub(crate) struct Signals {
    armed: Once,
}

/// The number of the first signal that was caught, for every transaction of the process.
static CAUGHT: AtomicU8 = AtomicU8::new(0);

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(u8);

impl Default for Signals {
    fn default() -> Self {
        Self { armed: Once::new() }
    }
}

impl Signals {
    /// The signal that was caught first, if one was.
    pub(crate) fn caught(&self) -> Option<Signal> {
        let number = CAUGHT.load(Ordering::SeqCst);
        (number != 0).then_some(Signal(number))
    }
}

impl Signal {
    /// How it is called.
    pub(crate) fn name(self) -> &'static str {
        if i32::from(self.0) == libc::SIGTERM { "SIGTERM" } else { "SIGINT" }
    }

    /// How a shell tells of a program that it ended.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.0
    }
}

impl Interrupt for Signals {
    /// Until there is something to roll back, a signal simply ends the process.
    fn arm(&self) {
        self.armed.call_once(|| {
            let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(|| {
                if let Err(error) = wait() {
                    tracing::warn!(%error, "Signals are not watched; one ends the program at once.");
                }
            });
            if let Err(error) = spawned {
                tracing::warn!(%error, "Signals are not watched; one ends the program at once.");
            }
        });
    }

    fn is_requested(&self) -> bool {
        CAUGHT.load(Ordering::Relaxed) != 0
    }
}

/// Notes the first signal.
fn wait() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let number = tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
        };
        CAUGHT.store(number as u8, Ordering::SeqCst);
        Ok(())
    })
}
