//! `catalog dependents`: who needs an image.

use std::path::Path;

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::{self, Dependent, Spared};

use super::{path_bytes, path_json};
use crate::command::{Args, Command, Env, FILENAME, HELP, OUTPUT};
use crate::image::Form;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog dependents",
    summary: "List the images that need others, directly or through more",
    syntax: "FILENAME...",
    options: &[HELP, OUTPUT],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let form = Form::only(args)?;
    if args.operands().is_empty() {
        return Err(Failure::usage("Expecting image file names"));
    }
    let catalog = super::open(env)?;
    let mut all: Vec<Dependent> = Vec::new();
    for name in args.operands() {
        let found = catalog::dependents(&catalog, &env.context(), Path::new(name), Spared::default())?;
        all.extend(found);
    }
    all.sort_by(|one, two| one.path.cmp(&two.path));
    all.dedup_by(|one, two| one.path == two.path);
    match form {
        Form::Human => all.iter().for_each(|dependent| env.out.line(path_bytes(&dependent.path))),
        Form::Json => {
            let list = all.iter().map(as_json).collect();
            env.out.line(json::pretty(&JsonValue::Array(list)));
        }
    }
    Ok(SUCCESS)
}

fn as_json(dependent: &Dependent) -> JsonValue {
    serde_json::json!({
        "filename": path_json(&dependent.path),
        "format": dependent.format,
        "role": dependent.role.name(),
        "needs": path_json(&dependent.base),
        "name": path_json(&dependent.name),
    })
}
