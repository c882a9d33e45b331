//! `measure`: tell how large the file of a new image would be.

use formats::create::{Measurement, OptionList};
use formats::json::pretty;
use serde_json::json;
use store::SnapshotSelector;
use store::ops::measure::{self, Content};

use crate::command::{
    Args, Command, Env, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::image::{Form, Subject};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::{selector, size};

pub(crate) const COMMAND: Command = Command {
    name: "measure",
    summary: "Tell how large the file of a new image would be",
    syntax: "[FILENAME]",
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

/// The command line as it was given.
#[derive(Debug, Default)]
struct Given {
    subject: Subject,
    /// Whether an option was given that only an image makes sense of.
    needs_image: bool,
    target_format: Option<String>,
    options: OptionList,
    size: Option<u64>,
    snapshot: Option<SnapshotSelector>,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = Given::read(env, args)?;
    let content = given.content(args)?.open(&env.context())?;
    let format = given.target_format.as_deref().unwrap_or("raw");
    // What is no format, but is measured and refused like one.
    if format == "file" {
        return Err(Failure::message("Block driver 'file' does not support size measurement"));
    }
    let table = measure::table(format)?;
    let options = table.parse(&given.options).map_err(|error| {
        env.program.complain(error.report().as_bytes());
        Failure::message(format!("Invalid options for file format '{format}'"))
    })?;
    let measurement = content.measure(&env.context(), &table, options)?;
    match given.subject.form {
        Form::Human => print_lines(env, measurement),
        Form::Json => print_json(env, measurement),
    }
    Ok(SUCCESS)
}

fn print_lines(env: &Env<'_>, measurement: Measurement) {
    env.out.line(format!("required size: {}", measurement.required));
    env.out.line(format!("fully allocated size: {}", measurement.fully_allocated));
    if let Some(bitmaps) = measurement.bitmaps {
        env.out.line(format!("bitmaps size: {bitmaps}"));
    }
}

fn print_json(env: &Env<'_>, measurement: Measurement) {
    let mut object = json!({
        "required": measurement.required,
        "fully-allocated": measurement.fully_allocated,
    });
    if let Some(bitmaps) = measurement.bitmaps {
        object["bitmaps"] = bitmaps.into();
    }
    env.out.line(pretty(&object));
}

impl Given {
    fn read(env: &Env<'_>, args: &Args) -> Result<Self, Failure> {
        let mut given = Self::default();
        for option in args.options() {
            let option = option?;
            given.needs_image |= matches!(option.id, Id::Format | Id::ImageOpts | Id::Snapshot);
            match option.id {
                Id::TargetFormat => given.target_format = Some(option.text().into_owned()),
                Id::Options => given.options.add(option.value())?,
                Id::Snapshot => given.snapshot = Some(selector::snapshot(env, &option)?),
                Id::Size => {
                    given.size = Some(size::size(option.value(), "image size", 0..=size::MAX_SIZE)?);
                }
                _ => given.subject.take(env, &option)?,
            }
        }
        Ok(given)
    }

    fn content(&self, args: &Args) -> Result<Content, Failure> {
        let complain = |message: &str| Err(Failure::message(message));
        match (args.operands(), self.size) {
            ([_, _, ..], _) => complain("At most one filename argument is allowed."),
            ([], _) if self.needs_image => complain("--image-opts, -f, and -l require a filename argument."),
            ([], None) => complain("Either --size N or one filename must be specified."),
            ([], Some(size)) => Ok(Content::Empty(size)),
            ([_], Some(_)) => complain("--size N cannot be used together with a filename."),
            ([name], None) => Ok(Content::Of {
                name: self.subject.name(name)?,
                flags: self.subject.flags(),
                snapshot: self.snapshot.clone(),
            }),
        }
    }
}
