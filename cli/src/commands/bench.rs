//! `bench`: measure how fast requests to an image are.

use crate::command::{Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, Opt, Value};
use crate::report::Outcome;

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    summary: "Measure how fast requests to an image are",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Count, Some('c'), &["count"], Value::Required("COUNT"), "number of requests (75000)"),
        Opt::new(
            Id::Depth,
            Some('d'),
            &["depth"],
            Value::Required("DEPTH"),
            "requests in flight at a time (64)",
        ),
        Opt::new(
            Id::Offset,
            Some('o'),
            &["offset"],
            Value::Required("OFFSET"),
            "where the first request starts (0)",
        ),
        Opt::new(
            Id::BufferSize,
            Some('s'),
            &["buffer-size"],
            Value::Required("BUFFER_SIZE"),
            "bytes in each request (4096)",
        ),
        Opt::new(
            Id::StepSize,
            Some('S'),
            &["step-size"],
            Value::Required("STEP_SIZE"),
            "distance from one request to the next (the size of a request)",
        ),
        Opt::new(
            Id::Aio,
            Some('i'),
            &["aio"],
            Value::Required("AIO"),
            "how requests reach the kernel: threads, native, io_uring",
        ),
        Opt::new(Id::Native, Some('n'), &["native"], Value::None, "the same as --aio native"),
        Opt::new(Id::Write, Some('w'), &["write"], Value::None, "write instead of reading"),
        Opt::new(Id::Pattern, None, &["pattern"], Value::Required("PATTERN"), "the byte to write (0)"),
        Opt::new(
            Id::FlushInterval,
            None,
            &["flush-interval"],
            Value::Required("FLUSH_INTERVAL"),
            "flush after every so many writes (0: never)",
        ),
        Opt::new(Id::NoDrain, None, &["no-drain"], Value::None, "keep requests in flight while flushing"),
        FORCE_SHARE,
        Opt::new(Id::Quiet, Some('q'), &[], Value::None, "print errors only"),
    ],
    operands: &[FILENAME],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    super::not_supported_yet(args, COMMAND.name)
}
