//! `check`: look for errors in an image's metadata.

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, QUIET,
    Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "check",
    summary: "Look for errors in an image's metadata",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('T'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Repair, Some('r'), &["repair"], Value::Required("leaks|all"), "repair what is found"),
        OUTPUT,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
