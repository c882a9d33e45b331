//! `resize`: change the size of the virtual disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use formats::create::{CreateOptions, OptionTable, Preallocation};
use formats::{Format, OpenFlags};
use journal::Access;
use store::catalog::Spared;
use store::ops::resize;

use crate::command::{
    Args, Command, Env, FILENAME, FORCE, FORMAT, Force, HELP, IMAGE_OPTS, Id, OBJECT, Opt, QUIET, Value,
};
use crate::guard::Change;
use crate::image::Subject;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "resize",
    summary: "Change the size of the virtual disk",
    syntax: "FILENAME [+|-]SIZE",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Preallocation,
            None,
            &["preallocation"],
            Value::Required("PREALLOC"),
            "how to reserve space for the new part",
        ),
        Opt::new(
            Id::Shrink,
            None,
            &["shrink"],
            Value::None,
            "allow a smaller size, which loses what lies beyond",
        ),
        FORCE,
    ],
    operands: &[
        FILENAME,
        ("[+|-]SIZE", "new size, or by how much it changes, with an optional suffix k, M, G, T, P or E"),
    ],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut subject = Subject::default();
    let (mut quiet, mut preallocation, mut consent) = (false, Preallocation::Off, Consent::Missing);
    let mut force = Force::Off;
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Quiet => quiet = true,
            Id::Shrink => consent = Consent::Given,
            Id::Force => force = Force::On,
            Id::Preallocation => {
                let mode = option.text();
                preallocation = Preallocation::from_name(mode.as_bytes())
                    .ok_or_else(|| Failure::message(format!("Invalid preallocation mode '{mode}'")))?;
            }
            _ => subject.take(env, &option)?,
        }
    }
    let (name, size) = match args.operands() {
        [name, size] => (name, size),
        [_, _, ..] => return Err(Failure::usage("Extra argument(s) in command line")),
        _ => return Err(Failure::usage("Expecting image file name and size")),
    };
    let change = parse_change(size)?;
    let name = subject.name(name)?;
    let image = name.open(&env.context(), OpenFlags { access: Access::Write, ..subject.flags() })?;
    let plan = change.plan(&image, preallocation)?;
    if plan.shrinks() && consent == Consent::Missing {
        env.program.complain(b"Use the --shrink option to perform a shrink operation.");
        env.program.complain(
            b"warning: Shrinking an image will delete all data beyond the shrunken image's end. \
              Before performing such an operation, make sure there is no important data there.",
        );
        return Err(Failure::silent(1));
    }
    if let Some(path) = name.file().filter(|_| plan.shrinks()) {
        env.protect(&path, Change::Write, force, Spared::default())?;
    }
    plan.run(&image)?;
    if !quiet {
        env.out.line("Image resized.");
    }
    Ok(SUCCESS)
}

/// Whether data may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    Missing,
    Given,
}

/// A size, or a difference to the old one behind a sign.
fn parse_change(text: &OsStr) -> Result<resize::Change, Failure> {
    let (change, digits): (fn(u64) -> resize::Change, _) = match text.as_bytes() {
        [b'+', digits @ ..] => (resize::Change::By, digits),
        [b'-', digits @ ..] => (resize::Change::Less, digits),
        digits => (resize::Change::To, digits),
    };
    let mut options = CreateOptions::new(OptionTable::of_format(Format::Raw));
    options.set("size", digits)?;
    Ok(change(options.size().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_a_difference() {
        let parse = |text: &str| parse_change(OsStr::new(text)).map_err(|failure| failure.text());
        assert_eq!(parse("1k").unwrap(), resize::Change::To(1024));
        assert_eq!(parse("+1.5k").unwrap(), resize::Change::By(1536));
        assert_eq!(parse("-0x10").unwrap(), resize::Change::Less(16));
        assert_eq!(parse("++1").unwrap(), resize::Change::By(1));
        assert_eq!(parse("+-1").unwrap_err(), "Value '-1' is out of range for parameter 'size'");
        assert_eq!(parse("-").unwrap_err(), "Parameter 'size' expects a non-negative number below 2^64");
    }
}
