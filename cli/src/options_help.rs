//! `-o help`: the options of a new image.

use std::ffi::OsStr;

use formats::create::{OptionTable, creatable, file_path};

use crate::command::{Dialect, Env};
use crate::report::{Outcome, SUCCESS};

/// Prints the options of a format; those of the file too if it is known that there will be one.
pub(crate) fn print(env: &Env<'_>, format: &str, target: Option<&OsStr>) -> Outcome {
    let kind = creatable(format)?;
    let (title, table) = match target {
        Some(target) => {
            file_path(target)?;
            ("Supported options:".to_owned(), OptionTable::for_file(kind))
        }
        None if format == "file" => ("Supported file options:".to_owned(), OptionTable::for_file(kind)),
        None => (format!("Supported {format} options:"), OptionTable::of_format(kind)),
    };
    env.out.line(title);
    for line in table.help() {
        env.out.line(line);
    }
    let own = table.own().help();
    if env.program.dialect() == Dialect::Own && !own.is_empty() {
        env.out.line("\nOptions that qemu-img does not have:");
        own.into_iter().for_each(|line| env.out.line(line));
    }
    if target.is_none() {
        env.out.line("\nThe protocol level may support further options.");
        env.out.line("Specify the target filename to include those options.");
    }
    Ok(SUCCESS)
}
