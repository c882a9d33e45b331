//! Wrong arguments are complained of in the oracle's words, with its exit code.
//!
//! Options and their prefixes are generated from the alphabet, not from our own tables: an option
//! that only one of the programs knows is a difference.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;

use testkit::effects::{run_oracle, run_tximg};
use testkit::scene;
use testkit::{compare, effects};

const COMMANDS: [&str; 15] = [
    "amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info", "map",
    "measure", "rebase", "resize", "snapshot",
];

/// Short options that exist here and not there.
const OWN_FLAGS: [&str; 2] = ["dd -n", "dd -l"];

/// Compares the two programs on each line of arguments.
fn all_alike(lines: impl IntoIterator<Item = Vec<String>>) {
    let dir = scene::empty();
    fs::write(dir.path().join("a.raw"), [0; 4096]).expect("the scratch directory can be written");
    let mut wrong = Vec::new();
    for args in lines {
        for difference in effects::both(dir.path(), &args) {
            wrong.push(format!("{}: {}", args.join(" "), difference.text));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| if word == "''" { String::new() } else { word.to_owned() }).collect()
}

/// Whether the oracle's option parser itself complains: what comes after it is other tests' matter.
fn parser_complains(dir: &std::path::Path, args: &[String]) -> bool {
    let told = run_oracle(dir, args).err();
    [
        "unrecognized option",
        "is ambiguous",
        "requires an argument",
        "invalid option",
        "doesn't allow an argument",
    ]
    .iter()
    .any(|complaint| told.contains(complaint))
}

#[test]
fn every_beginning_of_a_long_option() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let mut wrong = Vec::new();
    for command in COMMANDS {
        for letter in 'a'..='z' {
            let args = words(&format!("{command} --{letter}"));
            let (expected, got) = (run_oracle(dir.path(), &args), run_tximg(dir.path(), &args));
            let known = |outcome: &testkit::run::Outcome| !outcome.err().contains("unrecognized option");
            if known(&expected) != known(&got)
                || (parser_complains(dir.path(), &args) && !compare::outcomes(&expected, &got).is_empty())
            {
                wrong.push(format!("{}\n  expected: {}  got: {}", args.join(" "), expected.err(), got.err()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_short_option() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let dir = scene::empty();
    let mut wrong = Vec::new();
    for command in COMMANDS {
        for letter in ('a'..='z').chain('A'..='Z').chain("0?:=+".chars()) {
            let line = format!("{command} -{letter}");
            if OWN_FLAGS.contains(&line.as_str()) {
                continue;
            }
            let args = words(&line);
            let (expected, got) = (run_oracle(dir.path(), &args), run_tximg(dir.path(), &args));
            let told = |outcome: &testkit::run::Outcome| {
                let told = outcome.err();
                told.lines().find(|line| line.contains("option") && line.contains("--")).map(str::to_owned)
            };
            if parser_complains(dir.path(), &args) != told(&got).is_some_and(|told| told.contains(" -- '"))
                || (parser_complains(dir.path(), &args) && told(&expected) != told(&got))
            {
                wrong.push(format!("{line}\n  expected: {}  got: {}", expected.err(), got.err()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_command_line_before_the_command() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let lines = [
        "",
        "foo",
        "-Z",
        "--foo",
        "-T",
        "-",
        "--he=3",
        "''",
        "-ZV",
        "--",
        "-- foo",
        "-f",
        "--trace",
        "info -Z -h",
        "--trac",
        "-T file=/nowhere/x info",
        "-T a*,foo=bar info",
    ];
    all_alike(lines.map(words));
}

#[test]
fn options_are_followed_in_the_order_given() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let lines = [
        "convert -m 99 --foo",
        "convert --foo -m 99",
        "info --object foo -f",
        "compare --object foo --zz",
        "bench -t foo -i bar",
        "bench -i bar -t foo",
        "map --max-length x -Z",
        "info -f",
        "info a -f",
        "info -fraw -Z",
        "convert --object=",
        "convert --b=3",
        "convert --bitmaps=3",
        "map -s",
        "map --start-offset",
    ];
    all_alike(lines.map(words));
}

#[test]
fn numbers() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let wrong = ["''", "x", "-1", "5x", "9223372036854775808", "18446744073709551616", "-1k", "0x", "1kb"];
    let sized = [
        "convert -S N a.raw y",
        "convert -r N a.raw y",
        "map --start-offset N a.raw",
        "map --max-length N a.raw",
        "measure --size N",
        "create x N",
        "bench -c 1 -s N a.raw",
        "bench -c 1 -o N a.raw",
        "bench -c 1 -S N a.raw",
        "dd bs=N if=a.raw of=y",
    ];
    let counted = [
        "convert -m N a.raw y",
        "bench -c N a.raw",
        "bench -d N a.raw",
        "bench --pattern N a.raw",
        "bench -w --flush-interval N a.raw",
        "dd count=N if=a.raw of=y",
        "dd skip=N if=a.raw of=y",
    ];
    let fill = |line: &str, number: &str| {
        words(line)
            .into_iter()
            .map(|word| word.replace('N', if number == "''" { "" } else { number }))
            .collect()
    };
    all_alike(
        sized.iter().chain(&counted).flat_map(|line| wrong.iter().map(move |number| fill(line, number))),
    );
}

#[test]
fn objects() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let definitions = [
        "",
        "secret",
        "secret,id",
        "secret,id=",
        "secret,id=s",
        "secret,id=1s,data=x",
        "secret,id=s,data=x,file=y",
        "secret,id=s,file=nope",
        "secret,id=s,file=.",
        "secret,id=s,data=x,format=foo",
        "secret,id=s,data=x,foo=bar",
        "foo,id=s",
        "foo",
        "iothread,id=i",
        "memory-backend-ram,id=m,size=1M",
        "authz-simple,id=a",
        "rng-random,id=r",
        "secret_keyring,id=k",
        "secret,id=s,data=x,keyid=foo",
        r#"{"qom-type":"secret","id":"s""#,
        "{}",
        r#"{"id":"s"}"#,
        r#"{"qom-type":"secret","id":"s","foo":1}"#,
        r#"{"qom-type":1}"#,
        "help",
        "?",
        "secret,help",
        "secret,id=s,data",
        "secret,,id=s",
        "=x",
        "secret,id=s,data.x=3",
        "tls-cipher-suites,id=x",
    ];
    for command in ["info", "compare", "map", "snapshot", "check", "convert", "create", "measure", "dd"] {
        all_alike(definitions.map(|it| {
            vec![command.to_owned(), "--object".to_owned(), it.to_owned(), "a.raw".to_owned(), "b".to_owned()]
        }));
    }
}

#[test]
fn arguments_that_are_no_text() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let dir = scene::empty();
    for bytes in [&b"-\xff"[..], b"--\xff", b"\xff\xc3\xa9", b"--object=\xff", b"-f\xff"] {
        let args = [OsString::from("info"), OsString::from_vec(bytes.to_vec()), OsString::from("x")];
        let (expected, got) = (run_oracle(dir.path(), &args[..2]), run_tximg(dir.path(), &args[..2]));
        assert_eq!((expected.code(), expected.stdout), (got.code(), got.stdout), "{args:?}");
        assert_eq!(expected.stderr, got.stderr, "{args:?}");
    }
}
