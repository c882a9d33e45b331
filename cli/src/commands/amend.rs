//! `amend`: change format-specific options of an image.

use crate::command::{
    Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "amend",
    summary: "Change format-specific options of an image",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        PROGRESS,
        OBJECT,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(
            Id::Options,
            Some('o'),
            &["options"],
            Value::Required("OPTIONS"),
            "options to change; '-o help' lists them",
        ),
        IMAGE_OPTS,
        Opt::new(Id::Force, None, &["force"], Value::None, "also do what may lose data"),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
