//! `commit`: merge an image into its backing file.

use std::ffi::{OsStr, OsString};

use formats::{CacheMode, OpenFlags};
use journal::Access;
use store::Progress;
use store::catalog::Spared;
use store::ops::commit::{Afterwards, Commit, Merge};

use crate::command::{
    Args, Command, Env, FILENAME, FORCE, FORMAT, Force, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET,
    Value,
};
use crate::guard::Change;
use crate::image::{self, NameForm};
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size;

pub(crate) const COMMAND: Command = Command {
    name: "commit",
    summary: "Merge an image into its backing file",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Drop, Some('d'), &["drop"], Value::None, "leave FILENAME as it is afterwards"),
        Opt::new(
            Id::Base,
            Some('b'),
            &["base"],
            Value::Required("BASE_IMG"),
            "the image in the chain to merge into",
        ),
        PROGRESS,
        FORCE,
        Opt::new(Id::Rate, Some('r'), &["rate"], Value::Required("RATE"), "bytes per second at most"),
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
    base: Option<OsString>,
    drop: bool,
    rate: Option<u64>,
    force: Force,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = read(env, args)?;
    let [operand] = args.operands() else { return Err(Failure::usage("Expecting one image file name")) };
    let context = env.context();
    let opened = given.request(operand)?.open(&context)?;
    let meter = Meter::new(env.out, Wanted::from_flags(given.progress, given.quiet), 1);
    meter.start();
    let merge = opened.find_base(&context)?;
    protect(env, &merge, given.force)?;
    merge.run(&context, &meter)?;
    meter.set(1, 1);
    drop(meter);
    if !given.quiet {
        env.out.print("Image committed.\n");
    }
    Ok(SUCCESS)
}

/// Other images may need what the base holds now. What stands on the image on top sees no change;
/// what lies between it and the base is known to.
fn protect(env: &Env<'_>, merge: &Merge, force: Force) -> Result<(), Failure> {
    match &merge.files()[..] {
        [top, between @ .., base] => {
            let spared = Spared { with_overlays: std::slice::from_ref(top), alone: between };
            env.protect(base, Change::Write, force, spared)
        }
        _ => Ok(()),
    }
}

fn read(env: &Env<'_>, args: &Args) -> Result<Given, Failure> {
    let mut given = Given::default();
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Quiet => given.quiet = true,
            Id::Progress => given.progress = true,
            Id::Object => env.objects.define(option.value())?,
            Id::ImageOpts => given.form = NameForm::Options,
            Id::Format => given.format = Some(option.text().into_owned()),
            Id::Cache => given.cache = Some(option.text().into_owned()),
            Id::Base => given.base = Some(option.value().to_owned()),
            Id::Drop => given.drop = true,
            Id::Force => given.force = Force::On,
            Id::Rate => given.rate = Some(size::size(option.value(), "rate limit", 0..=size::MAX_SIZE)?),
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    Ok(given)
}

impl Given {
    fn request(&self, operand: &OsStr) -> Result<Commit, Failure> {
        let cache = match &self.cache {
            None => CacheMode::WRITEBACK,
            Some(name) => image::cache_mode(name, || format!("Invalid cache option: {name}"))?,
        };
        Ok(Commit {
            image: image::named(operand, self.format.as_deref(), self.form)?,
            flags: OpenFlags { access: Access::Write, cache, ..OpenFlags::READ },
            // With a base further behind, what is in between may still need the image as it is.
            afterwards: if self.drop || self.base.is_some() { Afterwards::Kept } else { Afterwards::Emptied },
            base: self.base.clone(),
            parallel: PARALLEL,
            rate: self.rate,
        })
    }
}
