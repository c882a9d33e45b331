//! The transaction around a command.

use std::sync::Arc;

use journal::{ErrorKind, RealFs, Transaction};

use crate::history::Begun;
use crate::output::Output;
use crate::report::{Failure, Outcome};
use crate::signals::Signals;

/// Runs a command on files that change for others only when it has succeeded, and then all at once.
///
/// What it printed meanwhile is not shown if its changes could not be kept. What it changed, and how it
/// ended, is remembered.
pub(crate) fn transact(out: &Output, begun: &Begun, run: impl FnOnce(&Transaction) -> Outcome) -> Outcome {
    let signals = Arc::new(Signals::default());
    let transaction = Transaction::begin(Arc::new(RealFs), Arc::clone(&signals) as _);
    let outcome = run(&transaction);
    let changed = transaction.changed_paths();
    let outcome = finish(transaction, outcome, out, &signals);
    begun.ended(&RealFs, &changed, &outcome);
    outcome
}

/// Commits, or rolls back.
fn finish(transaction: Transaction, outcome: Outcome, out: &Output, signals: &Signals) -> Outcome {
    let outcome = match outcome {
        Ok(code) => match transaction.commit() {
            Ok(()) => return Ok(code),
            Err(error) if error.kind() == ErrorKind::Pending => {
                out.forget();
                return Err(error.into());
            }
            Err(error) => {
                out.forget();
                Err(Failure::from(error))
            }
        },
        Err(failure) => {
            drop(transaction);
            Err(failure)
        }
    };
    match signals.caught() {
        Some(signal) => {
            let told = format!("Interrupted by {}: every image is as it was", signal.name());
            Err(Failure::message(told).with_code(signal.exit_code()))
        }
        None => outcome,
    }
}
