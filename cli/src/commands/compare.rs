//! `compare`: tell whether two images hold the same data.

use crate::command::{
    Args, Command, Env, FORCE_SHARE, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "compare",
    summary: "Tell whether two images hold the same data",
    syntax: "FILENAME1 FILENAME2",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        Opt::new(
            Id::Cache,
            Some('T'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        IMAGE_OPTS,
        Opt::new(
            Id::Format,
            Some('f'),
            &["a-format", "left-format"],
            Value::Required("FMT"),
            "format of FILENAME1",
        ),
        Opt::new(
            Id::SecondFormat,
            Some('F'),
            &["b-format", "right-format"],
            Value::Required("FMT"),
            "format of FILENAME2",
        ),
        FORCE_SHARE,
        Opt::new(
            Id::Strict,
            Some('s'),
            &["strict"],
            Value::None,
            "sizes and allocation must be the same too",
        ),
        PROGRESS,
    ],
    operands: &[("FILENAME1, FILENAME2", "the images: names, or block options with --image-opts")],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
