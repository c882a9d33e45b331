//! `check`: look for errors in an image's metadata.

use std::ffi::OsStr;

use formats::{CacheMode, CheckReport, Finding, Format, OpenFlags, Repair, json};
use journal::Access;
use serde_json::{Value, json as value};
use store::ops::check::{self, News, Verdict};

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, QUIET,
    Value as OptValue,
};
use crate::image::{self, Form, Subject};
use crate::program::stderr_line;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "check",
    summary: "Look for errors in an image's metadata",
    syntax: "FILENAME",
    options: &[
        HELP,
        QUIET,
        FORMAT,
        Opt::new(
            Id::Cache,
            Some('T'),
            &["cache"],
            OptValue::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Repair, Some('r'), &["repair"], OptValue::Required("leaks|all"), "repair what is found"),
        OUTPUT,
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
    ],
    operands: &[FILENAME],
    run,
};

/// Exit code when the metadata is damaged.
const CORRUPT: u8 = 2;
/// Exit code when space is lost and nothing else is wrong.
const LEAKS: u8 = 3;
/// Exit code when the format has no check.
const NO_CHECK: u8 = 63;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut subject = Subject::default();
    let (mut quiet, mut repair, mut cache) = (false, None, None);
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Quiet => quiet = true,
            Id::Cache => cache = Some(option.text().into_owned()),
            Id::Repair => repair = Some(what_to_repair(&option.text())?),
            _ => subject.take(env, &option)?,
        }
    }
    let operand = subject.operand(args)?;
    let name = subject.name(operand)?;
    let cache = match cache {
        None => CacheMode::WRITEBACK,
        Some(mode) => image::cache_mode(&mode, || format!("Invalid source cache option: {mode}"))?,
    };
    let access = if repair.is_some() { Access::Write } else { Access::Read };
    let image = name.open(&env.context(), OpenFlags { access, check: true, cache, ..subject.flags() })?;
    let mut tell = |news: News<'_>| match news {
        News::Found(Finding::Line(line)) => stderr_line(line.as_bytes()),
        News::Found(Finding::Complaint(line)) => env.program.complain(line.as_bytes()),
        News::Repaired(report) if !quiet && subject.form == Form::Human => env.out.print(repaired(report)),
        News::Repaired(_) => {}
    };
    let found = match repair {
        None => check::check(&image, &mut tell),
        Some(what) => check::repair(&image, what, &mut tell),
    };
    let print = |report: &CheckReport| match subject.form {
        _ if quiet => {}
        Form::Human => env.out.print(human(report)),
        Form::Json => env.out.line(json::pretty(&as_json(report, operand, image.format()))),
    };
    match found {
        Verdict::Checked(report) => {
            print(&report);
            verdict(&report)
        }
        Verdict::Impossible => {
            Err(Failure::message("This image format does not support checks").with_code(NO_CHECK))
        }
        Verdict::Failed { report, reason } => {
            // Programs that asked for a repair are told how far it came; qemu-img leaves them without.
            if repair.is_some() && subject.form == Form::Json && !env.program.is_stock() {
                print(&report);
            }
            Err(Failure::message(format!("Check failed: {}", reason.report())))
        }
    }
}

fn what_to_repair(what: &str) -> Result<Repair, Failure> {
    match what {
        "leaks" => Ok(Repair::Leaks),
        "all" => Ok(Repair::All),
        _ => Err(Failure::usage(format!("--repair (-r) expects 'leaks' or 'all' not '{what}'"))),
    }
}

fn verdict(report: &CheckReport) -> Outcome {
    match report {
        CheckReport { check_errors: 1.., .. } => Err(Failure::message("Check failed")),
        CheckReport { corruptions: 1.., .. } => Ok(CORRUPT),
        CheckReport { leaks: 1.., .. } => Ok(LEAKS),
        _ => Ok(SUCCESS),
    }
}

fn repaired(report: &CheckReport) -> String {
    format!(
        "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} corruptions\n\n\
         Double checking the fixed image now...\n",
        report.leaks_fixed, report.corruptions_fixed
    )
}

fn human(report: &CheckReport) -> String {
    let mut text = String::new();
    if report.corruptions == 0 && report.leaks == 0 && report.check_errors == 0 {
        text += "No errors were found on the image.\n";
    }
    if report.corruptions > 0 {
        text += &format!(
            "\n{} errors were found on the image.\n\
             Data may be corrupted, or further writes to the image may corrupt it.\n",
            report.corruptions
        );
    }
    if report.leaks > 0 {
        text += &format!(
            "\n{} leaked clusters were found on the image.\n\
             This means waste of disk space, but no harm to data.\n",
            report.leaks
        );
    }
    if report.check_errors > 0 {
        text += &format!("\n{} internal errors have occurred during the check.\n", report.check_errors);
    }
    if report.total_clusters > 0 && report.allocated_clusters > 0 {
        let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
        text += &format!(
            "{}/{} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters\n",
            report.allocated_clusters,
            report.total_clusters,
            percent(report.allocated_clusters, report.total_clusters),
            percent(report.fragmented_clusters, report.allocated_clusters),
            percent(report.compressed_clusters, report.allocated_clusters),
        );
    }
    if let Some(end) = report.image_end_offset {
        text += &format!("Image end offset: {end}\n");
    }
    text
}

/// The report for programs, in QEMU's order of keys. A count of zero is left out, but for
/// `check-errors`.
fn as_json(report: &CheckReport, filename: &OsStr, format: Format) -> Value {
    let count = |count: u64| if count > 0 { value!(count) } else { Value::Null };
    let members = [
        ("image-end-offset", count(report.image_end_offset.unwrap_or(0))),
        ("compressed-clusters", count(report.compressed_clusters)),
        ("total-clusters", count(report.total_clusters)),
        ("corruptions", count(report.corruptions)),
        ("corruptions-fixed", count(report.corruptions_fixed)),
        ("check-errors", value!(report.check_errors)),
        ("leaks", count(report.leaks)),
        ("leaks-fixed", count(report.leaks_fixed)),
        ("allocated-clusters", count(report.allocated_clusters)),
        ("filename", value!(filename.to_string_lossy())),
        ("format", value!(format.name())),
        ("fragmented-clusters", count(report.fragmented_clusters)),
    ];
    let present = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(present.map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_empty_image() {
        let report =
            CheckReport { total_clusters: 16, image_end_offset: Some(262_144), ..CheckReport::default() };
        assert_eq!(human(&report), "No errors were found on the image.\nImage end offset: 262144\n");
        assert!(matches!(verdict(&report), Ok(SUCCESS)));
    }

    #[test]
    fn the_worst_finding_decides() {
        let leaky = CheckReport { leaks: 2, ..CheckReport::default() };
        assert!(matches!(verdict(&leaky), Ok(LEAKS)));
        let corrupt = CheckReport { corruptions: 1, ..leaky.clone() };
        assert!(matches!(verdict(&corrupt), Ok(CORRUPT)));
        let failed = CheckReport { check_errors: 1, ..corrupt };
        assert!(verdict(&failed).is_err());
    }
}
