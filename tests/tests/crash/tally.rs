//! What was looked at, and what came of it.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::explore::{Failure, Promise};

/// Counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scenarios.
    pub scenarios: usize,
    /// Different states that a crash of the command left.
    pub states: usize,
    /// Different states that a crash of a recovery left.
    pub nested: usize,
    /// Of the states, those that were looked at before recovery too.
    pub foreign: usize,
    /// Of the states, those to which somebody did something before recovery.
    pub meddled: usize,
    /// Commands of which a call failed.
    pub faults: usize,
}

impl Tally {
    /// States of both kinds.
    pub fn all_states(&self) -> usize {
        self.states + self.nested
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.states += other.states;
        self.nested += other.nested;
        self.foreign += other.foreign;
        self.meddled += other.meddled;
        self.faults += other.faults;
    }
}

/// The counts of each operation, and what failed.
#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<String, Tally>,
    pub failures: Vec<Failure>,
}

impl Report {
    /// Adds a scenario's.
    pub fn add(&mut self, operation: &str, tally: Tally, failure: Option<Failure>) {
        *self.rows.entry(operation.to_owned()).or_default() += tally;
        self.failures.extend(failure);
    }

    /// The sums.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.rows.values().for_each(|row| total += *row);
        total
    }

    /// The table.
    pub fn print(&self, seconds: f64) {
        println!(
            "{:<18} {:>9} {:>10} {:>10} {:>10} {:>8} {:>8} {:>6} {:>6} {:>6} {:>8} {:>8}",
            "operation",
            "scenarios",
            "states",
            "nested",
            "foreign",
            "meddled",
            "faults",
            "torn",
            "leaks",
            "lost",
            "foreign",
            "meddled"
        );
        let mut rows: Vec<(&str, Tally)> =
            self.rows.iter().map(|(name, row)| (name.as_str(), *row)).collect();
        rows.push(("all", self.total()));
        for (name, row) in rows {
            let broken = |promises: &[Promise]| {
                let of_row = |failure: &&Failure| name == "all" || failure.id.split('/').next() == Some(name);
                self.failures
                    .iter()
                    .filter(of_row)
                    .filter(|failure| promises.contains(&failure.promise))
                    .count()
            };
            println!(
                "{name:<18} {:>9} {:>10} {:>10} {:>10} {:>8} {:>8} {:>6} {:>6} {:>6} {:>8} {:>8}",
                row.scenarios,
                row.states,
                row.nested,
                row.foreign,
                row.meddled,
                row.faults,
                broken(&[Promise::Atomic, Promise::Recoverable, Promise::Works]),
                broken(&[Promise::Sound]),
                broken(&[Promise::Durable]),
                broken(&[Promise::Foreign]),
                broken(&[Promise::Careful]),
            );
        }
        let all = self.total().all_states();
        println!("crash: {all} states in {seconds:.1} s, {} failures", self.failures.len());
    }
}
