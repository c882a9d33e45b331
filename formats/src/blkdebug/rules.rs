//! When which requests fail.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that happens to a disk. Rules can be told of more events than ever happen here: those are
/// of QEMU's drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event(&'static str);

/// The names of all of them.
const NAMES: [&str; 48] = [
    "l1_update",
    "l1_grow_alloc_table",
    "l1_grow_write_table",
    "l1_grow_activate_table",
    "l2_load",
    "l2_update",
    "l2_update_compressed",
    "l2_alloc_cow_read",
    "l2_alloc_write",
    "read_aio",
    "read_backing_aio",
    "read_compressed",
    "write_aio",
    "write_compressed",
    "vmstate_load",
    "vmstate_save",
    "cow_read",
    "cow_write",
    "reftable_load",
    "reftable_grow",
    "reftable_update",
    "refblock_load",
    "refblock_update",
    "refblock_update_part",
    "refblock_alloc",
    "refblock_alloc_hookup",
    "refblock_alloc_write",
    "refblock_alloc_write_blocks",
    "refblock_alloc_write_table",
    "refblock_alloc_switch_table",
    "cluster_alloc",
    "cluster_alloc_bytes",
    "cluster_free",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_rmw_head",
    "pwritev_rmw_after_head",
    "pwritev_rmw_tail",
    "pwritev_rmw_after_tail",
    "pwritev",
    "pwritev_zero",
    "pwritev_done",
    "empty_image_prepare",
    "l1_shrink_write_table",
    "l1_shrink_free_l2_clusters",
    "cor_write",
    "cluster_alloc_space",
    "none",
];

impl Event {
    /// The disk was opened.
    pub(crate) const OPENED: Self = Self("none");
    /// A raw image is about to read.
    pub(crate) const READING: Self = Self("read_aio");
    /// A raw image is about to write.
    pub(crate) const WRITING: Self = Self("write_aio");
    /// An image is about to make its writes durable.
    pub(crate) const FLUSHING: Self = Self("flush_to_disk");
    /// The disk is about to write.
    pub(crate) const WRITE: Self = Self("pwritev");
    /// The disk is about to write zeroes.
    pub(crate) const ZEROES: Self = Self("pwritev_zero");
    /// The disk has written.
    pub(crate) const WRITTEN: Self = Self("pwritev_done");

    /// The event of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        NAMES.into_iter().find(|known| *known == name).map(Self)
    }
}

/// Kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Writing zeroes.
    WriteZeroes,
    /// Giving space back.
    Discard,
    /// Making writes durable.
    Flush,
    /// Telling data from holes.
    BlockStatus,
}

impl Io {
    /// The kinds by their names.
    pub(crate) const NAMED: [(&'static str, Self); 6] = [
        ("read", Self::Read),
        ("write", Self::Write),
        ("write-zeroes", Self::WriteZeroes),
        ("discard", Self::Discard),
        ("flush", Self::Flush),
        ("block-status", Self::BlockStatus),
    ];
}

/// What is done when an event happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The event.
    pub(crate) event: Event,
    /// The state in which it counts; in all states if 0.
    pub(crate) state: i32,
    /// What is done.
    pub(crate) action: Action,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// From now on requests fail, until an event says otherwise.
    Inject(Injection),
    /// Another state.
    SetState(i32),
}

/// Which requests fail, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Injection {
    /// The kind of request; all that are not for the status of blocks if not said.
    pub(crate) io: Option<Io>,
    /// The number of the error; 0 lets the request pass.
    pub(crate) errno: i32,
    /// A byte that the request has to reach.
    pub(crate) at: Option<u64>,
    /// Whether it happens once.
    pub(crate) once: bool,
}

impl Injection {
    fn meets(&self, io: Io, range: &Range<u64>) -> bool {
        let is_kind = self.io.map_or(io != Io::BlockStatus, |kind| kind == io);
        is_kind && self.at.is_none_or(|at| range.contains(&at))
    }
}

/// The rules of a disk, and what is in force.
#[derive(Debug)]
pub(crate) struct Rules(Mutex<Machine>);

#[derive(Debug)]
struct Machine {
    rules: Vec<Rule>,
    state: i32,
    /// The errors that are in force, by the places of their rules, in that order.
    active: Vec<usize>,
    /// Of each rule, whether it has had its one error.
    spent: Vec<bool>,
}

impl Rules {
    /// The rules, in the order in which they were said, of a disk that was just opened.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let spent = vec![false; rules.len()];
        let machine = Machine { rules, state: 1, active: Vec::new(), spent };
        let rules = Self(Mutex::new(machine));
        rules.happen(Event::OPENED);
        rules
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.machine().rules.is_empty()
    }

    /// Tells of an event.
    pub(crate) fn happen(&self, event: Event) {
        self.machine().happen(event);
    }

    /// The error that a request fails with, if it does.
    pub(crate) fn error(&self, io: Io, range: Range<u64>) -> Option<i32> {
        self.machine().error(io, &range)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    /// All rules count in the state in which the event happens. Of several states the first that was said
    /// is the new one.
    fn happen(&mut self, event: Event) {
        let counts = |rule: &Rule| rule.event == event && (rule.state == 0 || rule.state == self.state);
        let mut injections = Vec::new();
        let mut state = None;
        for (place, rule) in self.rules.iter().enumerate().filter(|(_, rule)| counts(rule)) {
            match rule.action {
                Action::Inject(_) if self.spent.get(place) == Some(&true) => {}
                Action::Inject(_) => injections.push(place),
                Action::SetState(new) => state = state.or(Some(new)),
            }
        }
        if !injections.is_empty() {
            self.active = injections;
        }
        self.state = state.unwrap_or(self.state);
    }

    fn error(&mut self, io: Io, range: &Range<u64>) -> Option<i32> {
        let (order, place, injection) =
            self.active.iter().enumerate().find_map(|(order, place)| {
                match self.rules.get(*place).map(|rule| &rule.action) {
                    Some(Action::Inject(injection)) if injection.meets(io, range) => {
                        Some((order, *place, injection))
                    }
                    _ => None,
                }
            })?;
        let errno = injection.errno;
        if errno <= 0 {
            return None;
        }
        if injection.once {
            self.active.remove(order);
            if let Some(spent) = self.spent.get_mut(place) {
                *spent = true;
            }
        }
        Some(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inject(event: Event, state: i32, errno: i32) -> Rule {
        let injection = Injection { io: None, errno, at: None, once: false };
        Rule { event, state, action: Action::Inject(injection) }
    }

    fn set(event: Event, state: i32, new: i32) -> Rule {
        Rule { event, state, action: Action::SetState(new) }
    }

    #[test]
    fn errors_are_for_kinds_and_places() {
        let mut rule = inject(Event::OPENED, 0, 5);
        rule.action = Action::Inject(Injection { io: Some(Io::Read), errno: 5, at: Some(512), once: false });
        let rules = Rules::new(vec![rule]);
        assert_eq!(rules.error(Io::Read, 0..513), Some(5));
        assert_eq!(rules.error(Io::Read, 0..512), None);
        assert_eq!(rules.error(Io::Read, 512..512), None);
        assert_eq!(rules.error(Io::Write, 0..4096), None);
        let rules = Rules::new(vec![inject(Event::OPENED, 1, 28)]);
        assert_eq!(rules.error(Io::Flush, 0..0), Some(28));
        assert_eq!(rules.error(Io::BlockStatus, 0..1), None);
        assert_eq!(Rules::new(vec![inject(Event::OPENED, 2, 28)]).error(Io::Read, 0..1), None);
        assert_eq!(Rules::new(vec![inject(Event::OPENED, 0, 0)]).error(Io::Read, 0..1), None);
    }

    #[test]
    fn once_is_once() {
        let mut rule = inject(Event::WRITE, 0, 5);
        if let Action::Inject(injection) = &mut rule.action {
            injection.once = true;
        }
        let rules = Rules::new(vec![rule]);
        assert_eq!(rules.error(Io::Write, 0..1), None);
        rules.happen(Event::WRITE);
        assert_eq!(rules.error(Io::Write, 0..1), Some(5));
        rules.happen(Event::WRITE);
        assert_eq!(rules.error(Io::Write, 0..1), None);
    }

    #[test]
    fn states_lead_from_one_to_another() {
        let rules = Rules::new(vec![
            set(Event::WRITE, 1, 2),
            set(Event::WRITE, 1, 7),
            set(Event::WRITE, 2, 3),
            inject(Event::WRITE, 2, 5),
            inject(Event::WRITE, 3, 28),
        ]);
        rules.happen(Event::WRITE);
        assert_eq!(rules.error(Io::Write, 0..1), None);
        rules.happen(Event::WRITE);
        assert_eq!(rules.error(Io::Write, 0..1), Some(5));
        rules.happen(Event::WRITE);
        assert_eq!(rules.error(Io::Write, 0..1), Some(28));
        rules.happen(Event::FLUSHING);
        assert_eq!(rules.error(Io::Read, 0..1), Some(28));
    }

    #[test]
    fn the_first_of_several_errors_counts() {
        let rules = Rules::new(vec![inject(Event::OPENED, 0, 5), inject(Event::OPENED, 0, 28)]);
        assert_eq!(rules.error(Io::Read, 0..1), Some(5));
        assert!(!rules.is_empty() && Rules::new(Vec::new()).is_empty());
    }

    #[test]
    fn events_have_names() {
        assert_eq!(Event::from_name("pwritev_done"), Some(Event::WRITTEN));
        assert_eq!(Event::from_name("none"), Some(Event::OPENED));
        assert_eq!(Event::from_name(""), None);
    }
}
