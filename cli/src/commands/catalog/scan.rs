//! `catalog scan`: look for images in directories.

use std::path::Path;

use formats::json;
use formats::shown::shown;
use serde_json::Value as JsonValue;
use store::catalog::ScanReport;

use super::path_json;
use crate::command::{Args, Command, Env, HELP, Id, OUTPUT, QUIET};
use crate::image::Form;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog scan",
    summary: "Look for images in directories and what is below them",
    syntax: "DIRECTORY...",
    options: &[HELP, QUIET, OUTPUT],
    operands: &[(
        "DIRECTORY...",
        "where to look; a file that looks like no format is an image if it is called .raw or .img, or if an image names it",
    )],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let (mut form, mut quiet) = (Form::Human, false);
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Quiet => quiet = true,
            _ => form = Form::from_name(&option.text())?,
        }
    }
    if args.operands().is_empty() {
        return Err(Failure::usage("Expecting directories"));
    }
    let mut catalog = super::open(env)?;
    let mut all = ScanReport::default();
    for directory in args.operands() {
        let report = catalog.scan(&env.context(), Path::new(directory))?;
        all.found.extend(report.found);
        all.gone.extend(report.gone);
        all.failed.extend(report.failed);
    }
    for (path, reason) in &all.failed {
        let path = shown(path.as_os_str());
        env.program.complain(format!("warning: Could not look at '{path}': {reason}").as_bytes());
    }
    match form {
        Form::Json => env.out.line(json::pretty(&as_json(&all))),
        Form::Human if quiet => {}
        Form::Human => env.out.line(summary(&all)),
    }
    Ok(SUCCESS)
}

fn summary(report: &ScanReport) -> String {
    let images = match report.found.len() {
        1 => "1 image".to_owned(),
        many => format!("{many} images"),
    };
    match report.gone.len() {
        0 => format!("Found {images}."),
        gone => format!("Found {images}; {gone} no longer there."),
    }
}

fn as_json(report: &ScanReport) -> JsonValue {
    let failed = report.failed.iter();
    let failed =
        failed.map(|(path, reason)| serde_json::json!({ "filename": path_json(path), "error": reason }));
    serde_json::json!({
        "found": report.found.iter().map(path_json).collect::<Vec<_>>(),
        "gone": report.gone.iter().map(path_json).collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
    })
}
