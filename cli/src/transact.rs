//! The transaction around a command.

use std::sync::Arc;

use journal::{ErrorKind, RealFs, Transaction};

use crate::history::Begun;
use crate::output::Output;
use crate::patience::Patience;
use crate::report::{Failure, Outcome};
use crate::signals::Signals;

/// Runs a command on files that change for others only when it has succeeded, and then all at once.
///
/// What it printed meanwhile is not shown if its changes could not be kept. What it changed, and how it
/// ended, is remembered.
///
/// As long as there is patience, a command that meets a lock gives up all of its own and begins again.
pub(crate) fn transact(
    out: &Output,
    begun: &Begun,
    patience: &mut Patience,
    run: impl Fn(&Transaction) -> Outcome,
) -> Outcome {
    let signals = Arc::new(Signals::default());
    let begin = || Transaction::begin(Arc::new(RealFs), Arc::clone(&signals) as _);
    let mut transaction = begin();
    let mut outcome = run(&transaction);
    while patience.lasts()
        && signals.caught().is_none()
        && outcome.as_ref().is_err_and(Failure::is_for_a_lock)
    {
        drop(transaction);
        out.forget();
        patience.pause();
        transaction = begin();
        outcome = run(&transaction);
    }
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
