//! What a power cut can leave.
//!
//! At a chosen moment, everything that a sync had settled is on the disk. Each later change may be
//! there or not, independently of the others, and a write may be there in some of its 512-byte
//! sectors only, or with its length and without its bytes.

use super::SimFs;
use super::choice::{CrashId, CrashPlan, Kept, Pending, Tear, choose};
use super::log::{CachedPages, Event};
use super::world::{History, Tree, World};

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;
/// The larger unit in which a page cache hands writes to the disk.
const SECTORS_IN_PAGE: u64 = crate::PAGE as u64 / SECTOR;

/// One thing that a power cut could have left.
#[derive(Debug)]
pub struct CrashState {
    /// Its name.
    pub id: CrashId,
    /// The tree, as the next program to start finds it.
    pub fs: SimFs,
}

/// Lists what a power cut could have left; from [`SimFs::crash_states`].
#[derive(Debug)]
pub struct CrashStates {
    history: History,
    plan: CrashPlan,
    stride: usize,
    moment: Moment,
    choices: std::vec::IntoIter<CrashId>,
}

impl CrashStates {
    pub(super) fn new(history: History, plan: CrashPlan) -> Self {
        let expected = history.log.len().saturating_add(1).saturating_mul(plan.per_moment);
        let stride = expected.div_ceil(plan.total.max(1)).max(1);
        let moment = Moment::at_start(&history);
        let choices = moment.choices(&history, plan);
        Self { history, plan, stride, moment, choices }
    }
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        let last = self.history.log.len();
        loop {
            if let Some(id) = self.choices.next() {
                return self.moment.state(&self.history, id);
            }
            if self.moment.number == last {
                return None;
            }
            self.moment.advance(&self.history, self.stride);
            self.choices = self.moment.choices(&self.history, self.plan);
        }
    }
}

/// The state of that name, if the log has it.
pub(super) fn replay(history: &History, id: &CrashId) -> Option<CrashState> {
    if id.moment > history.log.len() {
        return None;
    }
    let mut moment = Moment::at_start(history);
    moment.advance(history, id.moment);
    moment.state(history, id.clone())
}

/// What is on the disk for certain at the end.
pub(super) fn settled(history: &History) -> Tree {
    let mut moment = Moment::at_start(history);
    moment.advance(history, history.log.len());
    moment.settled
}

/// What is on the disk for certain, and what may be, after so many events.
#[derive(Debug)]
struct Moment {
    number: usize,
    settled: Tree,
    pending: Vec<Pending>,
}

impl Moment {
    fn at_start(history: &History) -> Self {
        Self { number: 0, settled: history.base.clone(), pending: Vec::new() }
    }

    /// Lets so many more events happen, or as many as there are.
    fn advance(&mut self, history: &History, steps: usize) {
        let end = self.number.saturating_add(steps).min(history.log.len());
        for index in self.number..end {
            self.happen(history, index);
        }
        self.number = end;
    }

    fn happen(&mut self, history: &History, index: usize) {
        let event = &history.log[index];
        if event.is_change() {
            let grows = matches!(event, Event::Write { .. });
            self.pending.push(Pending { index, sectors: sectors(event), grows, doomed: false });
            return;
        }
        if let Event::SyncFailed { file, pages } = event {
            let concerns = |change: &Pending| history.log[change.index].changed_file() == Some(*file);
            match pages {
                CachedPages::Reverted => self.pending.retain(|change| !concerns(change)),
                CachedPages::Kept => {
                    self.pending.iter_mut().filter(|change| concerns(change)).for_each(|c| c.doomed = true);
                }
            }
            return;
        }
        let settled = &mut self.settled;
        self.pending.retain(|change| {
            let earlier = &history.log[change.index];
            let settles = !change.doomed && event.settles(earlier);
            if settles {
                settled.apply(earlier);
            }
            !settles
        });
    }

    /// Only the end of the log is listed completely: what lacks the newest change was listed before.
    fn choices(&self, history: &History, plan: CrashPlan) -> std::vec::IntoIter<CrashId> {
        let is_newest = |change: &Pending| change.index + 1 == self.number;
        let needs_newest = self.number < history.log.len() && self.pending.last().is_some_and(is_newest);
        choose(self.number, &self.pending, needs_newest, plan).into_iter()
    }

    fn state(&self, history: &History, id: CrashId) -> Option<CrashState> {
        let kept = id.kept(self.pending.len())?;
        let mut tree = self.settled.clone();
        for (change, kept) in self.pending.iter().zip(kept) {
            apply(&mut tree, &history.log[change.index], kept);
        }
        Some(CrashState { id, fs: SimFs::from_world(World::after_crash(tree)) })
    }
}

/// Repeats what was kept of an event.
fn apply(tree: &mut Tree, event: &Event, kept: Kept) {
    match (event, kept) {
        (_, Kept::Lost) => {}
        (Event::Write { file, offset, data }, Kept::Length) => {
            tree.grow(*file, offset + data.len() as u64);
        }
        (Event::Write { .. }, Kept::Torn(tear)) => write_torn(tree, event, tear),
        _ => tree.apply(event),
    }
}

/// Writes some sectors of what an event wrote.
fn write_torn(tree: &mut Tree, event: &Event, tear: Tear) {
    let Event::Write { file, offset, data } = event else { return };
    let count = sectors(event);
    let first = offset / SECTOR;
    let pages = (first + count).div_ceil(SECTORS_IN_PAGE) - first / SECTORS_IN_PAGE;
    for index in 0..count {
        let page = (first + index) / SECTORS_IN_PAGE - first / SECTORS_IN_PAGE;
        if tear.keeps((index, count), (page, pages)) {
            let start = ((first + index) * SECTOR).max(*offset);
            let end = ((first + index + 1) * SECTOR).min(offset + data.len() as u64);
            tree.write(*file, start, &data[(start - offset) as usize..(end - offset) as usize]);
        }
    }
}

/// How many sectors an event writes to.
fn sectors(event: &Event) -> u64 {
    match event {
        Event::Write { offset, data, .. } => {
            (offset + data.len() as u64).div_ceil(SECTOR).saturating_sub(offset / SECTOR)
        }
        _ => 1,
    }
}
