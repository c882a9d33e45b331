//! Real processes, killed at every system call that changes something, and at random moments.
//!
//! Afterwards stock qemu-img must open each image and find it sound, and it must be the old one or
//! the new one; and after the next command of tximg all images must be old, or all new, with
//! nothing left behind.
//!
//! The same after power cuts on ext4 and XFS, where they can be mounted.
//!
//! `cargo test -p testkit --test killed` kills a few hundred; `TXIMG_KILLS=10000`,
//! `TXIMG_CUTS=500` and `TXIMG_BATCH_KILLS=200` ask for so many.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

mod jobs;
mod power;
mod thousand;
mod tracer;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::oracle::oracle;
use testkit::tximg::binary;

use jobs::{JOBS, Job, Stage, look};

/// Kills in an ordinary run.
const KILLS: u64 = 240;
/// Kills of a batch over a thousand images in an ordinary run.
const BATCH_KILLS: u64 = 3;
/// Power cuts in an ordinary run, on each filesystem.
const CUTS: u64 = 20;

fn main() -> ExitCode {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return ExitCode::SUCCESS;
    }
    std::fs::create_dir_all(catalog().parent().unwrap()).unwrap();
    let kills = number("TXIMG_KILLS", KILLS);
    let share = kills.div_ceil(JOBS.len() as u64);
    let mut total = Tally::default();
    println!("{:<18} {:>6} {:>6} {:>6} {:>6}", "command", "calls", "kills", "old", "new");
    for &job in JOBS {
        let (calls, tally) = torment(job, share);
        println!("{:<18} {calls:>6} {:>6} {:>6} {:>6}", job.name, tally.kills, tally.old, tally.new);
        total = total.plus(tally);
    }
    total = total.plus(thousand::run(number("TXIMG_BATCH_KILLS", BATCH_KILLS)));
    total = total.plus(power::run(number("TXIMG_CUTS", CUTS)));
    std::fs::remove_dir_all(catalog().parent().unwrap()).unwrap();
    println!("killed: {} kills, {} old, {} new, {} wrong", total.kills, total.old, total.new, total.wrong);
    if total.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number in an environment variable, if there is one.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What became of the images.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    kills: u64,
    old: u64,
    new: u64,
    wrong: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            old: self.old + other.old,
            new: self.new + other.new,
            wrong: self.wrong + other.wrong,
        }
    }
}

/// Kills a command so many times: half of them at calls, half at moments.
fn torment(job: Job, kills: u64) -> (u64, Tally) {
    let mut stage = Stage::new(job);
    let room = ready(&stage);
    let whole = tracer::run(&mut command(job, room.path()), u64::MAX).unwrap();
    assert!(whole.ended_well, "{} fails undisturbed", job.name);
    stage.learn(room.path());
    let duration = undisturbed(&stage);
    let mut tally = Tally::default();
    let at_calls = (kills / 2).max(whole.calls.min(kills));
    for number in 0..at_calls {
        // At each call once, or at some of them evenly.
        let call =
            if at_calls >= whole.calls { number % whole.calls } else { number * whole.calls / at_calls };
        let room = ready(&stage);
        let ended = tracer::run(&mut command(job, room.path()), call + 1).unwrap();
        let when = format!("{} killed at call {} of {}", job.name, call + 1, whole.calls);
        verdict(&stage, room.path(), &when, ended.ended_well, &mut tally);
    }
    for number in at_calls..kills {
        let room = ready(&stage);
        let delay = duration.mul_f64(((number * 37) % 101) as f64 / 100.0);
        let ended_well = kill_after(job, room.path(), delay);
        verdict(&stage, room.path(), &format!("{} killed after {delay:?}", job.name), ended_well, &mut tally);
    }
    (whole.calls, tally)
}

/// How long the command takes.
fn undisturbed(stage: &Stage) -> Duration {
    let room = ready(stage);
    let mut command = command(stage.job, room.path());
    let started = Instant::now();
    assert!(command.status().unwrap().success(), "{} fails undisturbed", stage.job.name);
    started.elapsed()
}

fn command(job: Job, room: &Path) -> Command {
    tximg(job.line, room)
}

/// A command of tximg.
fn tximg(line: &str, room: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(testkit::words::split(line)).current_dir(room).env("TXIMG_CATALOG", catalog());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The catalog of all commands, which is killed along with them.
fn catalog() -> PathBuf {
    std::env::temp_dir().join(format!("tximg-killed-{}", std::process::id())).join("catalog.sqlite")
}

/// A copy of a job's files.
fn ready(stage: &Stage) -> TempDir {
    let room = stage.room();
    prepare(stage.job, room.path());
    room
}

/// Lets the catalog know who needs whom, where that matters.
fn prepare(job: Job, room: &Path) {
    if job.name == "mv" {
        assert!(tximg("catalog scan .", room).status().unwrap().success(), "a directory can be scanned");
    }
}

/// Whether the command ended by itself, and well, before it was killed.
fn kill_after(job: Job, room: &Path, delay: Duration) -> bool {
    let mut child = command(job, room).spawn().unwrap();
    std::thread::sleep(delay);
    let _ = child.kill();
    child.wait().unwrap().success()
}

/// What the images are after a kill.
fn verdict(stage: &Stage, room: &Path, when: &str, ended_well: bool, tally: &mut Tally) {
    tally.kills += 1;
    let mut complaints = foreign_complaints(stage, room);
    recover(stage, room);
    let found = look(room, stage.job);
    if found == stage.new {
        tally.new += 1;
    } else if found == stage.old && !ended_well {
        tally.old += 1;
    } else {
        complaints.push("after recovery the images are neither old nor new".to_owned());
    }
    let litter = stage.litter(room);
    if !litter.is_empty() {
        complaints.push(format!("{litter:?} stay behind"));
    }
    tally.wrong += u64::from(!complaints.is_empty());
    complaints.iter().for_each(|complaint| println!("WRONG: {when}: {complaint}"));
}

/// What is wrong in the eyes of a program that knows nothing of recovery.
fn foreign_complaints(stage: &Stage, room: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let found = look(room, stage.job);
    let images = stage.job.images.iter().enumerate();
    for (index, name) in images.filter(|(_, name)| stage.job.promises(name)) {
        let is_new = found[index] == stage.new[index];
        if !is_new && found[index] != stage.old[index] {
            complaints.push(format!("{name} is neither old nor new before recovery"));
        }
        let must_be_sound = is_new || !stage.job.name.starts_with("check");
        if room.join(name).exists() && must_be_sound {
            let check =
                Command::new(&oracle().img).args(["check", "-q", name]).current_dir(room).status().unwrap();
            if !check.success() {
                complaints.push(format!("qemu-img check finds {name} not sound before recovery"));
            }
        }
    }
    complaints
}

/// Lets the next command meet the images.
fn recover(stage: &Stage, room: &Path) {
    // A pointer to a journal that was never decided goes when its image is met once more.
    let rounds = if stage.job.images.len() > 1 { 2 } else { 1 };
    for name in stage.job.images.iter().cycle().take(rounds * stage.job.images.len()) {
        let _ = tximg(&format!("info {name}"), room).status().unwrap();
    }
}
