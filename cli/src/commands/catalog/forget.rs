//! `catalog forget`: take images out of the catalog.

use crate::command::{Args, Command, Env, HELP};
use crate::report::{Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog forget",
    summary: "Take images out of the catalog; their files stay",
    syntax: "FILENAME...",
    options: &[HELP],
    operands: &[("FILENAME...", "the images, which need not exist any more")],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    for option in args.options() {
        option?;
    }
    let mut catalog = super::open(env)?;
    for entry in super::named(env, &catalog, args)? {
        catalog.forget(entry.id)?;
    }
    Ok(SUCCESS)
}
