//! `map`: list where an image's data is.

use formats::NodeName;
use store::ops::map::{self, MapEntry, Runs};

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::image::{Form, Subject};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size::{self, MAX_SIZE};

pub(crate) const COMMAND: Command = Command {
    name: "map",
    summary: "List where an image's data is",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
        Opt::new(Id::StartOffset, Some('s'), &["start-offset"], Value::Required("OFFSET"), "begin there (0)"),
        Opt::new(
            Id::MaxLength,
            Some('l'),
            &["max-length"],
            Value::Required("LENGTH"),
            "end after so many bytes",
        ),
    ],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut subject = Subject::default();
    let mut start = 0;
    let mut length = None;
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::StartOffset => start = size::size(option.value(), "start offset", 0..=MAX_SIZE)?,
            Id::MaxLength => length = Some(size::size(option.value(), "max length", 0..=MAX_SIZE)?),
            _ => subject.take(env, &option)?,
        }
    }
    let name = subject.name(subject.operand(args)?)?;
    let image = name.open(&env.context(), subject.flags())?;
    // A range that ends past the largest offset is empty, as it is to qemu-img.
    let end = length
        .map_or(u64::MAX, |length| start.checked_add(length).filter(|end| *end <= MAX_SIZE).unwrap_or(0));
    let runs = map::map(&image, start..end);
    match subject.form {
        Form::Human => print_table(env, runs),
        Form::Json => print_json(env, runs),
    }
}

/// Data in plain bytes only: nothing else has a place that could be told.
fn print_table(env: &Env<'_>, runs: Runs<'_>) -> Outcome {
    env.out.line(format!("{:<16}{:<16}{:<16}File", "Offset", "Length", "Mapped to"));
    for run in runs {
        let run = run.map_err(unreadable)?;
        match (run.data, run.offset) {
            (true, None) => {
                return Err(Failure::message("File contains external, encrypted or compressed clusters."));
            }
            (true, Some(offset)) if !run.zero => {
                for number in [run.start, run.length, offset] {
                    env.out.print(format!("{:<16}", hexadecimal(number)));
                }
                env.out.line(run.file.map(NodeName::display).unwrap_or_default().as_encoded_bytes());
            }
            _ => {}
        }
    }
    Ok(SUCCESS)
}

/// As C prints it: no prefix before zero.
fn hexadecimal(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

fn print_json(env: &Env<'_>, runs: Runs<'_>) -> Outcome {
    env.out.print("[");
    let mut runs = runs.peekable();
    while let Some(run) = runs.next() {
        let MapEntry { start, length, depth, present, zero, data, compressed, offset, file: _ } =
            run.map_err(unreadable)?;
        env.out.print(format!(
            "{{ \"start\": {start}, \"length\": {length}, \"depth\": {depth}, \"present\": {present}, \
             \"zero\": {zero}, \"data\": {data}, \"compressed\": {compressed}"
        ));
        if let Some(offset) = offset {
            env.out.print(format!(", \"offset\": {offset}"));
        }
        // Even if the next run is an error: that is when QEMU separates, too.
        env.out.print(if runs.peek().is_some() { "},\n" } else { "}" });
    }
    env.out.line("]");
    Ok(SUCCESS)
}

fn unreadable(error: formats::Error) -> Failure {
    Failure::message(format!("Could not read file metadata: {}", error.report()))
}
