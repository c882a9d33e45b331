//! `catalog list`: the images that are known.

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::Entry;

use super::{as_json, format_of, path_bytes, size_of};
use crate::command::{Args, Command, Env, HELP, OUTPUT};
use crate::image::Form;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog list",
    summary: "List the images that are known",
    syntax: "",
    options: &[HELP, OUTPUT],
    operands: &[],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let form = Form::only(args)?;
    if !args.operands().is_empty() {
        return Err(Failure::usage("Expecting no file names"));
    }
    let images = super::open(env)?.images()?;
    match form {
        Form::Json => {
            let list = images.iter().map(|entry| JsonValue::Object(as_json(entry))).collect();
            env.out.line(json::pretty(&JsonValue::Array(list)));
        }
        Form::Human if images.is_empty() => {}
        Form::Human => {
            env.out.line("Format       Virtual size  Image");
            images.iter().for_each(|entry| env.out.line(line(entry)));
        }
    }
    Ok(SUCCESS)
}

fn line(entry: &Entry) -> Vec<u8> {
    let start = format!("{:<10} {:>14}  ", format_of(entry), size_of(entry));
    let end: &[u8] = if entry.identity.is_some() { b"" } else { b" (not there)" };
    [start.as_bytes(), path_bytes(&entry.path), end].concat()
}
