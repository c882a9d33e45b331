//! `dd`: copy a part of an image, perhaps to another format.

use crate::command::{Args, Command, Env, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "dd",
    summary: "Copy a part of an image, perhaps to another format",
    syntax: "[bs=BLOCK_SIZE] [count=BLOCKS] [skip=BLOCKS] [isize=BYTES] [osize=BYTES] if=INPUT of=OUTPUT",
    options: &[
        HELP,
        OBJECT,
        IMAGE_OPTS,
        FORMAT,
        Opt::new(
            Id::TargetFormat,
            Some('O'),
            &["output-format"],
            Value::Required("OUTPUT_FMT"),
            "format of OUTPUT (raw)",
        ),
        FORCE_SHARE,
        Opt::new(
            Id::NoCreate,
            Some('n'),
            &[],
            Value::None,
            "write into OUTPUT, which exists, instead of making it",
        ),
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &[],
            Value::Required("SNAPSHOT"),
            "read this internal snapshot of INPUT",
        ),
    ],
    operands: &[
        ("bs=BLOCK_SIZE", "bytes in a block (512)"),
        ("count=BLOCKS", "copy so many blocks (all)"),
        ("skip=BLOCKS", "leave out so many blocks of INPUT (0)"),
        ("isize=BYTES", "bytes to expect from standard input"),
        ("osize=BYTES", "size of the virtual disk of OUTPUT"),
        ("if=INPUT", "the image to read; standard input if not given and isize= is"),
        ("of=OUTPUT", "the image to make; standard output if not given and osize= is"),
    ],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
