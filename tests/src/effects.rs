//! What a command made, looked at by both programs in both directions.
//!
//! Only files that the command touched are looked at. A command that fails must leave everything
//! as it was, although the oracle leaves half a target: that is the one difference that
//! `docs/DIFFERENCES.md` tells of all commands. (With `-n` the target is written in place, and a
//! failure may be met half-way.)
//!
//! Filters, all there are:
//!
//! * **Space on disk.** Two programs may lay out equal images differently, so `actual-size` and
//!   the length of a container file are compared only where both programs look at one file.
//! * **Dates.** The two directories are built one after the other, so snapshots in them differ in
//!   when they were taken.
//! * **Identities.** Images have random UUIDs, and footers tell when they were made.
//! * **Order of allocation.** For the same reason fragmentation figures and host offsets are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::compare::{self, Difference};
use crate::content;
use crate::encrypted;
use crate::inside;
use crate::oracle::oracle;
use crate::run::{Outcome, Run};
use crate::tximg::tximg;

/// Larger virtual disks are compared by `compare` alone, not written out.
const WRITTEN_OUT: u64 = 1 << 40;

/// Images with more L2 tables are not read from end to end: that takes the oracle minutes.
const TABLES_WALKED: u64 = 1 << 17;

/// The regular files of a directory, and what tells whether one was touched. Links to the scene's
/// files are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Stamp>);

/// Inode number, length and time of the last change.
type Stamp = (u64, u64, i64, i64);

impl Files {
    /// The files of a directory as they are now.
    pub fn of(dir: &Path) -> Self {
        let entries = fs::read_dir(dir).expect("a case's directory can be listed").flatten();
        let regular = entries.filter_map(|entry| {
            let data = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let stamp = (data.ino(), data.len(), data.mtime(), data.mtime_nsec());
            Some((entry.file_name().to_string_lossy().into_owned(), stamp))
        });
        Self(regular.collect())
    }

    /// Names of files that are new, gone or changed since `before`.
    fn touched_since(&self, before: &Self) -> Vec<String> {
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        let changed = self.0.iter().filter(|(name, stamp)| before.0.get(*name) != Some(stamp));
        changed.map(|(name, _)| name).chain(gone).cloned().collect()
    }
}

/// A directory in which a command was run.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Where it is.
    pub dir: &'a Path,
    /// Its files before the command.
    pub before: &'a Files,
}

impl Scene<'_> {
    fn touched(&self) -> Vec<String> {
        Files::of(self.dir).touched_since(self.before)
    }
}

/// The two directories in which the oracle and the program under test ran the same command.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The oracle's.
    pub expected: &'a Path,
    /// The other's.
    pub got: &'a Path,
}

/// A run of the oracle.
pub fn run_oracle<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Outcome {
    Run::new(&oracle().img, dir).named("qemu-img").args(args).run()
}

/// A run of the program under test.
pub fn run_tximg<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Outcome {
    Run::new(tximg(), dir).named("qemu-img").args(args).run()
}

/// All differences between what a command that succeeded made in the two directories.
pub fn differences(expected: Scene<'_>, got: Scene<'_>) -> Vec<Difference> {
    let pair = Pair { expected: expected.dir, got: got.dir };
    let touched: BTreeSet<String> = expected.touched().into_iter().chain(got.touched()).collect();
    let touched: Vec<String> = touched.into_iter().collect();
    let opaque = opaque_data_files(pair.got, &touched);
    touched.iter().filter(|name| !opaque.contains(name)).flat_map(|name| alike(pair, name)).collect()
}

/// External data files that are no valid raw image: what stands in them where the image has zeroes
/// is nobody's business.
fn opaque_data_files(dir: &Path, names: &[String]) -> Vec<String> {
    let data_file = |name: &String| {
        let outcome = run_oracle(dir, ["info", "--output=json", "-f", "qcow2", &format!("./{name}")]);
        let description: Value = serde_json::from_slice(&outcome.stdout).ok()?;
        let data = &description["format-specific"]["data"];
        let opaque = data["data-file-raw"] == Value::Bool(false);
        opaque.then(|| data["data-file"].as_str().map(str::to_owned))?
    };
    // Most commands make one file.
    if names.len() > 1 { names.iter().filter_map(data_file).collect() } else { Vec::new() }
}

/// What a command that failed has left behind although it should not. `fresh` makes the scene once
/// more, as it was before the command.
pub fn leftovers(got: Scene<'_>, fresh: impl FnOnce() -> TempDir) -> Vec<Difference> {
    let touched = got.touched();
    if touched.is_empty() {
        return Vec::new();
    }
    let fresh = fresh();
    let pair = Pair { expected: fresh.path(), got: got.dir };
    let left = touched.iter().flat_map(|name| alike(pair, name));
    left.map(|left| Difference::content(format!("failed, but {}", left.text))).collect()
}

/// A file that a program touched stands in both directories or in none, and is the same.
fn alike(pair: Pair<'_>, name: &str) -> Vec<Difference> {
    match (pair.expected.join(name).exists(), pair.got.join(name).exists()) {
        (true, true) => file(pair, name),
        (false, false) => Vec::new(),
        (true, false) => vec![Difference::content(format!("'{name}' is not there"))],
        (false, true) => vec![Difference::content(format!("'{name}' is there, but should not be"))],
    }
}

fn file(pair: Pair<'_>, name: &str) -> Vec<Difference> {
    let path = format!("./{name}");
    let expected = run_oracle(pair.expected, ["info", "--output=json", &path]);
    let got = run_oracle(pair.got, ["info", "--output=json", &path]);
    let Ok(description) = serde_json::from_slice::<Value>(&expected.stdout) else {
        return compare::outcomes(&expected, &got).into_iter().map(|it| of_file(name, it)).collect();
    };
    if description["format"] == "raw" {
        let mut all = raw_file(pair, name);
        if content::is_fixed_vpc(&pair.expected.join(name)) {
            let look = |dir| run_oracle(dir, ["info", "--output=json", "-f", "vpc", &path]);
            all.extend(described(name, &look(pair.expected), &look(pair.got)));
        }
        return all;
    }
    let mut all = described(name, &expected, &got);
    if description["encrypted"] == Value::Bool(true) {
        all.extend(encrypted::differences(pair, name, description["format"].as_str().unwrap_or_default()));
        return all;
    }
    let walked = is_walked(&description);
    all.extend(seen_by_both(pair.got, name, &path, if walked { &LOOKS } else { &LOOKS[..2] }));
    all.extend(sound(pair, name, &path));
    if walked {
        all.extend(same_guest(pair, name, &path, description["virtual-size"].as_u64().unwrap_or(0)));
        all.extend(inside::snapshots(pair, name, &description));
        all.extend(inside::bitmaps(pair, name));
    }
    all
}

/// Whether reading the whole image is quick enough.
fn is_walked(description: &Value) -> bool {
    let number = |key: &str| description[key].as_u64().unwrap_or(0);
    let guest_per_table = number("cluster-size") * (number("cluster-size") / 8);
    number("virtual-size") / guest_per_table.max(1) <= TABLES_WALKED
}

/// The commands with which both programs look at what the program under test wrote; the last reads
/// all of it. (How it reads what the oracle wrote is what all other families test.)
const LOOKS: [&[&str]; 3] = [&["info", "--output=json"], &["check"], &["map", "--output=json"]];

fn of_file(name: &str, difference: Difference) -> Difference {
    Difference::content(format!("'{name}': {}", difference.text))
}

fn raw_file(pair: Pair<'_>, name: &str) -> Vec<Difference> {
    match content::difference(&pair.expected.join(name), &pair.got.join(name)) {
        Ok(None) => Vec::new(),
        Ok(Some(text)) => vec![Difference::content(format!("'{name}': {text}"))],
        Err(error) => vec![Difference::content(format!("'{name}' cannot be compared: {error}"))],
    }
}

/// The oracle describes both files alike.
fn described(name: &str, expected: &Outcome, got: &Outcome) -> Vec<Difference> {
    let description = |outcome: &Outcome| {
        let mut value = serde_json::from_slice(&outcome.stdout).unwrap_or(Value::Null);
        forget(&mut value);
        format!("{value:#}\n{}", outcome.err())
    };
    let (left, right) = (description(expected), description(got));
    if left == right {
        return Vec::new();
    }
    let text = format!("'{name}' is described otherwise:\n{}", compare::lines(&left, &right));
    vec![Difference::content(text)]
}

/// What depends on the layout of a file, on when it was made, and on chance.
const FORGOTTEN: [&str; 8] =
    ["actual-size", "date-sec", "date-nsec", "uuid", "cid", "parent-cid", "iters", "master-key-iters"];

/// Removes what depends on the layout of a file and on when it was made.
fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in FORGOTTEN {
                fields.remove(field);
            }
            if fields.get("format").is_some_and(|format| format == "file") {
                fields.remove("virtual-size");
            }
            fields.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// Both programs say the same of one file.
fn seen_by_both(dir: &Path, name: &str, path: &str, looks: &[&[&str]]) -> Vec<Difference> {
    let mut all = Vec::new();
    for look in looks {
        let command = [look, &[path][..]].concat();
        for difference in both(dir, &command) {
            let text = format!("'{name}', as '{}' sees it: {}", look.join(" "), difference.text);
            all.push(Difference::content(text));
        }
    }
    all
}

/// Runs a reading command of both programs on the same files.
///
/// The space that a file takes changes while the filesystem allocates it in the background, so
/// the oracle is asked again before its answer is held against the other's.
pub fn both<S: AsRef<OsStr> + Clone>(dir: &Path, args: &[S]) -> Vec<Difference> {
    let expected = run_oracle(dir, args);
    let got = run_tximg(dir, args);
    let differences = compare::outcomes(&expected, &got);
    if differences.is_empty() {
        return differences;
    }
    compare::outcomes(&run_oracle(dir, args), &run_tximg(dir, args))
}

/// What the program under test wrote is at least as sound as what the oracle wrote.
fn sound(pair: Pair<'_>, name: &str, path: &str) -> Vec<Difference> {
    let expected = run_oracle(pair.expected, ["check", path]);
    let got = run_oracle(pair.got, ["check", path]);
    if expected.code() == got.code() {
        return Vec::new();
    }
    vec![Difference::content(format!(
        "'{name}' checked: expected {}, got {}: {}{}",
        expected.status_text(),
        got.status_text(),
        got.out(),
        got.err()
    ))]
}

/// Both files hold the same guest bytes, as each program reads what the other wrote.
fn same_guest(pair: Pair<'_>, name: &str, path: &str, virtual_size: u64) -> Vec<Difference> {
    let mut all = Vec::new();
    let other = pair.got.join(name);
    let compare: [&OsStr; 3] = ["compare".as_ref(), path.as_ref(), other.as_ref()];
    for (who, outcome) in [
        ("the oracle", run_oracle(pair.expected, compare)),
        ("the program under test", run_tximg(pair.expected, compare)),
    ] {
        // An image whose backing file is missing cannot be compared by anyone.
        if outcome.code() != Some(0) && run_oracle(pair.expected, ["compare", path, path]).success() {
            let text = format!("{who} compares '{name}': {}{}", outcome.out(), outcome.err());
            all.push(Difference::content(text));
        }
    }
    if virtual_size <= WRITTEN_OUT {
        all.extend(same_bytes(pair, name, path));
    }
    all
}

fn same_bytes(pair: Pair<'_>, name: &str, path: &str) -> Option<Difference> {
    let text = crossed(pair, &["convert", "-O", "raw", path])?;
    Some(Difference::content(format!("'{name}' read by the other program: {text}")))
}

/// What differs when each program reads what the other wrote, with such a command line, to which
/// the name of a file to write to is added.
pub fn crossed(pair: Pair<'_>, convert: &[&str]) -> Option<String> {
    const OUT: &str = ".crossed.raw";
    let line = || convert.iter().copied().chain([OUT]);
    let by_oracle = run_oracle(pair.got, line());
    let by_tximg = run_tximg(pair.expected, line());
    let (left, right) = (pair.expected.join(OUT), pair.got.join(OUT));
    let text = match (by_oracle.success(), by_tximg.success()) {
        (true, true) => content::difference(&left, &right).unwrap_or_else(|error| Some(error.to_string())),
        (false, false) => None,
        _ => Some(format!("only one can read it: {}{}", by_oracle.err(), by_tximg.err())),
    };
    for file in [left, right] {
        drop(fs::remove_file(file));
    }
    text
}
