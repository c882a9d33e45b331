//! What one command costs: time with its data on the disk, bytes written, syncs, memory.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::oracle;
use testkit::run::{Outcome, Run};

/// What a command cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Until everything was on the disk.
    pub seconds: f64,
    /// Bytes written to disks.
    pub written: u64,
    /// Largest resident set in bytes.
    pub peak_rss: u64,
}

/// Runs a command, and brings what it left in the cache to the disk.
pub fn measure(program: &Path, dir: &Path, args: &str) -> Cost {
    // What the last run left to be written back is not this run's work.
    rustix::fs::sync();
    let started = Instant::now();
    let outcome = must_run(program, dir, args);
    sync_files(dir);
    let seconds = started.elapsed().as_secs_f64();
    Cost { seconds, written: outcome.written.unwrap_or(0), peak_rss: outcome.peak_rss }
}

/// How often a command asks for something to be made durable.
pub fn syncs(program: &Path, dir: &Path, args: &str) -> usize {
    let strace = oracle::in_path("strace").expect("strace");
    let calls = dir.join("calls");
    let traced = format!("-f -qq -e trace=fsync,fdatasync,syncfs,sync -o calls {}", program.display());
    let words = traced.split(' ').chain(words(args));
    let outcome = Run::new(&strace, dir).args(words).timeout(LONGEST).run();
    assert!(outcome.success(), "{} {args}: {}", program.display(), outcome.err());
    let text = fs::read_to_string(&calls).unwrap_or_default();
    let _ = fs::remove_file(&calls);
    // A call that another thread interrupted in the log has a second line.
    text.lines().filter(|line| line.contains("sync") && !line.contains("resumed>")).count()
}

/// Runs a command that must succeed.
pub fn must_run(program: &Path, dir: &Path, args: &str) -> Outcome {
    let outcome = run(program, dir, args);
    assert!(outcome.success(), "{} {args}: {}", program.display(), outcome.err());
    outcome
}

/// Runs a command.
pub fn run(program: &Path, dir: &Path, args: &str) -> Outcome {
    Run::new(program, dir).args(words(args)).timeout(LONGEST).run()
}

/// The middle one of some values.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// No command takes longer.
const LONGEST: Duration = Duration::from_secs(900);

/// The words of a line; `''` is an empty one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').map(|word| if word == "''" { "" } else { word })
}

/// Makes the files in a directory durable, whoever wrote them.
pub fn sync_files(dir: &Path) {
    for entry in fs::read_dir(dir).expect("the directory can be read").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let file = File::open(entry.path()).expect("an image can be opened");
            file.sync_all().expect("an image can be synced");
        }
    }
}
