//! `inspect`: one verdict on an image from somebody else.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use formats::inspect::{Code, Concern, Inspection, Policy, Question, inspect};
use formats::shown::{shown, shown_bytes};
use formats::{Format, OpenFlags, json};
use serde_json::{Value as JsonValue, json};

use crate::command::{Args, Command, Env, FORCE_SHARE, FORMAT, HELP, Id, OUTPUT, Opt, Value};
use crate::image::Form;
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size::{self, MAX_SIZE};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    summary: "Tell whether an image is what it should be, without opening anything that it names",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        FORCE_SHARE,
        Opt::new(
            Id::MaxSize,
            None,
            &["max-size"],
            Value::Required("SIZE"),
            "refuse a disk of more bytes than that",
        ),
        Opt::new(
            Id::Allow,
            None,
            &["allow"],
            Value::Required("CODE[,CODE...]"),
            "accept an image although these concerns are found",
        ),
    ],
    operands: &[("FILENAME", "the image: the plain name of a file")],
    run,
};

/// The exit code for an image that is refused.
const REFUSED: u8 = 2;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let policy = if args.is_untrusted() { Policy::Stranger } else { Policy::Own };
    let mut question = Question { format: None, policy, max_size: None, flags: OpenFlags::READ };
    let mut form = Form::Human;
    let mut allowed = Vec::new();
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Format => question.format = Some(format(&option.text())?),
            Id::Output => form = Form::from_name(&option.text())?,
            Id::ForceShare => question.flags.force_share = true,
            Id::MaxSize => {
                question.max_size = Some(size::size(option.value(), "maximum size", 0..=MAX_SIZE)?)
            }
            _ => allowed.extend(option.text().split(',').map(code).collect::<Result<Vec<_>, _>>()?),
        }
    }
    let [name] = args.operands() else { return Err(Failure::usage("Expecting one image file name")) };
    let found = inspect(&env.context(), name, &question)?;
    let against: Vec<_> = found.concerns.iter().filter(|concern| !allowed.contains(&concern.code)).collect();
    match form {
        Form::Human => env.out.print(human(name, &found, &against)),
        Form::Json => env.out.line(json::pretty(&as_json(name, &found, &against))),
    }
    Ok(if against.is_empty() { SUCCESS } else { REFUSED })
}

fn format(name: &str) -> Result<Format, Failure> {
    Format::from_name(name).ok_or_else(|| Failure::message(format!("Unknown driver '{name}'")))
}

fn code(name: &str) -> Result<Code, Failure> {
    Code::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        Failure::message(format!("There is no concern '{name}', only: {}", known.join(", ")))
    })
}

fn verdict(against: &[&Concern]) -> &'static str {
    if against.is_empty() { "accepted" } else { "refused" }
}

/// Everything that it looks like.
fn looks(found: &Inspection) -> Vec<&'static str> {
    let formats = found.formats.iter().map(|format| format.name());
    formats.chain(found.contents.iter().map(|content| content.name())).collect()
}

fn human(name: &OsStr, found: &Inspection, against: &[&Concern]) -> String {
    let mut text = format!("image: {}\nfile format: {}\n", shown(name), found.format);
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key}: {value}");
    };
    let looks = looks(found);
    if !looks.is_empty() {
        line("looks like", &looks.join(", "));
    }
    let size = |bytes: u64| format!("{} ({bytes} bytes)", size::human(bytes));
    if let Some(bytes) = found.virtual_size {
        line("virtual size", &size(bytes));
    }
    line("file size", &size(found.file_size));
    if found.encrypted {
        line("encrypted", "yes");
    }
    for reference in &found.references {
        line(reference.role.name(), &shown_bytes(&reference.name));
    }
    line("verdict", verdict(against));
    for concern in against {
        line(&format!("    {}", concern.code), &concern.detail);
    }
    text
}

fn as_json(name: &OsStr, found: &Inspection, against: &[&Concern]) -> JsonValue {
    let references = found
        .references
        .iter()
        .map(|reference| json!({ "role": reference.role.name(), "name": json::text(&reference.name) }));
    let concerns =
        against.iter().map(|concern| json!({ "code": concern.code.name(), "detail": concern.detail }));
    let mut value = json!({
        "filename": json::text(name.as_bytes()),
        "format": found.format.name(),
        "looks-like": looks(found),
        "file-size": found.file_size,
        "encrypted": found.encrypted,
        "references": references.collect::<Vec<_>>(),
        "verdict": verdict(against),
        "concerns": concerns.collect::<Vec<_>>(),
    });
    if let (Some(bytes), Some(object)) = (found.virtual_size, value.as_object_mut()) {
        object.insert("virtual-size".to_owned(), json!(bytes));
    }
    value
}
