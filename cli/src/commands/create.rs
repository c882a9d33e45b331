//! `create`: make a new image.

use crate::command::{Args, Command, Env, HELP, Id, OBJECT, Opt, QUIET, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "create",
    summary: "Make a new image",
    syntax: "FILENAME [SIZE]",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        Opt::new(Id::Format, Some('f'), &["format"], Value::Required("FMT"), "format of the new image (raw)"),
        Opt::new(
            Id::Backing,
            Some('b'),
            &["backing"],
            Value::Required("BACKING_FILENAME"),
            "let the new image hold only what differs from this one",
        ),
        Opt::new(
            Id::BackingFormat,
            Some('F'),
            &["backing-format"],
            Value::Required("BACKING_FMT"),
            "format of BACKING_FILENAME",
        ),
        Opt::new(
            Id::BackingUnsafe,
            Some('u'),
            &["backing-unsafe"],
            Value::None,
            "do not open BACKING_FILENAME",
        ),
        Opt::new(
            Id::Options,
            Some('o'),
            &["options"],
            Value::Required("OPTIONS"),
            "options of the format; '-o help' lists them",
        ),
    ],
    operands: &[
        ("FILENAME", "the image to make; replaced if it exists"),
        (
            "SIZE",
            "bytes in the virtual disk, with an optional suffix k, M, G, T, P or E; the size of the backing image if not given",
        ),
    ],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
