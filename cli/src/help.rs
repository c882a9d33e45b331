//! Help, made from the tables the parser reads.
//!
//! Scripts probe the help for what a program can do, in two shapes: one page with the syntax of
//! every command on a line of its own (qemu-img up to 10.0), or a page for each command (later).
//! Both are here.

use std::fmt::Write;

use crate::command::{Command, Dialect, Opt, Value};
use crate::commands;
use crate::program::Program;
use crate::top;

/// What `-f` and `-O` take, and the kinds of file an image may be in.
const FORMATS: &[&str] = &["file", "host_device", "qcow2", "raw"];

/// Columns of a wrapped line.
const WIDTH: usize = 78;

/// `--help` before any command.
pub(crate) fn global(program: &Program) -> String {
    let name = program.name();
    let mut text = program.version();
    let _ = write!(
        text,
        "\nCreates, converts and inspects disk images of virtual machines.\n\n\
         Usage: {name} [OPTIONS] COMMAND [COMMAND OPTIONS]\n\nOptions:\n"
    );
    describe_options(&mut text, top::OPTIONS, program.dialect());
    let _ = write!(text, "\nCommands ('{name} COMMAND --help' tells more):\n");
    for command in commands::all(program.dialect()) {
        let _ = writeln!(text, "  {} - {}", command.name, command.summary);
    }
    text.push_str("\nCommand syntax:\n");
    for command in commands::all(program.dialect()) {
        let _ = writeln!(text, "  {}", syntax(command, program.dialect()).join(" "));
    }
    let formats = FORMATS.join(" ");
    let _ = write!(text, "\nSupported image formats:\n  {formats}\n\nSupported formats: {formats}\n");
    text
}

/// `--help` of a command.
pub(crate) fn command(program: &Program, command: &Command) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}.\n", command.summary);
    wrap(&mut text, &format!("Usage: {}", program.name()), &syntax(command, program.dialect()));
    text.push_str("\nOptions:\n");
    describe_options(&mut text, command.all_options(), program.dialect());
    text.push_str("\nOperands:\n");
    for (name, meaning) in command.operands {
        let _ = writeln!(text, "  {name}\n     {meaning}");
    }
    text
}

/// The command's name, its options and its operands, each unbreakable.
fn syntax(command: &Command, dialect: Dialect) -> Vec<String> {
    let options = command.all_options().filter(|opt| opt.is_in(dialect));
    let options = options.map(|opt| match (opt.short, opt.long.first(), opt.value) {
        (Some(short), _, Value::None) => format!("[-{short}]"),
        (Some(short), _, Value::Required(value)) => format!("[-{short} {value}]"),
        (None, long, Value::None) => format!("[--{}]", long.unwrap_or(&"")),
        (None, long, Value::Required(value)) => format!("[--{} {value}]", long.unwrap_or(&"")),
    });
    std::iter::once(command.name.to_owned())
        .chain(options)
        .chain(std::iter::once(command.syntax.to_owned()))
        .collect()
}

fn describe_options(text: &mut String, options: impl IntoIterator<Item = &'static Opt>, dialect: Dialect) {
    for opt in options.into_iter().filter(|opt| opt.is_in(dialect)) {
        let names = opt
            .short
            .map(|short| format!("-{short}"))
            .into_iter()
            .chain(opt.long.iter().map(|long| format!("--{long}")));
        let mut names = names.collect::<Vec<_>>().join(", ");
        if let Value::Required(value) = opt.value {
            names.push(' ');
            names.push_str(value);
        }
        let _ = writeln!(text, "  {names}\n     {}", opt.help);
    }
}

fn wrap(text: &mut String, start: &str, words: &[String]) {
    let mut column = start.len();
    text.push_str(start);
    for word in words {
        if column + 1 + word.len() > WIDTH {
            text.push_str("\n       ");
            column = 7;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn stock() -> Program {
        Program::new(Some(OsString::from("/usr/bin/qemu-img")))
    }

    #[test]
    fn every_option_the_parser_knows_is_listed() {
        for it in commands::all(Dialect::Own) {
            let page = command(&Program::new(None), it);
            for opt in it.all_options() {
                let listed = |name: &str| {
                    page.lines().any(|line| {
                        line.starts_with("  -") && line.split([' ', ',']).any(|word| word == name)
                    })
                };
                assert!(
                    opt.short.is_none_or(|short| listed(&format!("-{short}"))),
                    "{} {:?}",
                    it.name,
                    opt.id
                );
                assert!(opt.long.iter().all(|long| listed(&format!("--{long}"))), "{} {:?}", it.name, opt.id);
                assert!(!opt.help.is_empty());
            }
        }
    }

    #[test]
    fn options_of_a_command_are_distinct() {
        for it in commands::all(Dialect::Own) {
            let names: Vec<String> = it
                .all_options()
                .flat_map(|opt| opt.long.iter().map(|l| l.to_string()).chain(opt.short.map(String::from)))
                .collect();
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{}", it.name);
        }
    }

    #[test]
    fn the_probes_of_known_callers_succeed() {
        let page = global(&stock());
        assert!(page.lines().any(|line| line.contains(" info ") && line.contains("-U]")));
        assert!(page.contains("--target-is-zero"));
        assert!(page.contains("Supported formats: ") && page.contains("Supported image formats:\n"));
        let first = page.lines().next().unwrap_or_default();
        let version = first.strip_prefix("qemu-img version ").and_then(|rest| rest.split(' ').next());
        assert!(version.is_some_and(|version| version.split('.').all(|part| part.parse::<u32>().is_ok())));
        for it in commands::all(Dialect::Stock).filter(|it| it.name == "info" || it.name == "convert") {
            assert!(command(&stock(), it).contains("-U, --force-share"));
        }
    }
}
