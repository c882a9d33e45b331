//! `rm`: remove images that no other needs.

use std::path::{Path, PathBuf};

use store::catalog::Spared;
use store::ops::rm::rm;

use crate::command::{Args, Command, Env, FORCE, Force, HELP, Id};
use crate::guard::Change;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    summary: "Remove images that no other image needs",
    syntax: "FILENAME...",
    options: &[HELP, FORCE],
    operands: &[("FILENAME...", "the images; all of them are removed or none")],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut force = Force::Off;
    for option in args.options() {
        if option?.id == Id::Force {
            force = Force::On;
        }
    }
    if args.operands().is_empty() {
        return Err(Failure::usage("Expecting image file names"));
    }
    let images: Vec<PathBuf> = args.operands().iter().map(PathBuf::from).collect();
    for image in &images {
        // Images that go together may need each other.
        env.protect(image, Change::Remove, force, Spared { alone: &images, ..Spared::default() })?;
    }
    for image in &images {
        rm(&env.context(), Path::new(image))?;
    }
    Ok(SUCCESS)
}
