//! What a power cut can leave.
//!
//! At a chosen moment, everything that a sync had settled is on the disk. Each later change may be
//! there or not, independently of the others, and a write may be there in some of its 512-byte
//! sectors only.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::SimFs;
use super::log::Event;
use super::world::{History, Tree, World};

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// How many states are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPlan {
    /// At most so many at one moment of the log.
    pub per_moment: usize,
    /// At most about so many in all; moments are left out evenly, never the last one.
    pub total: usize,
    /// Where the choice among too many subsets starts.
    pub seed: u64,
}

impl Default for CrashPlan {
    fn default() -> Self {
        Self { per_moment: 32, total: 10_000, seed: 0 }
    }
}

/// The name of a crash state: print it, and give it to [`SimFs::crash_state`] to see it again.
///
/// It reads `moment:choice`, where the choice has one letter for each change that was not synced:
/// `0` lost, `1` whole, and of a torn write `h` the first half, `t` the last half, `o` every other
/// sector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrashId {
    moment: usize,
    kept: Vec<Kept>,
}

impl CrashId {
    /// How many events of the log had happened.
    pub fn moment(&self) -> usize {
        self.moment
    }
}

/// What is left of a change that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kept {
    Lost,
    Whole,
    Head,
    Tail,
    Odd,
}

impl Kept {
    const LETTERS: [(Self, char); 5] =
        [(Self::Lost, '0'), (Self::Whole, '1'), (Self::Head, 'h'), (Self::Tail, 't'), (Self::Odd, 'o')];
    const TORN: [Self; 3] = [Self::Head, Self::Tail, Self::Odd];

    /// Whether the sector with that number, of so many, is there.
    fn keeps(self, index: u64, sectors: u64) -> bool {
        match self {
            Self::Lost => false,
            Self::Whole => true,
            Self::Head => index < sectors / 2,
            Self::Tail => index >= sectors / 2,
            Self::Odd => index % 2 == 1,
        }
    }
}

impl fmt::Display for CrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter =
            |kept: &Kept| Kept::LETTERS.iter().find(|(of, _)| of == kept).map_or('?', |(_, letter)| *letter);
        write!(f, "{}:{}", self.moment, self.kept.iter().map(letter).collect::<String>())
    }
}

impl FromStr for CrashId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (moment, choice) = text.split_once(':')?;
            let kept = |letter| Kept::LETTERS.iter().find(|(_, of)| *of == letter).map(|(kept, _)| *kept);
            let moment = moment.parse().ok()?;
            let kept = choice.chars().map(kept).collect::<Option<Vec<_>>>()?;
            Some(Self { moment, kept })
        };
        parse().ok_or_else(|| format!("'{text}' does not name a crash state"))
    }
}

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
    moment: usize,
    choices: std::vec::IntoIter<Vec<Kept>>,
}

impl CrashStates {
    pub(super) fn new(history: History, plan: CrashPlan) -> Self {
        let expected = history.log.len().saturating_add(1).saturating_mul(plan.per_moment);
        let stride = expected.div_ceil(plan.total.max(1)).max(1);
        let choices = choose(&history, 0, plan).into_iter();
        Self { history, plan, stride, moment: 0, choices }
    }
}

impl Iterator for CrashStates {
    type Item = CrashState;

    fn next(&mut self) -> Option<CrashState> {
        let last = self.history.log.len();
        loop {
            if let Some(kept) = self.choices.next() {
                let id = CrashId { moment: self.moment, kept };
                return replay(&self.history, &id);
            }
            if self.moment == last {
                return None;
            }
            self.moment = (self.moment + self.stride).min(last);
            self.choices = choose(&self.history, self.moment, self.plan).into_iter();
        }
    }
}

/// The state of that name, if the log has it.
pub(super) fn replay(history: &History, id: &CrashId) -> Option<CrashState> {
    let happened = history.log.get(..id.moment)?;
    let pending = pending(happened);
    if pending.len() != id.kept.len() {
        return None;
    }
    let mut tree = (*history.base).clone();
    let mut left = pending.iter().zip(&id.kept).peekable();
    for (index, event) in happened.iter().enumerate() {
        let kept = left.next_if(|(of, _)| **of == index).map_or(Kept::Whole, |(_, kept)| *kept);
        apply(&mut tree, event, kept);
    }
    Some(CrashState { id: id.clone(), fs: SimFs::from_world(World::after_crash(tree)) })
}

/// Repeats what was kept of an event.
fn apply(tree: &mut Tree, event: &Event, kept: Kept) {
    match (event, kept) {
        (_, Kept::Lost) => {}
        (Event::Write { file, offset, data }, Kept::Head | Kept::Tail | Kept::Odd) => {
            let sectors = sectors(event);
            let mut done = 0;
            for index in 0..sectors {
                let at = offset + done as u64;
                let end = (done + (SECTOR - at % SECTOR) as usize).min(data.len());
                if kept.keeps(index, sectors) {
                    tree.apply(&Event::Write { file: *file, offset: at, data: data[done..end].into() });
                }
                done = end;
            }
        }
        _ => tree.apply(event),
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

/// The changes that no sync has settled, as places in the log.
fn pending(happened: &[Event]) -> Vec<usize> {
    let mut pending: Vec<usize> = Vec::new();
    for (index, event) in happened.iter().enumerate() {
        if event.is_change() {
            pending.push(index);
        } else {
            pending.retain(|&earlier| !event.settles(&happened[earlier]));
        }
    }
    pending
}

/// The choices among what is pending at a moment.
///
/// Where the moment's last event is a change, it is always kept in part: without it, the state is
/// one of the moment before. Only the end of the log is listed completely.
fn choose(history: &History, moment: usize, plan: CrashPlan) -> Vec<Vec<Kept>> {
    let happened = &history.log[..moment];
    let pending = pending(happened);
    let needs_newest = moment < history.log.len() && pending.last().is_some_and(|&index| index + 1 == moment);
    let mut choices =
        Choices { limit: plan.per_moment, needs_newest, made: Vec::new(), seen: BTreeSet::new() };
    let count = pending.len();
    choices.add(vec![Kept::Whole; count]);
    choices.add(only(count, count.wrapping_sub(1), Kept::Whole));
    for (place, &index) in pending.iter().enumerate().rev() {
        if sectors(&happened[index]) > 1 {
            for torn in Kept::TORN {
                choices.add(all_but(count, place, torn));
                choices.add(only(count, place, torn));
            }
        }
        choices.add(all_but(count, place, Kept::Lost));
        choices.add(only(count, place, Kept::Whole));
        if choices.is_full() {
            break;
        }
    }
    choices.add_subsets(count, plan.seed ^ moment as u64);
    choices.made
}

/// Different choices, up to a limit.
struct Choices {
    limit: usize,
    needs_newest: bool,
    made: Vec<Vec<Kept>>,
    seen: BTreeSet<Vec<Kept>>,
}

impl Choices {
    fn is_full(&self) -> bool {
        self.made.len() >= self.limit
    }

    fn add(&mut self, choice: Vec<Kept>) {
        let is_new = !self.needs_newest || choice.last() != Some(&Kept::Lost);
        if is_new && !self.is_full() && self.seen.insert(choice.clone()) {
            self.made.push(choice);
        }
    }

    /// Every subset if they are few, else as many of them as there is room for.
    fn add_subsets(&mut self, count: usize, seed: u64) {
        let exhaustive = count < 16 && 1 << count <= self.limit;
        let rounds = if exhaustive { 1 << count } else { self.limit };
        let mut random = seed;
        for round in 0..rounds as u64 {
            let choice = (0..count).map(|place| {
                let bit = if exhaustive { round >> place & 1 } else { next_random(&mut random) & 1 };
                if bit == 1 { Kept::Whole } else { Kept::Lost }
            });
            self.add(choice.collect());
        }
    }
}

/// Everything whole, but for one.
fn all_but(count: usize, place: usize, kept: Kept) -> Vec<Kept> {
    (0..count).map(|at| if at == place { kept } else { Kept::Whole }).collect()
}

/// Everything lost, but for one.
fn only(count: usize, place: usize, kept: Kept) -> Vec<Kept> {
    (0..count).map(|at| if at == place { kept } else { Kept::Lost }).collect()
}

/// The splitmix64 sequence: plain, and the same everywhere.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
