//! What the documents show is what happens.
//!
//! Each fenced block marked `console` in `README.md` and `docs/*.md` is run in an empty directory
//! of its own: lines that begin with `$ ` are commands for `sh`, with `tximg` and `qemu-img` (the
//! oracle) in the path; a command that ends in a backslash goes on in the next line. A command
//! must succeed, and if lines follow it, print these: `…` or `[..]` stand for any characters, and
//! a line that is nothing but that, for any lines.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::run::Run;
use testkit::{glob, scene, tximg};

/// A command of a document and the output that it shows.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    output: Vec<String>,
}

/// Examples of one block share a directory.
struct Block {
    line: usize,
    examples: Vec<Example>,
}

#[test]
fn examples_do_what_they_show() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let documents = documents();
    assert!(!documents.is_empty(), "the project has documents");
    let mut failures = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("documents can be read");
        let name = document.file_name().expect("a document has a name").to_string_lossy();
        for block in blocks(&text) {
            failures.extend(run(&block).into_iter().map(|story| format!("{name}:{}: {story}", block.line)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(tximg::root().join("docs")).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = docs.map(|entry| entry.path()).collect();
    all.push(tximg::root().join("README.md"));
    all.retain(|path| path.extension().is_some_and(|extension| extension == "md") && path.exists());
    all.sort();
    all
}

fn blocks(text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```console") => open = Some(Block { line: index + 1, examples: Vec::new() }),
            (Some(_), "```") => all.extend(open.take()),
            (Some(block), line) => add_line(&mut block.examples, line),
            (None, _) => {}
        }
    }
    all
}

fn add_line(examples: &mut Vec<Example>, line: &str) {
    if let Some(command) = line.strip_prefix("$ ") {
        examples.push(Example { command: command.to_owned(), output: Vec::new() });
    } else if let Some(last) = examples.last_mut() {
        match last.command.strip_suffix('\\') {
            Some(begun) if last.output.is_empty() => last.command = format!("{begun}{}", line.trim_start()),
            _ => last.output.push(line.to_owned()),
        }
    }
}

/// Runs a block; a story of each example that fails.
fn run(block: &Block) -> Vec<String> {
    let scene = scene::empty();
    let bin = scene::empty();
    symlink(tximg::binary(), bin.path().join("tximg")).expect("the scratch directory can be written");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut failures = Vec::new();
    for example in &block.examples {
        let command = ["-c", &example.command];
        let catalog = bin.path().join("catalog.sqlite");
        let outcome =
            Run::new(Path::new("/bin/sh"), scene.path()).args(command).path(&path).catalog(catalog).run();
        let output = outcome.out() + &outcome.err();
        if !outcome.success() {
            failures.push(format!("{}: {}: {output}", example.command, outcome.status_text()));
        } else if !example.output.is_empty() && !matches(&example.output, &output.lines().collect::<Vec<_>>())
        {
            failures.push(format!(
                "{}: expected\n{}\ngot\n{output}",
                example.command,
                example.output.join("\n")
            ));
        }
    }
    failures
}

/// Whether lines are as shown.
fn matches(shown: &[String], lines: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return lines.is_empty() };
    if matches!(first.trim(), "…" | "[..]") {
        return (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]));
    }
    let pattern = first.replace("[..]", "*").replace('…', "*");
    lines
        .split_first()
        .is_some_and(|(line, lines)| glob::matches(&pattern, line.trim_end()) && matches(rest, lines))
}

#[test]
fn blocks_are_found() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let text = "a\n```console\n$ one \\\n  more\nout\n$ two\n```\n```sh\n$ three\n```\n";
    let found = blocks(text);
    assert_eq!(found.len(), 1);
    let example = |command: &str, output: &[&str]| Example {
        command: command.to_owned(),
        output: output.iter().map(|&line| line.to_owned()).collect(),
    };
    assert_eq!(found[0].examples, [example("one more", &["out"]), example("two", &[])]);
}

#[test]
fn wildcards_match() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let shown = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert!(matches(&shown(&["a…c", "…", "z"]), &["abc", "x", "y", "z"]));
    assert!(matches(&shown(&["[..]"]), &[]));
    assert!(!matches(&shown(&["a"]), &["a", "b"]));
}
