//! `catalog verify`: whether images still are what they were.

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::{self, Catalog, Entry, State};

use super::{path_bytes, path_json};
use crate::command::{Args, Command, Env, HELP, Id, OUTPUT, Opt, PROGRESS, QUIET, Value};
use crate::image::Form;
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog verify",
    summary: "Tell whether images still are what they were: the same files with the same headers",
    syntax: "[FILENAME...]",
    options: &[
        HELP,
        QUIET,
        OUTPUT,
        PROGRESS,
        Opt::new(
            Id::Digest,
            Some('d'),
            &["digest"],
            Value::None,
            "compare the content too; what has no digest yet gets one",
        ),
    ],
    operands: &[("FILENAME...", "the images; all that are known if none is named")],
    run,
};

/// Exit code when an image is not what it was.
const DIFFERENT: u8 = 1;

/// Percent between two lines of progress.
const PROGRESS_STEP: u32 = 1;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Header,
    Content,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let (mut form, mut depth) = (Form::Human, Depth::Header);
    let (mut quiet, mut progress) = (false, false);
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Quiet => quiet = true,
            Id::Progress => progress = true,
            Id::Digest => depth = Depth::Content,
            _ => form = Form::from_name(&option.text())?,
        }
    }
    let mut catalog = super::open(env)?;
    let images = super::chosen(env, &catalog, args)?;
    let wanted = Wanted::from_flags(progress, quiet);
    let mut code = SUCCESS;
    let mut list = Vec::new();
    for entry in &images {
        let state = verify(env, &mut catalog, entry, depth, wanted)?;
        if !matches!(state, State::Same | State::Unknown) {
            code = DIFFERENT;
        }
        match form {
            Form::Json => list.push(as_json(entry, &state)),
            Form::Human if quiet => {}
            Form::Human => env.out.line(line(entry, &state)),
        }
    }
    if form == Form::Json {
        env.out.line(json::pretty(&JsonValue::Array(list)));
    }
    Ok(code)
}

fn verify(
    env: &Env<'_>,
    catalog: &mut Catalog,
    entry: &Entry,
    depth: Depth,
    wanted: Wanted,
) -> Result<State, Failure> {
    let state = catalog::state(env.fs, entry);
    if depth == Depth::Header || state != State::Same {
        return Ok(state);
    }
    let meter = Meter::new(env.out, wanted, PROGRESS_STEP);
    Ok(catalog.compare_digest(&env.context(), entry, &meter)?)
}

fn line(entry: &Entry, state: &State) -> Vec<u8> {
    let start = format!("{:<15} ", state.name());
    let mut line = [start.as_bytes(), path_bytes(&entry.path)].concat();
    if let State::Unreadable(reason) = state {
        line.extend(format!(" ({reason})").bytes());
    }
    line
}

fn as_json(entry: &Entry, state: &State) -> JsonValue {
    let error = match state {
        State::Unreadable(reason) => Some(reason),
        _ => None,
    };
    let mut value = serde_json::json!({ "filename": path_json(&entry.path), "state": state.name() });
    if let (Some(error), Some(map)) = (error, value.as_object_mut()) {
        map.insert("error".to_owned(), error.as_str().into());
    }
    value
}
