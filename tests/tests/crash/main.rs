//! What a power cut leaves of images, on a simulated disk.
//!
//! Each scenario runs one operation on images of one shape. Then every state is looked at that a
//! power cut could have left at any moment: any of the writes that were not synced may be lost,
//! torn or reordered, names too; and every call may fail. In each state, after recovery, all images of the
//! operation must be old, or all new, and sound.
//!
//! ```text
//! cargo test -p testkit --test crash                        about a million states
//! cargo test -p testkit --test crash -- 'commit/*'          the scenarios of that name
//! cargo test -p testkit --test crash -- --replay 'ID'       one state, as a failure names it
//! cargo test -p testkit --test crash -- --broken 'none'     only the proof that the suite can fail
//! TXIMG_CRASH=25000000 cargo test -p testkit --test crash   about so many, in more scenarios
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alone;
mod broken;
mod careful;
mod damage;
mod explore;
mod meddle;
mod operations;
mod place;
mod scenario;
mod subject;
mod tally;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use testkit::glob;

use broken::Rule;
use explore::{Budget, Explorer, Failure};
use scenario::Scenario;
use tally::{Report, Tally};

/// States in an ordinary run: of one deck of scenarios.
const STATES: usize = 1_100_000;
/// How much more than its share a scenario is asked for: many, of new files above all, have fewer
/// different states.
const LARGER: usize = 2;
/// As many failures are enough to see what is wrong.
const ENOUGH: usize = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let scenarios = operations::deck(0);
    if args.iter().any(|arg| arg == "--list") {
        scenarios.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    if let Some(place) = args.iter().position(|arg| arg == "--replay") {
        return replay(args.get(place + 1).map_or("", String::as_str));
    }
    let patterns: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let states = std::env::var("TXIMG_CRASH").ok().and_then(|text| text.parse().ok()).unwrap_or(STATES);
    let started = Instant::now();
    let mut report = Report::default();
    run(&scenarios, &patterns, states.min(STATES), &mut report);
    for deck in 1..states.div_ceil(STATES) {
        let (total, failures) = (report.total(), report.failures.len());
        println!(
            "crash: {} states in {} scenarios, {failures} failures",
            total.all_states(),
            total.scenarios
        );
        run(&operations::deck(deck), &patterns, STATES, &mut report);
    }
    report.print(started.elapsed().as_secs_f64());
    report.failures.iter().take(ENOUGH).for_each(|failure| println!("{failure}"));
    let proves = patterns.is_empty() || args.iter().any(|arg| arg == "--broken");
    let unseen = if proves { unseen_breaches(&scenarios) } else { 0 };
    if unseen == 0 && report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs those scenarios of a deck whose names fit, on all cores, as if all were to have so many states.
fn run(deck: &[Scenario], patterns: &[&String], states: usize, report: &mut Report) {
    let fits = |scenario: &&Scenario| {
        patterns.is_empty() || patterns.iter().any(|pattern| glob::matches(pattern, &scenario.name))
    };
    let budget = Budget::of(states * LARGER / deck.len());
    let chosen: Vec<&Scenario> = deck.iter().filter(fits).collect();
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (tally, failure) = explore(scenario, budget);
                    report.lock().unwrap().add(scenario.operation(), tally, failure);
                }
            });
        }
    });
}

/// Looks at one scenario until something is wrong.
fn explore(scenario: &Scenario, budget: Budget) -> (Tally, Option<Failure>) {
    match Explorer::new(scenario) {
        Err(failure) => (Tally::default(), Some(failure)),
        Ok(mut explorer) => {
            let failure = explorer.explore(budget).err();
            (explorer.tally, failure)
        }
    }
}

/// Breaks each rule of the protocol and counts those whose breach goes unseen: the suite must be
/// able to fail.
fn unseen_breaches(scenarios: &[Scenario]) -> usize {
    let mut unseen = 0;
    for (rule, pattern) in Rule::ALL {
        let mut suited = scenarios.iter().filter(|scenario| glob::matches(pattern, &scenario.name));
        let seen = suited.find_map(|scenario| {
            let mut explorer = Explorer::new(scenario).ok()?.breaking(rule);
            // Somebody does something in every state.
            let budget = Budget::of(400);
            explorer.explore(Budget { meddled: budget.states, ..budget }).err()
        });
        match seen {
            Some(failure) => {
                println!("broken {rule:?} in {pattern}: seen as {:?} by {}", failure.promise, failure.id)
            }
            None => {
                println!("broken {rule:?} in {pattern}: NOT SEEN");
                unseen += 1;
            }
        }
    }
    unseen
}

/// Looks at one state.
fn replay(id: &str) -> ExitCode {
    let (name, place) = id.split_once('@').unwrap_or((id, ""));
    let scenarios = operations::deck(operations::deck_of(name));
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == name) else {
        println!("no scenario is called {name}");
        return ExitCode::FAILURE;
    };
    if let Some(directory) = std::env::var_os("TXIMG_DUMP") {
        dump(scenario, std::path::Path::new(&directory));
    }
    let outcome = Explorer::new(scenario).and_then(|mut explorer| explorer.replay(&place.parse().unwrap()));
    match outcome {
        Ok(side) => println!("{id}: {side:?}"),
        Err(failure) => println!("{failure}"),
    }
    ExitCode::SUCCESS
}

/// Writes the files that a scenario begins with to a directory, to be looked at with other tools.
#[allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
fn dump(scenario: &Scenario, directory: &std::path::Path) {
    let fs = scenario.before.thaw();
    for name in fs.names() {
        let path = directory.join(name.strip_prefix("/").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, fs.bytes(&name).unwrap()).unwrap();
    }
}
