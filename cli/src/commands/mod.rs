//! The commands, one file each.

mod amend;
mod batch;
mod bench;
mod bitmap;
mod catalog;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod dd;
mod digest;
mod info;
mod inspect;
mod log;
mod map;
mod measure;
mod mv;
mod rebase;
mod recover;
mod resize;
mod rm;
mod snapshot;

use std::ffi::OsString;

use crate::command::{Command, Dialect};

/// qemu-img's commands, in the order of the help.
const STOCK: &[Command] = &[
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

/// The commands of tximg's own, which do not exist under qemu-img's name. One of two words is a part
/// of the one of the first word.
const OWN: &[Command] = &[
    batch::COMMAND,
    catalog::COMMAND,
    catalog::dependents::COMMAND,
    catalog::forget::COMMAND,
    catalog::list::COMMAND,
    catalog::scan::COMMAND,
    catalog::show::COMMAND,
    catalog::tree::COMMAND,
    catalog::verify::COMMAND,
    digest::COMMAND,
    inspect::COMMAND,
    log::COMMAND,
    mv::COMMAND,
    recover::COMMAND,
    rm::COMMAND,
];

/// Every command of the dialect, in the order of the help.
pub(crate) fn all(dialect: Dialect) -> impl Iterator<Item = &'static Command> {
    let own = match dialect {
        Dialect::Stock => &[],
        Dialect::Own => OWN,
    };
    STOCK.iter().chain(own)
}

/// The command that the words begin with, and the words after it. Of two that fit, the longer name
/// counts.
pub(crate) fn find(dialect: Dialect, words: &[OsString]) -> Option<(&'static Command, &[OsString])> {
    let length = |command: &&Command| command.name.split(' ').count();
    let begins = |command: &&Command| {
        let mut words = words.iter();
        command.name.split(' ').all(|part| words.next().is_some_and(|word| word == part))
    };
    let command = all(dialect).filter(begins).max_by_key(length)?;
    Some((command, words.get(length(&command)..).unwrap_or_default()))
}
