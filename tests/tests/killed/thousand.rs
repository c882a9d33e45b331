//! One batch over a thousand overlays, killed: all of them are old, or all are new.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::judge::Opinion;
use testkit::oracle::oracle;
use testkit::script;

use crate::jobs::{judged, names};
use crate::{Tally, tracer, tximg};

/// Overlays in the batch.
const OVERLAYS: usize = 1000;
/// What they start from.
const SETUP: &str = "
    img create -q -f qcow2 -o cluster_size=4k other.qcow2 1M
    io -f qcow2 other.qcow2 | write -P 8 100k 300k
    img create -q -f qcow2 -o cluster_size=4k base.qcow2 1M
    io -f qcow2 base.qcow2 | write -P 1 0 64k
    img create -q -f qcow2 -o cluster_size=4k -b base.qcow2 -F qcow2 pattern 1M
    io -f qcow2 pattern | write -P 2 8k 16k
";

/// Kills the batch so many times: at every kind of call, and at moments in between.
pub fn run(kills: u64) -> Tally {
    if kills == 0 {
        return Tally::default();
    }
    let mut stage = Stage::new();
    let (calls, duration) = stage.learn();
    let mut tally = Tally::default();
    for number in 0..kills {
        let room = stage.room();
        let mut command = tximg("batch steps", room.path());
        // The golden ratio spreads numbers evenly, however many there are.
        let share = (number as f64 * 0.618_033_988_7 + 0.3).fract();
        let (ended_well, when) = if number % 2 == 0 {
            let call = (share * calls as f64) as u64;
            let ended = tracer::run(&mut command, call + 1).unwrap();
            (ended.ended_well, format!("at call {call} of {calls}"))
        } else {
            let delay = duration.mul_f64(share);
            let mut child = command.spawn().unwrap();
            std::thread::sleep(delay);
            let _ = child.kill();
            (child.wait().unwrap().success(), format!("after {delay:?}"))
        };
        stage.verdict(room.path(), &when, ended_well, &mut tally);
    }
    println!(
        "a batch over {OVERLAYS} overlays, {calls} calls: {} kills, {} old, {} new, {} mixtures",
        tally.kills, tally.old, tally.new, tally.wrong
    );
    tally
}

/// The files of the batch, and what they are before and after.
struct Stage {
    template: TempDir,
    images: Vec<String>,
    old: Vec<Opinion>,
    new: Vec<Opinion>,
}

impl Stage {
    fn new() -> Self {
        let template = TempDir::new().unwrap();
        script::run(SETUP, template.path());
        let mut steps = String::new();
        let mut images = Vec::new();
        for number in 0..OVERLAYS {
            let name = format!("overlay-{number:03}.qcow2");
            let line = match number % 4 {
                0 => format!("create -q -f qcow2 -o cluster_size=4k -b base.qcow2 -F qcow2 {name}"),
                1 => format!("rebase -F qcow2 -b other.qcow2 {name}"),
                2 => format!("snapshot -c one {name}"),
                _ => format!("resize -q {name} +1M"),
            };
            writeln!(steps, "{line}").unwrap();
            if number % 4 != 0 {
                fs::copy(template.path().join("pattern"), template.path().join(&name)).unwrap();
            }
            images.push(name);
        }
        fs::write(template.path().join("steps"), steps).unwrap();
        let old = judged(template.path(), &images);
        Self { template, images, old, new: Vec::new() }
    }

    /// In memory if that can be had: a kill needs no disk, and a thousand images many syncs.
    fn room(&self) -> TempDir {
        let room = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        for name in names(self.template.path()) {
            fs::copy(self.template.path().join(&name), room.path().join(&name)).unwrap();
        }
        room
    }

    /// Runs the batch undisturbed; says how many changing calls it makes, and how long it takes.
    fn learn(&mut self) -> (u64, Duration) {
        let room = self.room();
        let whole = tracer::run(&mut tximg("batch steps", room.path()), u64::MAX).unwrap();
        assert!(whole.ended_well, "the batch fails undisturbed");
        self.new = judged(room.path(), &self.images);
        let changed = self.old.iter().zip(&self.new).filter(|(old, new)| old != new).count();
        assert_eq!(changed, OVERLAYS, "the batch changes every overlay");
        let room = self.room();
        let started = Instant::now();
        assert!(tximg("batch steps", room.path()).status().unwrap().success());
        (whole.calls, started.elapsed())
    }

    fn verdict(&self, room: &Path, when: &str, ended_well: bool, tally: &mut Tally) {
        tally.kills += 1;
        let mut complaints = self.foreign_complaints(room);
        // Whoever meets one of the images finishes them all.
        let met = &self.images[tally.kills as usize * 7 % OVERLAYS];
        let _ = tximg(&format!("info {met}"), room).status().unwrap();
        let found = judged(room, &self.images);
        if found == self.new {
            tally.new += 1;
        } else if found == self.old && !ended_well {
            tally.old += 1;
        } else {
            let count =
                |wanted: &[Opinion]| found.iter().zip(wanted).filter(|(one, other)| one == other).count();
            complaints.push(format!("{} images are old and {} new", count(&self.old), count(&self.new)));
        }
        let _ = tximg("recover --scan .", room).status().unwrap();
        let known = |name: &str| name == "pattern" || name == "steps" || name.ends_with(".qcow2");
        let litter: Vec<_> =
            names(room).into_iter().filter(|name| !name.to_str().is_some_and(known)).collect();
        if !litter.is_empty() {
            complaints.push(format!("{} files stay behind, such as {:?}", litter.len(), litter[0]));
        }
        tally.wrong += u64::from(!complaints.is_empty());
        complaints.iter().for_each(|complaint| println!("WRONG: a batch killed {when}: {complaint}"));
    }

    /// What is wrong in the eyes of a program that knows nothing of recovery.
    fn foreign_complaints(&self, room: &Path) -> Vec<String> {
        let found = judged(room, &self.images);
        let torn = (0..OVERLAYS).filter(|n| found[*n] != self.old[*n] && found[*n] != self.new[*n]);
        let mut complaints: Vec<_> =
            torn.map(|n| format!("{} is neither old nor new before recovery", self.images[n])).collect();
        for name in self.images.iter().step_by(OVERLAYS / 7).filter(|name| room.join(name).exists()) {
            let check = Command::new(&oracle().img).args(["check", "-q", name]).current_dir(room).status();
            if !check.unwrap().success() {
                complaints.push(format!("qemu-img check finds {name} not sound before recovery"));
            }
        }
        complaints
    }
}
