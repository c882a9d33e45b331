//! The command line up to the command's name.

use std::ffi::OsString;

use crate::command::{Args, Command, Env, Id, Opt, Value};
use crate::getopt::{self, Order};
use crate::history::Begun;
use crate::output::Output;
use crate::program::Program;
use crate::report::Failure;
use crate::trace::Trace;
use crate::transact::transact;
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
    let parsed = getopt::parse(args, OPTIONS, program.dialect(), Order::OptionsFirst);
    match before_command(program, &Args::new(parsed)) {
        Ok((command, rest)) => run_command(&program.command(command.name), command, &rest, out),
        Err(failure) => {
            if let Some(text) = failure.asked(|| help::global(program)) {
                out.print(text);
            }
            failure.tell(program)
        }
    }
}

/// Follows the options before the command's name; finds the command and its arguments.
fn before_command(program: &Program, args: &Args) -> Result<(&'static Command, Vec<OsString>), Failure> {
    let mut trace = Trace::default();
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Version => return Err(Failure::answer(program.version())),
            _ => trace.add(option.value())?,
        }
    }
    trace.start(program)?;
    let Some(name) = args.operands().first() else {
        return Err(Failure::usage("Not enough arguments"));
    };
    match commands::find(program.dialect(), args.operands()) {
        Some((command, rest)) => Ok((command, rest.to_vec())),
        None => {
            let mut message = OsString::from("Command not found: ");
            message.push(name);
            Err(Failure::usage(message))
        }
    }
}

fn run_command(program: &Program, command: &'static Command, args: &[OsString], out: &Output) -> u8 {
    let begun = Begun::now(program, command.name, args);
    let order = match std::env::var_os("POSIXLY_CORRECT") {
        Some(_) => Order::OptionsFirst,
        None => Order::Permute,
    };
    tracing::debug!(command = command.name, "Begins.");
    let args = Args::new(getopt::parse(args, command.options, program.dialect(), order));
    let outcome = transact(out, &begun, |fs| (command.run)(&Env { program, out, fs }, &args));
    tracing::debug!(?outcome, "Ends.");
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Some(text) = failure.asked(|| help::command(program, command)) {
                out.print(text);
            }
            failure.tell(program)
        }
    }
}
