//! Runs cases on all cores and tells the result.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::case::{Case, Stage};
use crate::compare::{self, Difference};
use crate::effects::{self, Files, Scene};
use crate::known::Known;
use crate::oracle::oracle;
use crate::run::{Outcome, Run};
use crate::tximg::tximg;
use crate::{glob, scene, script, words};

/// What came of a suite.
#[derive(Debug, Default)]
pub struct Summary {
    /// Cases without a difference.
    pub passed: usize,
    /// Cases that differ as the document of differences says.
    pub known: usize,
    /// Stories of the others.
    pub failures: Vec<String>,
}

/// Runs all cases whose name matches one of `patterns` (all, if there are none).
pub fn run(cases: &[Case], patterns: &[String], known: &[Known]) -> Summary {
    assert_unique(cases);
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|case| patterns.is_empty() || patterns.iter().any(|pattern| selects(pattern, &case.name)))
        .collect();
    let next = AtomicUsize::new(0);
    let summary = Mutex::new(Summary::default());
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    let verdict = judge(case, known);
                    report_slow(case, started.elapsed());
                    let mut summary = summary.lock().expect("no worker panics while it holds the summary");
                    summary.add(verdict);
                }
            });
        }
    });
    summary.into_inner().expect("no worker panics while it holds the summary")
}

/// A slow case delays everybody; it is named so that it can be made smaller.
fn report_slow(case: &Case, elapsed: Duration) {
    if elapsed > Duration::from_secs(5) {
        drop(writeln!(io::stderr(), "slow: {} took {:.1} s", case.name, elapsed.as_secs_f64()));
    }
}

fn assert_unique(cases: &[Case]) {
    let mut names = HashSet::new();
    for case in cases {
        assert!(names.insert(&case.name), "two cases are called {}", case.name);
    }
}

fn selects(pattern: &str, name: &str) -> bool {
    if pattern.contains('*') {
        glob::matches(pattern, name)
    } else {
        name == pattern || name.starts_with(&format!("{pattern}/"))
    }
}

enum Verdict {
    Passed,
    Known,
    Failed(String),
}

impl Summary {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Known => self.known += 1,
            Verdict::Failed(story) => {
                drop(io::stderr().write_all(story.as_bytes()));
                self.failures.push(story);
            }
        }
    }
}

fn judge(case: &Case, known: &[Known]) -> Verdict {
    let differences = match catch_unwind(AssertUnwindSafe(|| differences(case))) {
        Ok(differences) => differences,
        Err(panic) => {
            let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            return Verdict::Failed(story(case, &format!("could not be run: {reason}\n")));
        }
    };
    let covering: Vec<&Known> = known.iter().filter(|known| known.covers(&case.name)).collect();
    let unknown: Vec<&Difference> = differences
        .iter()
        .filter(|difference| !covering.iter().any(|known| known.aspects.contains(&difference.aspect)))
        .collect();
    if !unknown.is_empty() {
        let text = unknown.iter().fold(String::new(), |mut text, difference| {
            let _ = writeln!(text, "  {}", difference.text.trim_end());
            text
        });
        return Verdict::Failed(story(case, &text));
    }
    match (covering.first(), differences.is_empty()) {
        (None, _) => Verdict::Passed,
        (Some(_), false) => Verdict::Known,
        (Some(known), true) => {
            let text = format!("  is equal, but is listed as a known difference: {}\n", known.title);
            Verdict::Failed(story(case, &text))
        }
    }
}

/// Everything in which the two programs differ in a case.
fn differences(case: &Case) -> Vec<Difference> {
    if let (Stage::Shared, Some(shape)) = (case.stage, case.shape) {
        let dir = scene::fixture(shape);
        let expected = start(&oracle().img, &dir, case);
        let found = compare::outcomes(&expected, &start(tximg(), &dir, case));
        // Space on disk settles in the background; see `effects::both`.
        return match found.is_empty() {
            true => found,
            false => compare::outcomes(&start(&oracle().img, &dir, case), &start(tximg(), &dir, case)),
        };
    }
    let dirs = [stage(case), stage(case)];
    let before = [Files::of(dirs[0].path()), Files::of(dirs[1].path())];
    let expected = start(&oracle().img, dirs[0].path(), case);
    let got = start(tximg(), dirs[1].path(), case);
    let mut all = compare::outcomes(&expected, &got);
    let scenes = [0, 1].map(|index| Scene { dir: dirs[index].path(), before: &before[index] });
    if case.took_effect(&got) {
        all.extend(effects::differences(scenes[0], scenes[1]));
    } else if !case.writes_in_place() {
        all.extend(effects::leftovers(scenes[1], || stage(case)));
    }
    all
}

/// A directory for a case. What stands in it is built, not copied: a copy would lose the
/// difference between a hole and space that is reserved.
fn stage(case: &Case) -> TempDir {
    let dir = case.shape.map_or_else(scene::empty, scene::linked);
    script::run(&case.setup, dir.path());
    dir
}

fn start(program: &Path, dir: &Path, case: &Case) -> Outcome {
    Run::new(program, dir).named("qemu-img").args(&case.args).stdin(case.stdin.clone()).run()
}

fn story(case: &Case, text: &str) -> String {
    let shape = case.shape.map_or("", |shape| shape.name);
    let setup = case.setup.trim().replace('\n', "\n            ");
    format!(
        "FAILED {}\n  command: qemu-img {}\n  shape:   {shape}\n  setup:   {setup}\n{text}  replay:  TXIMG_CASE='{}' cargo test -p testkit --test differential\n\n",
        case.name,
        words::join(&case.args),
        case.name
    )
}
