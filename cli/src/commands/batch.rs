//! `batch`: many commands, one transaction.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use formats::json;
use formats::shown::{shown, shown_bytes};
use journal::{Change, ChangeKind};
use serde_json::{Map, Value as JsonValue};

use crate::command::{Args, Command, Env, HELP, Id, OUTPUT, Opt, Value};
use crate::image::Form;
use crate::object::Objects;
use crate::output::Output;
use crate::report::{Failure, Outcome, SUCCESS};
use crate::top;

pub(crate) const COMMAND: Command = Command {
    name: "batch",
    summary: "Carry out many commands as one: all of them, or none",
    syntax: "FILENAME|-",
    options: &[
        HELP,
        OUTPUT,
        Opt::new(
            Id::DryRun,
            None,
            &["dry-run"],
            Value::None,
            "undo everything, and tell which images would change and how much space it takes",
        ),
    ],
    operands: &[(
        "FILENAME|-",
        "a file with one command per line, quoted as for a shell, comments after '#'; '-' is standard input",
    )],
    run,
};

/// The longest batch that is read.
const MAX_SIZE: u64 = 64 << 20;

/// Commands that make no sense as one step of many.
const NOT_IN_BATCHES: [&str; 3] = ["batch", "bench", "recover"];

/// One command of a batch.
struct Line {
    number: usize,
    text: Vec<u8>,
    words: Vec<OsString>,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let (mut form, mut is_dry) = (Form::Human, false);
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Output => form = Form::from_name(&option.text())?,
            Id::DryRun => is_dry = true,
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    let [name] = args.operands() else { return Err(Failure::usage("Expecting one batch file")) };
    let lines = split(&read(name)?)?;
    raise_file_limit();
    let mut results = Vec::new();
    for line in &lines {
        match (form, carry_out(env, line, form)?) {
            (Form::Json, output) => results.push(result_of(line, &output)),
            (Form::Human, _) => {}
        }
    }
    match (is_dry, form) {
        (false, Form::Human) => Ok(SUCCESS),
        (false, Form::Json) => {
            env.out.line(json::pretty(&JsonValue::Array(results)));
            Ok(SUCCESS)
        }
        // An answer is no success, so that the transaction is undone.
        (true, _) => Err(Failure::answer(plan(&env.fs.changes()?, form))),
    }
}

#[expect(clippy::disallowed_methods, reason = "a batch is no image, and may come through a pipe")]
fn read(name: &OsStr) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let source: io::Result<Box<dyn Read>> = if name == "-" {
        Ok(Box::new(io::stdin().lock()))
    } else {
        std::fs::File::open(name).map(|file| Box::new(file) as _)
    };
    let read = source.and_then(|source| source.take(MAX_SIZE + 1).read_to_end(&mut text));
    let failed = |reason: String| Failure::message(format!("Could not read '{}': {reason}", shown(name)));
    read.map_err(|error| failed(journal::reason(&error)))?;
    if text.len() as u64 > MAX_SIZE {
        return Err(failed(format!("A batch has at most {MAX_SIZE} bytes")));
    }
    Ok(text)
}

/// The commands, their quotes taken off.
fn split(text: &[u8]) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (index, text) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let Some(words) = shlex::bytes::split(text) else {
            return Err(Failure::message(format!("Line {number} of the batch has an open quote")));
        };
        let mut words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
        if words.first().is_some_and(|word| word == "qemu-img" || word == "tximg") {
            words.remove(0);
        }
        if !words.is_empty() {
            lines.push(Line { number, text: text.trim_ascii().to_vec(), words });
        }
    }
    Ok(lines)
}

/// Runs one command in the batch's transaction; returns what it printed if that is wanted.
fn carry_out(env: &Env<'_>, line: &Line, form: Form) -> Result<Vec<u8>, Failure> {
    let kept = Output::kept();
    let out = if form == Form::Json { &kept } else { env.out };
    let code = match top::find_command(env.program, &line.words) {
        Ok((command, _)) if NOT_IN_BATCHES.contains(&command.name) => {
            let told = format!("'{}' cannot be a part of a batch", command.name);
            Failure::message(told).tell(env.program)
        }
        Ok((command, words)) => {
            let program = env.program.command(command.name);
            let inner = Env { program: &program, out, objects: &Objects::default(), ..*env };
            match top::run_in(&inner, command, words) {
                Ok(code) => code,
                Err(failure) => top::tell(&program, command, out, &failure),
            }
        }
        Err(failure) => failure.tell(env.program),
    };
    if code == SUCCESS {
        return Ok(kept.take());
    }
    out.forget();
    let told = format!(
        "Line {} of the batch ended with status {code}, so nothing was changed: {}",
        line.number,
        shown_bytes(&line.text)
    );
    Err(Failure::message(told))
}

fn result_of(line: &Line, output: &[u8]) -> JsonValue {
    JsonValue::Object(Map::from_iter([
        ("line".to_owned(), line.number.into()),
        ("command".to_owned(), shown_bytes(&line.text).into()),
        ("exit-code".to_owned(), 0.into()),
        ("output".to_owned(), shown_bytes(output).into()),
    ]))
}

/// What a batch would do.
fn plan(changes: &[Change], form: Form) -> String {
    let space: u64 = changes.iter().map(|change| change.space).sum();
    if form == Form::Json {
        let images = changes.iter().map(|change| {
            let mut object = Map::new();
            object.insert("filename".to_owned(), shown(change.path.as_os_str()).into());
            object.insert("change".to_owned(), word_for(&change.kind).into());
            if let ChangeKind::Moved(to) = &change.kind {
                object.insert("to".to_owned(), shown(to.as_os_str()).into());
            }
            object.insert("lock".to_owned(), "write".into());
            object.insert("space".to_owned(), change.space.into());
            JsonValue::Object(object)
        });
        let images = JsonValue::Array(images.collect());
        let whole = [("images".to_owned(), images), ("space".to_owned(), space.into())];
        return json::pretty(&JsonValue::Object(Map::from_iter(whole))) + "\n";
    }
    let mut text = String::new();
    for change in changes {
        let name = shown(change.path.as_os_str());
        let to = match &change.kind {
            ChangeKind::Moved(to) => format!(" to {}", shown(to.as_os_str())),
            _ => String::new(),
        };
        text += &format!("{}{to}: {name} (write lock, {} bytes)\n", word_for(&change.kind), change.space);
    }
    text + &format!("{} images, {space} bytes\n", changes.len())
}

fn word_for(kind: &ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Modified => "modified",
        ChangeKind::Made => "made",
        ChangeKind::Moved(_) => "moved",
        ChangeKind::Removed => "removed",
    }
}

/// Every image of a batch stays open for its locks.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "The limit of open files stays.");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        let text = b"# first\n\ncreate -f raw 'a b' 1M # small\nqemu-img resize \"c\\\"d\" +1M\n";
        let lines = split(text).unwrap();
        let words: Vec<Vec<&str>> =
            lines.iter().map(|line| line.words.iter().map(|word| word.to_str().unwrap()).collect()).collect();
        assert_eq!(words, [vec!["create", "-f", "raw", "a b", "1M"], vec!["resize", "c\"d", "+1M"]]);
        assert_eq!(lines[1].number, 4);
        assert!(split(b"create 'a").is_err());
    }

    #[test]
    fn names_need_not_be_text() {
        let lines = split(b"rm \xff\xfe").unwrap();
        assert_eq!(lines[0].words[1].as_bytes(), b"\xff\xfe");
    }
}
