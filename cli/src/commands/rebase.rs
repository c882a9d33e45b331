//! `rebase`: put an image onto another backing file.

use std::ffi::{OsStr, OsString};

use formats::{CacheMode, OpenFlags};
use journal::Access;
use store::Progress;
use store::catalog::Spared;
use store::ops::rebase::{Content, Rebase, Transfer};

use crate::command::{
    Args, Command, Env, FILENAME, FORCE, FORCE_SHARE, FORMAT, Force, HELP, IMAGE_OPTS, Id, OBJECT, Opt,
    PROGRESS, QUIET, Value,
};
use crate::guard::Change;
use crate::image::{self, NameForm};
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "rebase",
    summary: "Put an image onto another backing file",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        PROGRESS,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Compress, Some('c'), &["compress"], Value::None, "compress what is written"),
        Opt::new(
            Id::Backing,
            Some('b'),
            &["backing"],
            Value::Required("BACKING_FILENAME"),
            "the new backing file; an empty name for none",
        ),
        Opt::new(
            Id::BackingFormat,
            Some('F'),
            &["backing-format"],
            Value::Required("BACKING_FMT"),
            "format of BACKING_FILENAME",
        ),
        Opt::new(
            Id::BackingCache,
            Some('T'),
            &["backing-cache"],
            Value::Required("CACHE"),
            "cache mode of the backing files (writeback)",
        ),
        Opt::new(
            Id::BackingUnsafe,
            Some('u'),
            &["backing-unsafe"],
            Value::None,
            "change the name only, whatever the backing file holds",
        ),
        FORCE,
    ],
    operands: &[FILENAME],
    run,
};

/// Pieces of work in flight.
const PARALLEL: usize = 8;

/// The command line as it was given.
#[derive(Debug, Default)]
struct Given {
    quiet: bool,
    progress: bool,
    form: NameForm,
    format: Option<String>,
    cache: Option<String>,
    backing_cache: Option<String>,
    force_share: bool,
    compress: bool,
    is_unsafe: bool,
    backing: Option<OsString>,
    backing_format: Option<String>,
    force: Force,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = read(env, args)?;
    let [operand] = args.operands() else { return Err(Failure::usage("Expecting one image file name")) };
    if given.backing.is_none() && !given.is_unsafe {
        return Err(Failure::usage("Must specify backing file (-b) or use unsafe mode (-u)"));
    }
    let meter = Meter::new(env.out, Wanted::from_flags(given.progress, given.quiet), 1);
    meter.start();
    let request = given.request(operand)?;
    if let (Content::Trusted, Some(path)) = (&request.content, request.image.file()) {
        // Nobody has seen whether the image goes on showing what it showed.
        env.protect(&path, Change::Write, given.force, Spared::default())?;
    }
    request.run(&env.context(), &meter)?;
    meter.set(1, 1);
    Ok(SUCCESS)
}

fn read(env: &Env<'_>, args: &Args) -> Result<Given, Failure> {
    let mut given = Given::default();
    for option in args.options() {
        let option = option?;
        let text = || Some(option.text().into_owned());
        match option.id {
            Id::Quiet => given.quiet = true,
            Id::Progress => given.progress = true,
            Id::Object => env.objects.define(option.value())?,
            Id::ImageOpts => given.form = NameForm::Options,
            Id::ForceShare => given.force_share = true,
            Id::Format => given.format = text(),
            Id::Cache => given.cache = text(),
            Id::Compress => given.compress = true,
            Id::Backing => given.backing = Some(option.value().to_owned()),
            Id::BackingFormat => given.backing_format = text(),
            Id::BackingCache => given.backing_cache = text(),
            Id::Force => given.force = Force::On,
            Id::BackingUnsafe => given.is_unsafe = true,
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    Ok(given)
}

impl Given {
    fn request(&self, operand: &OsStr) -> Result<Rebase, Failure> {
        let mode = |name: &Option<String>, what: &str| match name {
            None => Ok(CacheMode::WRITEBACK),
            Some(name) => image::cache_mode(name, || format!("Invalid {what} option: {name}")),
        };
        let cache = mode(&self.cache, "cache")?;
        let backing_cache = mode(&self.backing_cache, "source cache")?;
        Ok(Rebase {
            image: image::named(operand, self.format.as_deref(), self.form)?,
            flags: OpenFlags { access: Access::Write, cache, ..OpenFlags::READ },
            onto: self.backing.clone().filter(|name| !name.is_empty()),
            format: self.backing_format.clone(),
            content: match self.is_unsafe {
                true => Content::Trusted,
                false => Content::Kept(OpenFlags {
                    force_share: self.force_share,
                    cache: backing_cache,
                    ..OpenFlags::READ
                }),
            },
            transfer: if self.compress { Transfer::Compressed } else { Transfer::Plain },
            parallel: PARALLEL,
        })
    }
}
