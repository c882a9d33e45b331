//! `amend`: change format-specific options of an image.

use formats::amend::Force;
use formats::create::OptionList;
use formats::{CacheMode, Format, OpenFlags};
use journal::Access;
use store::Progress;
use store::ops::amend;

use crate::command::{
    Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET, Value,
};
use crate::image::{self, NameForm};
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "amend",
    summary: "Change format-specific options of an image",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        PROGRESS,
        OBJECT,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(
            Id::Options,
            Some('o'),
            &["options"],
            Value::Required("OPTIONS"),
            "options to change; '-o help' lists them",
        ),
        IMAGE_OPTS,
        Opt::new(Id::Force, None, &["force"], Value::None, "also do what may lose data"),
    ],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = Given::read(env, args)?;
    if !given.has_options {
        return Err(Failure::usage("Must specify options (-o)"));
    }
    let meter = Meter::new(env.out, Wanted::from_flags(given.progress, given.quiet), 1);
    let asks = given.options.asks_for_help();
    if let (true, Some(format)) = (asks, &given.format) {
        let known = Format::from_name(format);
        let known = known.ok_or_else(|| Failure::message(format!("Unknown file format '{format}'")))?;
        return print_options(env, known);
    }
    let [name] = args.operands() else {
        return Err(Failure::message("Expecting one image file name"));
    };
    let cache = match &given.cache {
        None => CacheMode::WRITEBACK,
        Some(mode) => image::cache_mode(mode, || format!("Invalid cache option: {mode}"))?,
    };
    let name = image::named(name, given.format.as_deref(), given.names)?;
    let image = name.open(&env.context(), OpenFlags { access: Access::Write, cache, ..OpenFlags::READ })?;
    if asks {
        return print_options(env, image.format());
    }
    let plan = amend::plan(&image, &given.options)?;
    meter.start();
    let result = plan.run(&env.context(), given.force, &meter);
    meter.set(1, 1);
    result?;
    Ok(SUCCESS)
}

/// Prints what can be changed of images of a format.
fn print_options(env: &Env<'_>, format: Format) -> Outcome {
    let table = amend::options(format)?;
    env.out.line(format!("Amend options for '{format}':"));
    for line in table.help() {
        env.out.line(line);
    }
    Ok(SUCCESS)
}

/// The options as they were given.
#[derive(Debug, Default)]
struct Given {
    quiet: bool,
    progress: bool,
    format: Option<String>,
    names: NameForm,
    cache: Option<String>,
    has_options: bool,
    force: Force,
    options: OptionList,
}

impl Given {
    fn read(env: &Env<'_>, args: &Args) -> Result<Self, Failure> {
        let mut given = Self::default();
        for option in args.options() {
            let option = option?;
            match option.id {
                Id::Quiet => given.quiet = true,
                Id::Progress => given.progress = true,
                Id::Format => given.format = Some(option.text().into_owned()),
                Id::ImageOpts => given.names = NameForm::Options,
                Id::Cache => given.cache = Some(option.text().into_owned()),
                Id::Options => {
                    given.options.add(option.value())?;
                    given.has_options = true;
                }
                Id::Force => given.force = Force::On,
                _ => env.objects.define(option.value())?,
            }
        }
        Ok(given)
    }
}
