//! `rebase`: put an image onto another backing file.

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET,
    Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "rebase",
    summary: "Put an image onto another backing file",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        PROGRESS,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Compress, Some('c'), &["compress"], Value::None, "compress what is written"),
        Opt::new(
            Id::Backing,
            Some('b'),
            &["backing"],
            Value::Required("BACKING_FILENAME"),
            "the new backing file; an empty name for none",
        ),
        Opt::new(
            Id::BackingFormat,
            Some('F'),
            &["backing-format"],
            Value::Required("BACKING_FMT"),
            "format of BACKING_FILENAME",
        ),
        Opt::new(
            Id::BackingCache,
            Some('T'),
            &["backing-cache"],
            Value::Required("CACHE"),
            "cache mode of the backing files (writeback)",
        ),
        Opt::new(
            Id::BackingUnsafe,
            Some('u'),
            &["backing-unsafe"],
            Value::None,
            "change the name only, whatever the backing file holds",
        ),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
