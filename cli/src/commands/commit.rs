//! `commit`: merge an image into its backing file.

use crate::command::{
    Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "commit",
    summary: "Merge an image into its backing file",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Drop, Some('d'), &["drop"], Value::None, "leave FILENAME as it is afterwards"),
        Opt::new(
            Id::Base,
            Some('b'),
            &["base"],
            Value::Required("BASE_IMG"),
            "the image in the chain to merge into",
        ),
        PROGRESS,
        Opt::new(Id::Rate, Some('r'), &["rate"], Value::Required("RATE"), "bytes per second at most"),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
