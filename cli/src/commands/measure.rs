//! `measure`: tell how large the file of a new image would be.

use crate::command::{
    Args, Command, Env, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "measure",
    summary: "Tell how large the file of a new image would be",
    syntax: "(--size SIZE | FILENAME)",
    options: &[
        HELP,
        Opt::new(
            Id::TargetFormat,
            Some('O'),
            &["target-format"],
            Value::Required("OUTPUT_FMT"),
            "format of the new image (raw)",
        ),
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Options,
            Some('o'),
            &["options"],
            Value::Required("OPTIONS"),
            "options of the new image's format; '-o help' lists them",
        ),
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &["snapshot"],
            Value::Required("SNAPSHOT"),
            "read this internal snapshot of FILENAME",
        ),
        OBJECT,
        OUTPUT,
        Opt::new(
            Id::Size,
            None,
            &["size"],
            Value::Required("SIZE"),
            "size of the virtual disk, instead of a FILENAME",
        ),
        FORCE_SHARE,
    ],
    operands: &[("FILENAME", "the image that the new one would be made from")],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
