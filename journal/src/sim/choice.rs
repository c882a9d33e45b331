//! Which of the changes that no sync has settled are there after a power cut.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

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

/// The name of a crash state: print it, and give it to [`super::SimFs::crash_state`] to see it again.
///
/// It reads `moment:choice`. The choice has one letter for each change that was not synced: `0` lost,
/// `1` whole, `n` the file's new length without the bytes; of a torn write `h` the first half, `t` the
/// last half, `o` every other sector, `e` the others, `f` the first one, `l` the last one; `H` and
/// `T` are halves in pages of 4096 bytes. Or it is `~` and the number of a draw, in which each
/// change, and of torn ones each sector, had its own coin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrashId {
    pub(super) moment: usize,
    choice: Choice,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Choice {
    Listed(Vec<Kept>),
    Drawn(u64),
}

impl CrashId {
    /// How many events of the log had happened.
    pub fn moment(&self) -> usize {
        self.moment
    }

    /// What is kept of so many pending changes; `None` if the name is of another history.
    pub(super) fn kept(&self, pending: usize) -> Option<Vec<Kept>> {
        match &self.choice {
            Choice::Listed(kept) => (kept.len() == pending).then(|| kept.clone()),
            Choice::Drawn(number) => Some(draw(*number, pending)),
        }
    }
}

/// What is left of a change that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kept {
    Lost,
    Whole,
    /// The length that the change gives its file, without the bytes.
    Length,
    Torn(Tear),
}

/// Which sectors of a write are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tear {
    Head,
    Tail,
    Odd,
    Even,
    First,
    Last,
    PageHead,
    PageTail,
    /// Each sector by its own coin.
    Coins(u64),
}

impl Tear {
    const NAMED: [Self; 8] = [
        Self::Head,
        Self::Tail,
        Self::Odd,
        Self::Even,
        Self::First,
        Self::Last,
        Self::PageHead,
        Self::PageTail,
    ];

    /// Whether the sector with that number, of so many, is there; `page` is its page's number, of
    /// so many.
    pub(super) fn keeps(self, (index, sectors): (u64, u64), (page, pages): (u64, u64)) -> bool {
        match self {
            Self::Head => index < sectors / 2,
            Self::Tail => index >= sectors / 2,
            Self::Odd => index % 2 == 1,
            Self::Even => index.is_multiple_of(2),
            Self::First => index == 0,
            Self::Last => index + 1 == sectors,
            Self::PageHead => page < pages / 2,
            Self::PageTail => page >= pages / 2,
            Self::Coins(seed) => next_random(&mut seed.wrapping_add(index << 20)) & 1 == 1,
        }
    }
}

impl Kept {
    const LETTERS: [(Self, char); 11] = [
        (Self::Lost, '0'),
        (Self::Whole, '1'),
        (Self::Length, 'n'),
        (Self::Torn(Tear::Head), 'h'),
        (Self::Torn(Tear::Tail), 't'),
        (Self::Torn(Tear::Odd), 'o'),
        (Self::Torn(Tear::Even), 'e'),
        (Self::Torn(Tear::First), 'f'),
        (Self::Torn(Tear::Last), 'l'),
        (Self::Torn(Tear::PageHead), 'H'),
        (Self::Torn(Tear::PageTail), 'T'),
    ];

    fn letter(&self) -> char {
        Self::LETTERS.iter().find(|(of, _)| of == self).map_or('?', |(_, letter)| *letter)
    }
}

impl fmt::Display for CrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.choice {
            Choice::Listed(kept) => {
                write!(f, "{}:{}", self.moment, kept.iter().map(Kept::letter).collect::<String>())
            }
            Choice::Drawn(number) => write!(f, "{}:~{number:x}", self.moment),
        }
    }
}

impl FromStr for CrashId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (moment, choice) = text.split_once(':')?;
            let moment = moment.parse().ok()?;
            if let Some(number) = choice.strip_prefix('~') {
                let number = u64::from_str_radix(number, 16).ok()?;
                return Some(Self { moment, choice: Choice::Drawn(number) });
            }
            let kept = |letter| Kept::LETTERS.iter().find(|(_, of)| *of == letter).map(|(kept, _)| *kept);
            let kept = choice.chars().map(kept).collect::<Option<Vec<_>>>()?;
            Some(Self { moment, choice: Choice::Listed(kept) })
        };
        parse().ok_or_else(|| format!("'{text}' does not name a crash state"))
    }
}

/// A change that may be lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Its place in the log.
    pub(super) index: usize,
    /// How many sectors it writes; 1 for what cannot be torn.
    pub(super) sectors: u64,
    /// Whether it may make its file longer.
    pub(super) grows: bool,
    /// Whether a sync has failed to make it durable: no later one will.
    pub(super) doomed: bool,
}

/// The choices at a moment.
///
/// Where the moment's last event is a change (`needs_newest`), it is always kept in part: without it,
/// the state is one of the moment before.
pub(super) fn choose(
    moment: usize,
    pending: &[Pending],
    needs_newest: bool,
    plan: CrashPlan,
) -> Vec<CrashId> {
    let mut choices =
        Choices { moment, limit: plan.per_moment, needs_newest, made: Vec::new(), seen: BTreeSet::new() };
    let count = pending.len();
    choices.add(vec![Kept::Whole; count]);
    choices.add(only(count, count.wrapping_sub(1), Kept::Whole));
    for (place, change) in pending.iter().enumerate().rev() {
        choices.add(all_but(count, place, Kept::Lost));
        choices.add(only(count, place, Kept::Whole));
        if change.grows {
            choices.add(all_but(count, place, Kept::Length));
            choices.add(only(count, place, Kept::Length));
        }
        if change.sectors > 1 {
            for tear in Tear::NAMED {
                choices.add(all_but(count, place, Kept::Torn(tear)));
                choices.add(only(count, place, Kept::Torn(tear)));
            }
        }
        if choices.is_full() {
            break;
        }
    }
    choices.add_subsets(count);
    let sectors = pending.iter().map(|change| change.sectors).sum();
    choices.add_draws(count, sectors, plan.seed);
    choices.made
}

/// Different choices, up to a limit.
struct Choices {
    moment: usize,
    limit: usize,
    needs_newest: bool,
    made: Vec<CrashId>,
    seen: BTreeSet<Vec<Kept>>,
}

/// So many changes have so few subsets that all of them are listed.
const FEW: usize = 12;

impl Choices {
    fn is_full(&self) -> bool {
        self.made.len() >= self.limit
    }

    fn is_wanted(&self, kept: &[Kept]) -> bool {
        !self.is_full() && (!self.needs_newest || kept.last() != Some(&Kept::Lost))
    }

    fn add(&mut self, kept: Vec<Kept>) {
        if self.is_wanted(&kept) && self.seen.insert(kept.clone()) {
            self.made.push(CrashId { moment: self.moment, choice: Choice::Listed(kept) });
        }
    }

    /// Every subset, if they are few.
    fn add_subsets(&mut self, count: usize) {
        if count > FEW {
            return;
        }
        for subset in 0..1_u64 << count {
            let bit = |place: usize| if subset >> place & 1 == 1 { Kept::Whole } else { Kept::Lost };
            self.add((0..count).map(bit).collect());
        }
    }

    /// Draws by lot, for which there are more ways the more sectors there are.
    fn add_draws(&mut self, count: usize, sectors: u64, seed: u64) {
        // Of the draws, a part tears; with so many of them most subsets come up.
        let ways = 16_u64.saturating_mul(1 << sectors.min(40));
        let room = self.limit.saturating_sub(self.made.len()) as u64;
        let mut random = seed ^ (self.moment as u64) << 32;
        for _ in 0..room.min(ways) {
            let number = next_random(&mut random) >> 24;
            if self.is_wanted(&draw(number, count)) {
                self.made.push(CrashId { moment: self.moment, choice: Choice::Drawn(number) });
            }
        }
    }
}

/// What the draw of that number keeps.
fn draw(number: u64, pending: usize) -> Vec<Kept> {
    let mut random = number;
    // Some draws lose little, some much, and some tear everything.
    let (whole, torn) = match next_random(&mut random) % 4 {
        0 => (90, 5),
        1 => (45, 10),
        2 => (10, 10),
        _ => (10, 80),
    };
    let one = |_| match next_random(&mut random) % 100 {
        at if at < whole => Kept::Whole,
        at if at < whole + torn => Kept::Torn(Tear::Coins(next_random(&mut random))),
        _ => Kept::Lost,
    };
    (0..pending).map(one).collect()
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
