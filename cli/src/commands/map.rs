//! `map`: list where an image's data is.

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "map",
    summary: "List where an image's data is",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
        Opt::new(Id::StartOffset, Some('s'), &["start-offset"], Value::Required("OFFSET"), "begin there (0)"),
        Opt::new(
            Id::MaxLength,
            Some('l'),
            &["max-length"],
            Value::Required("LENGTH"),
            "end after so many bytes",
        ),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
