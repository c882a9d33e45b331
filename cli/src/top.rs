//! The command line up to the command's name.

use std::cell::RefCell;
use std::ffi::OsString;

use crate::command::{Args, Command, Env, Id, Opt, Value};
use crate::getopt::{self, Order};
use crate::history::Begun;
use crate::object::Objects;
use crate::output::Output;
use crate::patience::Patience;
use crate::program::Program;
use crate::report::{Failure, Outcome};
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
    let (command, rest) = find_command(program, args.operands())?;
    Ok((command, rest.to_vec()))
}

/// The command that the words begin with, and its arguments.
pub(crate) fn find_command<'a>(
    program: &Program,
    words: &'a [OsString],
) -> Result<(&'static Command, &'a [OsString]), Failure> {
    let Some(name) = words.first() else {
        return Err(Failure::usage("Not enough arguments"));
    };
    commands::find(program.dialect(), words).ok_or_else(|| {
        let mut message = OsString::from("Command not found: ");
        message.push(name);
        Failure::usage(message)
    })
}

fn run_command(program: &Program, command: &'static Command, args: &[OsString], out: &Output) -> u8 {
    let begun = Begun::now(program, command.name, args);
    tracing::debug!(command = command.name, "Begins.");
    let parsed = parse(program, command, args);
    let mut patience = Patience::new(parsed.lock_timeout());
    let outcome = transact(out, &begun, &mut patience, |fs| {
        let (objects, unrecorded) = (Objects::default(), RefCell::default());
        let env = Env { program, out, fs, unrecorded: &unrecorded, objects: &objects, gate: parsed.gate() };
        (command.run)(&env, &parsed)
    });
    tracing::debug!(?outcome, "Ends.");
    outcome.unwrap_or_else(|failure| tell(program, command, out, &failure))
}

/// Runs a command as a part of a transaction.
pub(crate) fn run_in(env: &Env<'_>, command: &'static Command, args: &[OsString]) -> Outcome {
    let parsed = parse(env.program, command, args);
    let gate = if parsed.is_untrusted() { parsed.gate() } else { env.gate };
    (command.run)(&Env { gate, ..*env }, &parsed)
}

fn parse(program: &Program, command: &'static Command, args: &[OsString]) -> Args {
    let order = match std::env::var_os("POSIXLY_CORRECT") {
        _ if command.has_signed_operand() => Order::PermuteSigned,
        Some(_) => Order::OptionsFirst,
        None => Order::Permute,
    };
    Args::new(getopt::parse(args, command.all_options(), program.dialect(), order))
}

/// Tells why a command did not do what it was asked; the exit code remains.
pub(crate) fn tell(program: &Program, command: &Command, out: &Output, failure: &Failure) -> u8 {
    if let Some(text) = failure.asked(|| help::command(program, command)) {
        out.print(text);
    }
    failure.tell(program)
}
