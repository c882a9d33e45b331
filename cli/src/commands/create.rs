//! `create`: make a new image.

use std::ffi::OsString;

use formats::create::{OptionList, file_path};
use store::catalog::Spared;
use store::ops::create::{BackingTrust, Create};

use crate::command::{Args, Command, Env, FORCE, Force, HELP, Id, OBJECT, Opt, QUIET, Value};
use crate::guard::Change;
use crate::report::{Failure, Outcome, SUCCESS};
use crate::{options_help, size};

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
        FORCE,
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

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = Given::read(env, args)?;
    let target = args.operands().first();
    if given.options.asks_for_help() {
        return options_help::print(env, &given.format, target.map(OsString::as_os_str));
    }
    let Some(target) = target else { return Err(Failure::usage("Expecting image file name")) };
    let size = match args.operands() {
        [_, size, ..] => Some(size::size(size, "image size", 0..=size::MAX_SIZE)?),
        _ => None,
    };
    if let Some(more) = args.operands().get(2) {
        return Err(Failure::usage(format!("Unexpected argument: {}", more.display())));
    }
    let request = Create {
        filename: target.clone(),
        format: given.format,
        options: given.options,
        size,
        backing: given.backing,
        backing_format: given.backing_format,
        trust: given.trust,
    };
    let context = env.context();
    let plan = request.plan(&context)?;
    if let Ok(path) = file_path(target) {
        env.protect(&path, Change::Replace, given.force, Spared::default())?;
    }
    if !given.quiet {
        env.out.line(plan.announcement());
        env.out.flush();
    }
    plan.run(&context)?;
    Ok(SUCCESS)
}

/// The options as they were given.
#[derive(Debug)]
struct Given {
    quiet: bool,
    format: String,
    options: OptionList,
    backing: Option<OsString>,
    backing_format: Option<OsString>,
    trust: BackingTrust,
    force: Force,
}

impl Given {
    fn read(env: &Env<'_>, args: &Args) -> Result<Self, Failure> {
        let mut given = Self {
            quiet: false,
            format: "raw".to_owned(),
            options: OptionList::default(),
            backing: None,
            backing_format: None,
            trust: BackingTrust::Verify,
            force: Force::Off,
        };
        for option in args.options() {
            let option = option?;
            match option.id {
                Id::Quiet => given.quiet = true,
                Id::Format => given.format = option.text().into_owned(),
                Id::Options => given.options.add(option.value())?,
                Id::Backing => given.backing = Some(option.value().to_owned()),
                Id::BackingFormat => given.backing_format = Some(option.value().to_owned()),
                Id::Force => given.force = Force::On,
                Id::BackingUnsafe => given.trust = BackingTrust::Blind,
                _ => env.objects.define(option.value())?,
            }
        }
        Ok(given)
    }
}
