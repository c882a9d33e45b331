//! The commands, one file each.

mod amend;
mod bench;
mod bitmap;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod dd;
mod info;
mod map;
mod measure;
mod rebase;
mod resize;
mod snapshot;

use crate::command::{Args, Command};
use crate::report::{Failure, Outcome};

/// Every command, in the order of the help.
pub(crate) const ALL: &[Command] = &[
    amend::COMMAND,
    bench::COMMAND,
    bitmap::COMMAND,
    check::COMMAND,
    commit::COMMAND,
    compare::COMMAND,
    convert::COMMAND,
    create::COMMAND,
    dd::COMMAND,
    info::COMMAND,
    map::COMMAND,
    measure::COMMAND,
    rebase::COMMAND,
    resize::COMMAND,
    snapshot::COMMAND,
];

/// Answers for a command that has its place but not yet its work.
fn not_supported_yet(args: &Args, command: &str) -> Outcome {
    for option in args.options() {
        option?;
    }
    Err(Failure::message(format!("The command '{command}' is not supported yet")))
}
