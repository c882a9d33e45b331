//! `snapshot`: list or change the snapshots inside an image.

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, QUIET,
    Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "snapshot",
    summary: "List or change the snapshots inside an image",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        FORCE_SHARE,
        Opt::new(Id::List, Some('l'), &["list"], Value::None, "list the snapshots (the default)"),
        Opt::new(
            Id::Apply,
            Some('a'),
            &["apply"],
            Value::Required("SNAPSHOT"),
            "make the disk what it was then",
        ),
        Opt::new(Id::Create, Some('c'), &["create"], Value::Required("SNAPSHOT"), "take a snapshot"),
        Opt::new(Id::Delete, Some('d'), &["delete"], Value::Required("SNAPSHOT"), "delete a snapshot"),
        Opt::new(Id::Output, None, &["output"], Value::Required("human|json"), OUTPUT.help)
            .extra(&["output"]),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
