//! `bitmap`: change the persistent bitmaps of an image.

use crate::command::{Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "bitmap",
    summary: "Change the persistent bitmaps of an image",
    syntax: "FILENAME BITMAP",
    options: &[
        HELP,
        OBJECT,
        IMAGE_OPTS,
        Opt::new(Id::Add, None, &["add"], Value::None, "make BITMAP and let it record writes"),
        Opt::new(Id::Remove, None, &["remove"], Value::None, "remove BITMAP"),
        Opt::new(Id::Clear, None, &["clear"], Value::None, "forget all that BITMAP has recorded"),
        Opt::new(Id::Enable, None, &["enable"], Value::None, "let BITMAP record writes"),
        Opt::new(Id::Disable, None, &["disable"], Value::None, "let BITMAP record no writes"),
        Opt::new(
            Id::Merge,
            None,
            &["merge"],
            Value::Required("SOURCE"),
            "add what the bitmap SOURCE has recorded to BITMAP",
        ),
        Opt::new(
            Id::Granularity,
            Some('g'),
            &["granularity"],
            Value::Required("SIZE"),
            "bytes for each bit of a bitmap that --add makes",
        ),
        Opt::new(
            Id::Base,
            Some('b'),
            &["source-file"],
            Value::Required("SRC_FILENAME"),
            "the image with the bitmap for --merge",
        ),
        Opt::new(
            Id::SecondFormat,
            Some('F'),
            &["source-format"],
            Value::Required("SRC_FMT"),
            "format of SRC_FILENAME",
        ),
        Opt::new(Id::Format, Some('f'), &["format"], Value::Required("FMT"), FORMAT.help).extra(&["format"]),
    ],
    operands: &[FILENAME, ("BITMAP", "name of the bitmap")],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
