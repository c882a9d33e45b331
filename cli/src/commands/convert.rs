//! `convert`: copy images into a new one, perhaps of another format.

use crate::command::{Args, Command, Env, FORCE_SHARE, HELP, IMAGE_OPTS, Id, OBJECT, Opt, QUIET, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "convert",
    summary: "Copy images into a new one, perhaps of another format",
    syntax: "FILENAME [FILENAME2 ...] OUTPUT_FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        Opt::new(Id::ImageOpts, None, &["image-opts", "source-image-opts"], Value::None, IMAGE_OPTS.help),
        Opt::new(
            Id::Format,
            Some('f'),
            &["source-format"],
            Value::Required("FMT"),
            "format of the sources; found by looking at them if not given",
        ),
        Opt::new(
            Id::SourceCache,
            Some('T'),
            &["source-cache"],
            Value::Required("SRC_CACHE"),
            "cache mode of the sources (writeback)",
        ),
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &["snapshot", "source-snapshot"],
            Value::Required("SNAPSHOT"),
            "read this internal snapshot: its name or id, or snapshot.id=ID or snapshot.name=NAME",
        )
        .extra(&["source-snapshot"]),
        Opt::new(
            Id::SparseSize,
            Some('S'),
            &["sparse-size"],
            Value::Required("SPARSE_SIZE"),
            "leave out zeroes where at least so many bytes follow one another (4k); 0 writes every byte",
        ),
        Opt::new(
            Id::TargetFormat,
            Some('O'),
            &["output-format", "target-format"],
            Value::Required("OUTPUT_FMT"),
            "format of the new image (raw)",
        )
        .extra(&["target-format"]),
        Opt::new(
            Id::Options,
            Some('o'),
            &["options", "target-options"],
            Value::Required("OPTIONS"),
            "options of the new image's format; '-o help' lists them",
        )
        .extra(&["target-options"]),
        Opt::new(
            Id::Cache,
            Some('t'),
            &["output-cache", "target-cache"],
            Value::Required("CACHE"),
            "cache mode of the new image (unsafe)",
        )
        .extra(&["target-cache"]),
        Opt::new(
            Id::Backing,
            Some('B'),
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
        FORCE_SHARE,
        Opt::new(
            Id::TargetImageOpts,
            None,
            &["target-image-opts"],
            Value::None,
            "take OUTPUT_FILENAME as block options, not as a name",
        ),
        Opt::new(
            Id::Salvage,
            None,
            &["salvage"],
            Value::None,
            "go on after read errors, with zeroes for what cannot be read",
        ),
        Opt::new(
            Id::TargetIsZero,
            None,
            &["target-is-zero"],
            Value::None,
            "with -n: trust that the target is all zeroes",
        ),
        Opt::new(Id::Bitmaps, None, &["bitmaps"], Value::None, "copy persistent bitmaps too"),
        Opt::new(
            Id::SkipBrokenBitmaps,
            None,
            &["skip-broken-bitmaps"],
            Value::None,
            "with --bitmaps: leave out bitmaps that cannot be trusted",
        ),
        Opt::new(Id::Rate, Some('r'), &["rate"], Value::Required("RATE"), "bytes per second at most"),
        Opt::new(
            Id::Parallel,
            Some('m'),
            &["parallel"],
            Value::Required("NUM"),
            "pieces of work in flight at a time, 1 to 16 (8)",
        ),
        Opt::new(Id::OobWrites, Some('W'), &["oob-writes"], Value::None, "allow writes out of order"),
        Opt::new(
            Id::CopyRange,
            Some('C'),
            &["copy-range-offloading"],
            Value::None,
            "let the kernel copy where it can",
        ),
        Opt::new(Id::Compress, Some('c'), &["compress"], Value::None, "compress the new image")
            .extra(&["compress"]),
        Opt::new(
            Id::NoCreate,
            Some('n'),
            &["no-create"],
            Value::None,
            "write into OUTPUT_FILENAME, which exists, instead of making it",
        )
        .extra(&["no-create"]),
        Opt::new(Id::Progress, Some('p'), &["progress"], Value::None, "print how far the work is")
            .extra(&["progress"]),
    ],
    operands: &[
        ("FILENAME, FILENAME2, ...", "the images to copy, one after another"),
        ("OUTPUT_FILENAME", "the image to make"),
    ],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
