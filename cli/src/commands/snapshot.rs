//! `snapshot`: list or change the snapshots inside an image.

use formats::{OpenFlags, SnapshotInfo, json};
use journal::Access;
use store::catalog::Spared;
use store::ops::snapshot;

use crate::command::{
    Args, Command, Env, FILENAME, FORCE, FORCE_SHARE, FORMAT, Force, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT,
    Opt, QUIET, Value,
};
use crate::guard::Change;
use crate::image::{Form, Subject};
use crate::output::snapshots;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "snapshot",
    summary: "List or change the snapshots inside an image",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        FORMAT,
        IMAGE_OPTS,
        FORCE_SHARE,
        Opt::new(Id::List, Some('l'), &["list"], Value::None, "list the snapshots (the default)"),
        Opt::new(
            Id::Apply,
            Some('a'),
            &["apply"],
            Value::Required("SNAPSHOT"),
            "make the disk what it was then",
        ),
        Opt::new(Id::Create, Some('c'), &["create"], Value::Required("SNAPSHOT"), "take a snapshot"),
        Opt::new(Id::Delete, Some('d'), &["delete"], Value::Required("SNAPSHOT"), "delete a snapshot"),
        Opt::new(Id::Output, None, &["output"], Value::Required("human|json"), OUTPUT.help)
            .extra(&["output"]),
        FORCE,
    ],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut subject = Subject::default();
    let mut action = None;
    let mut force = Force::Off;
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::List | Id::Apply | Id::Create | Id::Delete if action.is_some() => {
                return Err(Failure::usage("Cannot mix '-l', '-a', '-c', '-d'"));
            }
            Id::List | Id::Apply | Id::Create | Id::Delete => {
                action = Some((option.id, option.text().into_owned()));
            }
            Id::Force => force = Force::On,
            Id::Quiet => {}
            _ => subject.take(env, &option)?,
        }
    }
    let name = subject.name(subject.operand(args)?)?;
    let (action, snapshot) = action.unwrap_or((Id::List, String::new()));
    if let (Id::Apply, Some(path)) = (action, name.file()) {
        env.protect(&path, Change::Write, force, Spared::default())?;
    }
    let access = if action == Id::List { Access::Read } else { Access::Write };
    let image = name.open(&env.context(), OpenFlags { access, ..subject.flags() })?;
    match action {
        Id::Apply => snapshot::apply(&image, &snapshot)?,
        Id::Create => snapshot::create(&image, &snapshot)?,
        Id::Delete => snapshot::delete(&image, &snapshot)?,
        _ => show(env, snapshot::list(&image), subject.form),
    }
    Ok(SUCCESS)
}

fn show(env: &Env<'_>, list: &[SnapshotInfo], form: Form) {
    match form {
        Form::Human if list.is_empty() => {}
        Form::Human => env.out.print(snapshots::table(list, 0)),
        Form::Json => env.out.line(json::pretty(&snapshots::json(list))),
    }
}
