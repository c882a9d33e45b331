//! `mv`: move an image, and let those that need it know.

use std::path::{Path, PathBuf};

use store::catalog::Spared;
use store::ops::mv::Move;

use super::catalog::path_bytes;
use crate::command::{Args, Command, Env, HELP, Id, QUIET};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "mv",
    summary: "Move an image, and change its name in every image that is known to need it",
    syntax: "OLD NEW",
    options: &[HELP, QUIET],
    operands: &[
        ("OLD", "the image"),
        ("NEW", "its new name, which must be free, or a directory; on the same filesystem"),
    ],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut quiet = false;
    for option in args.options() {
        quiet |= option?.id == Id::Quiet;
    }
    let [from, to] = args.operands() else {
        return Err(Failure::usage("Expecting two image file names"));
    };
    let (from, mut to) = (Path::new(from), PathBuf::from(to));
    if to.is_dir() {
        to.push(from.file_name().unwrap_or_default());
    }
    let dependents = env.known_dependents(from, Spared::default());
    let moved = Move { from, to: &to, dependents: &dependents }.run(&env.context())?;
    if !quiet {
        for path in &moved.rewritten {
            env.out.line([b"Changed the backing file of '", path_bytes(path), b"'"].concat());
        }
    }
    Ok(SUCCESS)
}
