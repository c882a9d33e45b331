//! The command line up to the command's name.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::command::{Args, Command, Env, Id, Opt, Value};
use crate::getopt::{self, Order};
use crate::output::Output;
use crate::program::Program;
use crate::report::{Failure, SUCCESS};
use crate::{commands, help};

/// The options before the command's name.
pub(crate) const OPTIONS: &[Opt] = &[
    Opt::new(Id::Help, Some('h'), &["help"], Value::None, "print this help and exit"),
    Opt::new(Id::Version, Some('V'), &["version"], Value::None, "print the version and exit"),
    Opt::new(
        Id::Trace,
        Some('T'),
        &["trace"],
        Value::Required("TRACE"),
        "report what happens inside: [[enable=]PATTERN][,events=FILE][,file=FILE]",
    ),
];

/// Runs the whole command line; the exit code remains.
pub(crate) fn run(program: &Program, args: &[OsString], out: &Output) -> u8 {
    let parsed = getopt::parse(args, OPTIONS, Order::OptionsFirst);
    for option in &parsed.options {
        match option {
            Err(problem) => return Failure::getopt(problem).tell(program),
            Ok(given) => match given.opt.id {
                Id::Help => {
                    out.print(help::global(program));
                    return SUCCESS;
                }
                Id::Version => {
                    out.print(program.version());
                    return SUCCESS;
                }
                _ => {}
            },
        }
    }
    let Some((name, rest)) = parsed.positionals.split_first() else {
        return Failure::usage("Not enough arguments").tell(program);
    };
    match commands::ALL.iter().find(|command| name == command.name) {
        Some(command) => run_command(&program.command(command.name), command, rest, out),
        None => {
            let message = [b"Command not found: ", name.as_bytes()].concat();
            let message = <OsString as std::os::unix::ffi::OsStringExt>::from_vec(message);
            Failure::usage(message).tell(program)
        }
    }
}

fn run_command(program: &Program, command: &'static Command, args: &[OsString], out: &Output) -> u8 {
    let order = match std::env::var_os("POSIXLY_CORRECT") {
        Some(_) => Order::OptionsFirst,
        None => Order::Permute,
    };
    let args = Args::new(getopt::parse(args, command.options, order));
    match (command.run)(&Env { program, out }, &args) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(text) = failure.asked(|| help::command(program, command)) {
                out.print(text);
            }
            failure.tell(program)
        }
    }
}
