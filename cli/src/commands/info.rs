//! `info`: tell what an image is.

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "info",
    summary: "Tell what an image is",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        Opt::new(
            Id::BackingChain,
            Some('b'),
            &["backing-chain"],
            Value::None,
            "tell of every image in the backing chain",
        ),
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
