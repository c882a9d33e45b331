//! `resize`: change the size of the virtual disk.

use crate::command::{Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, QUIET, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "resize",
    summary: "Change the size of the virtual disk",
    syntax: "FILENAME [+|-]SIZE",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Preallocation,
            None,
            &["preallocation"],
            Value::Required("PREALLOC"),
            "how to reserve space for the new part",
        ),
        Opt::new(
            Id::Shrink,
            None,
            &["shrink"],
            Value::None,
            "allow a smaller size, which loses what lies beyond",
        ),
    ],
    operands: &[
        FILENAME,
        ("SIZE", "new size, or by how much it changes, with an optional suffix k, M, G, T, P or E"),
    ],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
