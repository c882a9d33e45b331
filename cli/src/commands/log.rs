//! `log`: what was done to images, when, and how it ended.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::{LogEntry, TouchedImage};

use super::catalog::{self, path_bytes, path_json};
use crate::command::{Args, Command, Env, HELP, Id, OUTPUT, Opt, Value};
use crate::image::Form;
use crate::output::{time, words};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size;

pub(crate) const COMMAND: Command = Command {
    name: "log",
    summary: "Tell what was done to images, the newest first",
    syntax: "[FILENAME]",
    options: &[
        HELP,
        OUTPUT,
        Opt::new(Id::Count, Some('n'), &["count"], Value::Required("COUNT"), "tell no more than that many"),
    ],
    operands: &[("FILENAME", "the image, by its name now or then; all if none is named")],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let (mut form, mut count) = (Form::Human, u64::MAX);
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Count => count = size::count(option.value(), "count", 0..=size::MAX_SIZE)?,
            _ => form = Form::from_name(&option.text())?,
        }
    }
    let image = match args.operands() {
        [] => None,
        [name] => Some(Path::new(name)),
        _ => return Err(Failure::usage("Expecting one image file name")),
    };
    let mut entries = catalog::open(env)?.log(env.fs, image)?;
    entries.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    match form {
        Form::Human => env.out.print(entries.iter().map(human).collect::<Vec<_>>().join(&b'\n')),
        Form::Json => {
            let list = entries.iter().map(as_json).collect();
            env.out.line(json::pretty(&JsonValue::Array(list)));
        }
    }
    Ok(SUCCESS)
}

fn human(entry: &LogEntry) -> Vec<u8> {
    let took = entry.ended.saturating_sub(entry.started).max(0) as f64 / 1e9;
    let started = time::from_nanoseconds(entry.started);
    let code = if entry.code == 0 { String::new() } else { format!(", exit code {}", entry.code) };
    let mut text = format!("{started}  {} in {took:.3} s{code}\n", entry.outcome).into_bytes();
    let mut line = |key: &str, value: &[u8]| {
        text.extend([b"    ", key.as_bytes(), b": ", value, b"\n"].concat());
    };
    line("command", &words::quoted(&entry.command));
    line("directory", entry.directory.as_bytes());
    if !entry.message.is_empty() {
        line("message", &formats::shown::printed(entry.message.as_bytes()));
    }
    for TouchedImage { path, now } in &entry.images {
        let mut value = path_bytes(path).to_vec();
        if let Some(now) = now {
            value.extend([b" (now ", path_bytes(now), b")"].concat());
        }
        line("image", &value);
    }
    text
}

fn as_json(entry: &LogEntry) -> JsonValue {
    const SECOND: i64 = 1_000_000_000;
    let images: Vec<JsonValue> = entry
        .images
        .iter()
        .map(|image| match &image.now {
            None => serde_json::json!({ "filename": path_json(&image.path) }),
            Some(now) => serde_json::json!({ "filename": path_json(&image.path), "now": path_json(now) }),
        })
        .collect();
    serde_json::json!({
        "started-sec": entry.started / SECOND,
        "started-nsec": entry.started % SECOND,
        "duration-nsec": entry.ended.saturating_sub(entry.started),
        "directory": path_json(&entry.directory),
        "command": entry.command.iter().map(path_json).collect::<Vec<_>>(),
        "outcome": entry.outcome,
        "exit-code": entry.code,
        "message": entry.message,
        "images": images,
    })
}
