//! `recover`: finish what an interrupted command left behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::json;
use formats::shown::shown;
use journal::{Finding, Outcome as Recovered, RealFs, Recovery};
use serde_json::{Map, Value as JsonValue};

use crate::command::{Args, Command, Env, HELP, Id, OUTPUT, Opt, Value};
use crate::image::Form;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "recover",
    summary: "Finish or undo what an interrupted command left behind",
    syntax: "[FILENAME...]",
    options: &[
        HELP,
        OUTPUT,
        Opt::new(
            Id::Explain,
            None,
            &["explain"],
            Value::None,
            "only tell what there is and what would be done",
        ),
        Opt::new(
            Id::Discard,
            None,
            &["discard"],
            Value::None,
            "drop the journal, and keep every image as it is now",
        ),
        Opt::new(
            Id::Scan,
            None,
            &["scan"],
            Value::Required("DIR"),
            "look for journals in this directory and below it (may be repeated)",
        ),
    ],
    operands: &[("FILENAME...", "images that an interrupted command was changing")],
    run,
};

/// What is done with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Finish,
    Explain,
    Discard,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let (mut way, mut form, mut directories) = (Way::Finish, Form::Human, Vec::new());
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Output => form = Form::from_name(&option.text())?,
            Id::Scan => directories.push(PathBuf::from(option.value())),
            Id::Explain | Id::Discard if way != Way::Finish => {
                return Err(Failure::usage("--explain and --discard are given once, and not together"));
            }
            Id::Explain => way = Way::Explain,
            Id::Discard => way = Way::Discard,
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    if args.operands().is_empty() && directories.is_empty() {
        return Err(Failure::usage("Expecting image file names or --scan"));
    }
    let recovery = Recovery::new(Arc::new(RealFs));
    let mut job = Job { env, recovery, way, form, results: Vec::new(), code: SUCCESS };
    for operand in args.operands() {
        let journal = job.recovery.journal_of(Path::new(operand))?;
        job.treat(operand, &journal);
    }
    for directory in &directories {
        for journal in store::journals_below(directory)? {
            job.treat(journal.as_os_str(), &journal);
        }
    }
    if form == Form::Json {
        env.out.line(json::pretty(&JsonValue::Array(job.results)));
    }
    Ok(job.code)
}

struct Job<'a> {
    env: &'a Env<'a>,
    recovery: Recovery,
    way: Way,
    form: Form,
    results: Vec<JsonValue>,
    code: u8,
}

impl Job<'_> {
    /// Does to one journal what was asked.
    fn treat(&mut self, name: &OsStr, journal: &Path) {
        let outcome = match self.way {
            Way::Explain => self.recovery.explain(journal).map(|finding| self.explain(name, finding)),
            Way::Finish => self.recovery.recover(journal).map(|outcome| self.tell(name, outcome)),
            Way::Discard => self.recovery.discard(journal).map(|outcome| self.tell(name, outcome)),
        };
        if let Err(error) = outcome {
            self.code = Failure::from(error).tell(self.env.program);
        }
    }

    fn tell(&mut self, name: &OsStr, outcome: Recovered) {
        let (word, sentence) = match (self.way, outcome) {
            (_, Recovered::Nothing) => ("nothing", "nothing to recover"),
            (_, Recovered::Busy) => ("busy", "a running process is changing it"),
            (Way::Discard, _) => ("discarded", "the journal was dropped; the images are as they were found"),
            (_, Recovered::Completed) => ("completed", "the interrupted change is complete"),
            (_, Recovered::RolledBack) => ("rolled-back", "the interrupted change was undone"),
        };
        self.add(name, sentence, &[("outcome", word.into())]);
    }

    fn explain(&mut self, name: &OsStr, finding: Option<Finding>) {
        let Some(finding) = finding else { return self.tell(name, Recovered::Nothing) };
        let files = finding.files.iter().map(|(path, state)| {
            let path = shown(path.as_os_str());
            JsonValue::Object(Map::from_iter([
                ("filename".to_owned(), path.into()),
                ("state".to_owned(), state.as_str().into()),
            ]))
        });
        let fields = [
            ("journal", shown(finding.journal.as_os_str()).into()),
            ("decision", finding.decision.as_str().into()),
            ("files", JsonValue::Array(files.collect())),
        ];
        self.add(name, &finding.decision, &fields);
        if self.form == Form::Human {
            for (path, state) in &finding.files {
                self.env.out.line(format!("    {}: {state}", shown(path.as_os_str())));
            }
        }
    }

    fn add(&mut self, name: &OsStr, sentence: &str, fields: &[(&str, JsonValue)]) {
        if self.form == Form::Human {
            return self.env.out.line(format!("{}: {sentence}", shown(name)));
        }
        let mut object = Map::new();
        object.insert("filename".to_owned(), shown(name).into());
        object.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.results.push(JsonValue::Object(object));
    }
}
