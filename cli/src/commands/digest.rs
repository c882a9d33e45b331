//! `digest`: a hash of what a guest sees.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use formats::{Image, json};
use serde_json::Value as JsonValue;
use store::SnapshotSelector;
use store::ops::digest::{Hash, digest};

use crate::command::{
    Args, Command, Env, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, PROGRESS, Value,
};
use crate::image::{Form, Subject};
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::selector;

pub(crate) const COMMAND: Command = Command {
    name: "digest",
    summary: "Hash what a guest sees of images: equal for equal content in any format",
    syntax: "FILENAME...",
    options: &[
        HELP,
        FORMAT,
        IMAGE_OPTS,
        FORCE_SHARE,
        OBJECT,
        OUTPUT,
        PROGRESS,
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &["snapshot"],
            Value::Required("SNAPSHOT"),
            "hash the content of this snapshot",
        ),
    ],
    operands: &[("FILENAME...", "the images: names, or block options with --image-opts")],
    run,
};

/// Percent between two lines of progress.
const PROGRESS_STEP: u32 = 1;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut job = Job { env, subject: Subject::default(), snapshot: None, wanted: Wanted::OnSignal };
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Snapshot => job.snapshot = Some(selector::snapshot(env, &option)?),
            Id::Progress => job.wanted = Wanted::Always,
            _ => job.subject.take(env, &option)?,
        }
    }
    if args.operands().is_empty() {
        return Err(Failure::usage("Expecting image file names"));
    }
    let mut code = SUCCESS;
    let mut list = Vec::new();
    for operand in args.operands() {
        match job.digest(operand) {
            Ok((size, hash)) => list.push(job.tell(operand, size, &hash)),
            Err(failure) => code = failure.tell(env.program),
        }
    }
    if job.subject.form == Form::Json {
        env.out.line(json::pretty(&JsonValue::Array(list.into_iter().flatten().collect())));
    }
    Ok(code)
}

struct Job<'a> {
    env: &'a Env<'a>,
    subject: Subject,
    snapshot: Option<SnapshotSelector>,
    wanted: Wanted,
}

impl Job<'_> {
    fn digest(&self, operand: &OsStr) -> Result<(u64, Hash), Failure> {
        let image = self.subject.name(operand)?.open(&self.env.context(), self.subject.flags())?;
        let image: Image = match &self.snapshot {
            Some(selector) => selector.view(&image)?,
            None => image,
        };
        let meter = Meter::new(self.env.out, self.wanted, PROGRESS_STEP);
        Ok((image.virtual_size(), digest(&image, &meter)?))
    }

    /// For people at once, a line as the checksum tools have it; for programs an object.
    fn tell(&self, operand: &OsStr, size: u64, hash: &Hash) -> Option<JsonValue> {
        let hash = hash.to_hex();
        match self.subject.form {
            Form::Human => {
                self.env.out.line([hash.as_bytes(), b"  ", operand.as_bytes()].concat());
                None
            }
            Form::Json => Some(serde_json::json!({
                "filename": json::text(operand.as_bytes()),
                "virtual-size": size,
                "digest": hash.as_str(),
            })),
        }
    }
}
