//! Every state that one scenario can leave behind, and what became of the images in each.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::sim::{CrashPlan, Frozen, Lasting};
use journal::{Fs, SimFs};
use testkit::judge::{Judge, Opinion};

use crate::broken::{BrokenFs, Layer, Rule};
use crate::meddle::ELSEWHERE;
use crate::place::{FAULTS, Injected, Place};
use crate::scenario::{Foreign, Scenario, Watched};
use crate::tally::Tally;

/// How much of a scenario is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Crash states of the command itself.
    pub states: usize,
    /// Crash states of recoveries.
    pub nested: usize,
    /// Crash states to which somebody does something before recovery.
    pub meddled: usize,
    /// Commands of which a call fails.
    pub faults: usize,
}

impl Budget {
    /// About so many states in all.
    pub fn of(total: usize) -> Self {
        let faults = (total / 40).clamp(4, 4000);
        Self { states: total * 3 / 4, nested: total / 4, meddled: (total / 40).max(8), faults }
    }
}

/// What went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which promise was broken.
    pub promise: Promise,
    /// The scenario's name, `@`, and the place in it.
    pub id: String,
    /// In words.
    pub what: String,
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// The command works at all.
    Works,
    /// After recovery the images are old or new, all of them.
    Atomic,
    /// What is left is sound, without leaks.
    Sound,
    /// Exit status 0 means new.
    Durable,
    /// Recovery succeeds, and ends the same way however often it is interrupted.
    Recoverable,
    /// A program that knows nothing of recovery finds old or new.
    Foreign,
    /// Recovery does not touch what somebody else has made since the crash.
    Careful,
    /// No journal or temporary file stays behind.
    Tidy,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}: {}", self.promise, self.id, self.what)?;
        write!(f, "  again: cargo test -p testkit --test crash -- --replay '{}'", self.id)
    }
}

/// How often more states are asked for at each moment, until there are enough.
const ROUNDS: u64 = 5;

/// Which of the two states that a command may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Old,
    New,
}

/// How a run of the command ended, as far as it binds what may be found afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was interrupted, or it failed.
    Otherwise,
    /// With success.
    Well,
}

/// Looks at one scenario.
pub struct Explorer<'a> {
    pub scenario: &'a Scenario,
    pub judges: Vec<Judge>,
    /// What the images are before, and after.
    pub old: Vec<Opinion>,
    pub new: Vec<Opinion>,
    /// The images whose own files are different afterwards.
    pub changed: Vec<Watched>,
    /// The names that may be there: those before, and those after.
    names: BTreeSet<PathBuf>,
    /// A rule that the files break under the command, to see whether that shows.
    pub broken: Option<Rule>,
    /// What was seen already.
    seen: HashSet<u64>,
    pub tally: Tally,
}

impl<'a> Explorer<'a> {
    /// Runs the scenario once, undisturbed, to know its two states.
    pub fn new(scenario: &'a Scenario) -> Result<Self, Failure> {
        let mut explorer = Self {
            scenario,
            judges: scenario.judges(),
            old: Vec::new(),
            new: Vec::new(),
            changed: Vec::new(),
            names: scenario.before.names().map(Path::to_owned).collect(),
            broken: None,
            seen: HashSet::new(),
            tally: Tally::default(),
        };
        explorer.old = explorer.opinions(&scenario.before);
        let fs = scenario.before.thaw();
        let start = Place::default();
        if let Err(error) = explorer.run(&fs) {
            return Err(explorer.failure(Promise::Works, &start, error.report()));
        }
        scenario
            .recover(Arc::new(fs.clone()))
            .map_err(|error| explorer.failure(Promise::Recoverable, &start, reason(error)))?;
        let after = fs.freeze();
        explorer.new = explorer.opinions(&after);
        let is_changed = |image: &&Watched| !image.is_same_in(&scenario.before, &after);
        explorer.changed = scenario.images.iter().filter(is_changed).cloned().collect();
        explorer.names.extend(after.names().map(Path::to_owned));
        for opinion in explorer.new.clone().into_iter().flatten() {
            if let Some(objection) = opinion.map_or_else(Some, |verdict| verdict.objection()) {
                return Err(explorer.failure(Promise::Sound, &start, objection));
            }
        }
        if explorer.old == explorer.new {
            return Err(explorer.failure(Promise::Works, &start, "it changes nothing".to_owned()));
        }
        explorer.tally.scenarios = 1;
        Ok(explorer)
    }

    /// Lets the command break a rule from now on.
    pub fn breaking(mut self, rule: Rule) -> Self {
        self.broken = Some(rule);
        self
    }

    /// Runs the command.
    fn run(&self, fs: &SimFs) -> formats::Result<()> {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        match self.broken.map(|rule| (rule, rule.layer())) {
            None | Some((_, Layer::Recovery)) => self.scenario.run(fs),
            Some((rule, Layer::Files)) => self.scenario.run(Arc::new(BrokenFs::new(fs, rule))),
            Some((rule, Layer::Formats)) => {
                self.scenario.run_through(fs, |transaction| Arc::new(BrokenFs::new(transaction, rule)))
            }
        }
    }

    pub fn failure(&self, promise: Promise, place: &Place, what: String) -> Failure {
        Failure { promise, id: format!("{}@{place}", self.scenario.name), what }
    }

    pub fn opinions(&mut self, tree: &Frozen) -> Vec<Opinion> {
        self.judges.iter_mut().map(|judge| judge.judge(tree).clone()).collect()
    }

    /// Looks at as much as the budget allows.
    pub fn explore(&mut self, budget: Budget) -> Result<(), Failure> {
        let fs = self.scenario.before.thaw();
        let _ = self.run(&fs);
        let start = Place::default();
        let mut per_moment = (budget.states / (fs.log().len() + 1)).max(4);
        for round in 0..ROUNDS {
            let before = self.tally.states;
            let plan = CrashPlan { per_moment, total: usize::MAX, seed: round };
            self.crashes(&fs, &start, plan, budget)?;
            if self.tally.states >= budget.states || self.tally.states == before {
                break;
            }
            per_moment *= 3;
        }
        self.faults(fs.calls(), budget.faults)
    }

    /// Looks at one place.
    pub fn replay(&mut self, place: &Place) -> Result<Side, Failure> {
        let fs = self.scenario.before.thaw();
        let mut ended = Ended::Well;
        if let Some(fault) = place.fault {
            fs.fail_at(fault.call, FAULTS[fault.kind].1, fault.lasting);
        }
        if self.run(&fs).is_err() {
            ended = Ended::Otherwise;
        }
        let mut here = Place { fault: place.fault, ..Place::default() };
        let Some((first, later)) = place.crashes.split_first() else {
            return self.look_alive(&fs, &here, ended);
        };
        let unknown = |place: &Place| self.failure(Promise::Works, place, "no such state".to_owned());
        let end = fs.log().len();
        here = here.then(first);
        let mut state = fs.crash_state(first).ok_or_else(|| unknown(&here))?.fs;
        for crash in later {
            let _ = self.recover(&state);
            here = here.then(crash);
            state = state.crash_state(crash).ok_or_else(|| unknown(&here))?.fs;
        }
        let ended = if first.moment() == end { ended } else { Ended::Otherwise };
        let tree = state.freeze();
        let side = self.look(&state, &here, ended)?;
        match place.meddled {
            None => Ok(side),
            Some(meddled) => {
                self.meddle(&tree, &Place { meddled: Some(meddled), ..here }, side).map(|()| side)
            }
        }
    }

    /// Every state that a power cut can leave of a run that ended well, as far as they are new.
    fn crashes(&mut self, fs: &SimFs, place: &Place, plan: CrashPlan, budget: Budget) -> Result<(), Failure> {
        let end = fs.log().len();
        for state in fs.crash_states(plan) {
            let at_end = state.id.moment() == end;
            // A state of an earlier moment may be old, and the same at the end must not be.
            if !self.seen.insert(state.fs.freeze().digest() ^ u64::from(at_end)) {
                continue;
            }
            self.tally.states += 1;
            let here = place.then(&state.id);
            let ended = if at_end { Ended::Well } else { Ended::Otherwise };
            self.look_foreign(&state.fs, &here)?;
            let tree = state.fs.freeze();
            let side = self.look(&state.fs, &here, ended)?;
            // As many early as late.
            if self.tally.meddled * budget.states < self.tally.states * budget.meddled {
                let meddled = Some(self.next_meddling());
                self.meddle(&tree, &Place { meddled, ..here.clone() }, side)?;
            }
            if !state.fs.log().is_empty() && self.tally.nested < budget.nested {
                self.nested(&state.fs, &here, side, (budget.nested / 8).max(8))?;
            }
            // The first round looks at every moment, however few states are wanted.
            if plan.seed > 0 && self.tally.states >= budget.states {
                break;
            }
        }
        Ok(())
    }

    /// Every state that a power cut can leave of a recovery, which has just run.
    fn nested(&mut self, fs: &SimFs, place: &Place, side: Side, states: usize) -> Result<(), Failure> {
        for state in fs.crash_states(plan(fs.log().len(), states, self.tally.nested)) {
            if !self.seen.insert(state.fs.freeze().digest() ^ 2) {
                continue;
            }
            self.tally.nested += 1;
            let here = place.then(&state.id);
            let again = self.look(&state.fs, &here, Ended::Otherwise)?;
            if again != side {
                let what =
                    format!("recovery went to the {side:?} state, and after a crash to the {again:?} one");
                return Err(self.failure(Promise::Recoverable, &here, what));
            }
        }
        Ok(())
    }

    /// Runs the command with faults, and looks at what each leaves.
    fn faults(&mut self, calls: u64, budget: usize) -> Result<(), Failure> {
        let ways = calls as usize * FAULTS.len() * 2;
        let step = ways.div_ceil(budget.max(1)).max(1);
        // A step that shares no factor with the number of faults meets all of them.
        let step = (step..).find(|step| step % 2 != 0 && step % FAULTS.len() != 0).unwrap_or(step);
        for way in (0..ways).step_by(step) {
            let lasting = if way % 2 == 0 { Lasting::Once } else { Lasting::ForEver };
            let kind = way / 2 % FAULTS.len();
            let injected = Injected { call: (way / 2 / FAULTS.len()) as u64, kind, lasting };
            self.fault(injected)?;
        }
        Ok(())
    }

    fn fault(&mut self, injected: Injected) -> Result<(), Failure> {
        let fs = self.scenario.before.thaw();
        fs.fail_at(injected.call, FAULTS[injected.kind].1, injected.lasting);
        let ended = if self.run(&fs).is_ok() { Ended::Well } else { Ended::Otherwise };
        self.tally.faults += 1;
        let place = Place { fault: Some(injected), ..Place::default() };
        let log_len = fs.log().len();
        for state in fs.crash_states(CrashPlan { per_moment: 12, total: 12, seed: injected.call }) {
            if state.id.moment() == log_len && self.seen.insert(state.fs.freeze().digest() ^ 3) {
                self.tally.states += 1;
                let here = place.then(&state.id);
                self.look_foreign(&state.fs, &here)?;
                self.look(&state.fs, &here, ended)?;
            }
        }
        self.look_alive(&fs, &place, ended).map(drop)
    }

    /// Looks at what a run left while the machine lives.
    fn look_alive(&mut self, fs: &SimFs, place: &Place, ended: Ended) -> Result<Side, Failure> {
        let healed = fs.freeze().thaw();
        self.look(&healed, place, ended)
    }

    /// Recovers, and looks at what is there then.
    pub fn look(&mut self, fs: &SimFs, place: &Place, ended: Ended) -> Result<Side, Failure> {
        self.meet_each(&fs.freeze(), place)?;
        let recovered = self.recover(fs);
        recovered.map_err(|error| self.failure(Promise::Recoverable, place, reason(error)))?;
        let tree = fs.freeze();
        let (mut is_old, mut is_new) = (true, true);
        for (index, judge) in self.judges.iter_mut().enumerate() {
            let found = judge.judge(&tree);
            is_old &= *found == self.old[index];
            is_new &= *found == self.new[index];
        }
        if let Some(litter) = tree.names().find(|name| !self.may_be_there(name)) {
            let what = format!("{} stays behind", litter.display());
            return Err(self.failure(Promise::Tidy, place, what));
        }
        if is_new {
            return Ok(Side::New);
        }
        if !is_old {
            let found = self.opinions(&tree);
            return Err(self.torn(&found, place));
        }
        if ended == Ended::Well {
            let what = "the command succeeded, and the images are old".to_owned();
            return Err(self.failure(Promise::Durable, place, what));
        }
        Ok(Side::Old)
    }

    fn recover(&self, fs: &SimFs) -> journal::Result<()> {
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        self.scenario.recover(match self.broken {
            Some(Rule::ChecksumsAreChecked) => Arc::new(BrokenFs::new(fs, Rule::ChecksumsAreChecked)),
            _ => fs,
        })
    }

    fn may_be_there(&self, name: &Path) -> bool {
        self.names.contains(name) || name.starts_with(ELSEWHERE)
    }

    /// Looks with the eyes of a program that knows nothing of recovery.
    fn look_foreign(&mut self, fs: &SimFs, place: &Place) -> Result<(), Failure> {
        if self.scenario.foreign == Foreign::Anything {
            return Ok(());
        }
        let tree = fs.freeze();
        for index in 0..self.judges.len() {
            if !self.judges[index].is_qcow2() {
                continue;
            }
            let (old, new) = (&self.old[index], &self.new[index]);
            let found = self.judges[index].judge(&tree);
            let is_refused = matches!(found, Some(Err(_)));
            if is_refused || found == old || found == new {
                continue;
            }
            let what = describe(found, old, new);
            let what = format!("{} is {what}", self.judges[index].path().display());
            return Err(self.failure(Promise::Foreign, place, what));
        }
        self.tally.foreign += 1;
        Ok(())
    }

    pub fn torn(&self, found: &[Opinion], place: &Place) -> Failure {
        let mut promise = Promise::Atomic;
        let mut parts = Vec::new();
        for (index, opinion) in found.iter().enumerate() {
            let (old, new) = (&self.old[index], &self.new[index]);
            let objection = opinion.as_ref().and_then(|opinion| opinion.as_ref().ok()?.objection());
            if objection.is_some() && opinion != old {
                promise = Promise::Sound;
            }
            parts.push(format!("{} is {}", self.judges[index].path().display(), describe(opinion, old, new)));
        }
        self.failure(promise, place, parts.join(", "))
    }
}

/// An error of the files, as the program tells it.
pub fn reason(error: journal::Error) -> String {
    formats::Error::from(error).report()
}

/// An opinion in few words.
pub fn describe(found: &Opinion, old: &Opinion, new: &Opinion) -> String {
    let verdict = match found {
        _ if found == old => return "old".to_owned(),
        _ if found == new => return "new".to_owned(),
        None => return "gone".to_owned(),
        Some(Err(error)) => return format!("unreadable: {error}"),
        Some(Ok(verdict)) => verdict,
    };
    if let Some(objection) = verdict.objection() {
        return format!("not sound: {objection}");
    }
    let differs = |other: &Opinion| match other {
        Some(Ok(other)) => other.differences(verdict).join(" and "),
        _ => "everything".to_owned(),
    };
    format!("neither old (another {}) nor new (another {})", differs(old), differs(new))
}

/// A plan for so many states over a log of that length.
fn plan(events: usize, states: usize, seed: usize) -> CrashPlan {
    let per_moment = (states / (events + 1)).max(6);
    CrashPlan { per_moment, total: states.max(1), seed: seed as u64 }
}
