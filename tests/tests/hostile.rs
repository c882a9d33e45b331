//! Damaged images get an error or an answer: never a panic, a hang, or all the memory.
//!
//! `TXIMG_HOSTILE` is how many mutants are tried in this process (default: as many as half a
//! minute allows); `TXIMG_HOSTILE_SEED` is where their random numbers start, and
//! `TXIMG_HOSTILE_ONLY` is the number of a single mutant to try again, `TXIMG_HOSTILE_FORMAT` the only
//! format that is damaged. A failure prints the seed
//! and number of its mutant and leaves the file behind.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use testkit::effects::run_oracle;
use testkit::exercise;
use testkit::mutate::Seed;
use testkit::oracle;
use testkit::run::{Run, SMALL_ADDRESS_SPACE};
use testkit::scene;
use testkit::script::Xorshift;
use testkit::shapes;
use testkit::tximg::tximg;

/// No images may make this process hold more than that beyond the seeds, all workers together.
const MEMORY_LIMIT: usize = 256 << 20;

/// More workers than that would need more memory.
const MAX_WORKERS: usize = 2;

/// One mutant of so many comes from a large seed.
const LARGE_SHARE: u64 = 24;

/// No mutant may keep a thread of this process busy for longer. (Not wall time: other programs may
/// keep the machine busy.)
const PATIENCE: Duration = Duration::from_secs(10);

/// Nor may it wait for longer.
const WAITING: Duration = Duration::from_secs(120);

/// How long mutants are tried if nobody says how many.
const DEFAULT_TIME: Duration = Duration::from_secs(30);

/// Mutants that go through every command as processes.
const PROCESS_MUTANTS: u64 = 60;

/// Counts what is allocated, and refuses what is far too much.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// What is refused: nothing before the seeds are there.
static TOO_MUCH: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: everything is passed on to the system's allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        if held > TOO_MUCH.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps GlobalAlloc's contract, which is the same as System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, and so from System.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What mutants are made of. Large ones are rarer, because they take longer.
struct Seeds {
    small: Vec<Seed>,
    large: Vec<Seed>,
}

impl Seeds {
    /// Those that both tests use: there is no room for two of each.
    fn shared() -> &'static Self {
        static SEEDS: OnceLock<Seeds> = OnceLock::new();
        SEEDS.get_or_init(|| {
            let seeds = Self::load();
            TOO_MUCH.store(HELD.load(Ordering::Relaxed) + 2 * MEMORY_LIMIT, Ordering::Relaxed);
            seeds
        })
    }

    /// The rich ones are small and stand for several each: they come up more often.
    fn load() -> Self {
        let rich = shapes::RICH.iter().cycle().take(10 * shapes::RICH.len());
        let only = std::env::var("TXIMG_HOSTILE_FORMAT").ok();
        let encrypted = shapes::LUKS.iter().chain(shapes::ENCRYPTED);
        let mut all: Vec<Seed> = rich
            .chain(shapes::readable().filter(|shape| shape.format != "raw"))
            .chain(encrypted)
            .filter(|shape| only.as_deref().is_none_or(|only| only == shape.format))
            .filter_map(|shape| Seed::load(shape, &scene::fixture(shape)))
            .collect();
        let vhdx = all.iter().filter(|seed| seed.opening.format() == "vhdx");
        let logs: Vec<Seed> = vhdx.take(2).map(with_log).collect();
        all.extend(logs);
        let (large, small) = all.into_iter().partition(Seed::is_large);
        let seeds = Self { small, large };
        assert!(!(seeds.small.is_empty() && seeds.large.is_empty()), "no seed is of the format {only:?}");
        seeds
    }

    fn pick(&self, random: &mut Xorshift) -> &Seed {
        let is_large = self.small.is_empty() || (!self.large.is_empty() && random.below(LARGE_SHARE) == 0);
        let among = if is_large { &self.large } else { &self.small };
        &among[random.below(among.len() as u64) as usize]
    }
}

/// A VHDX image with something in its log: its region table as it is, and zeroes over a sector that nothing uses.
fn with_log(seed: &Seed) -> Seed {
    const REGIONS: usize = 192 << 10;
    const UNUSED: usize = 512 << 10;
    seed.changed(&format!("{}+log", seed.name), |image| testkit::vhdx::add_log(image, REGIONS, UNUSED))
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

/// The mutant of that number: which seed it comes from, and its bytes.
fn mutant(seeds: &Seeds, start: u64, number: u64) -> (&Seed, Vec<u8>) {
    let mut random = Xorshift::new(start ^ number.wrapping_mul(0xd134_2543_de82_ef95));
    random.next();
    let seed = seeds.pick(&mut random);
    (seed, seed.mutant(&mut random))
}

/// Tries one mutant in this process; a story if it misbehaves.
fn try_in_process(seed: &Seed, bytes: &[u8]) -> Result<(), String> {
    let others: Vec<(&str, &[u8])> = seed.others.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let fs = exercise::tree(bytes, &others);
    let (started, worked) = (Instant::now(), thread_time());
    let outcome = catch_unwind(AssertUnwindSafe(|| drop(exercise::everything(&fs, seed.opening))));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        return Err(format!("panicked: {}", text.unwrap_or_default()));
    }
    let (elapsed, worked) = (started.elapsed(), thread_time() - worked);
    let patient = worked <= PATIENCE && elapsed <= WAITING;
    patient.then_some(()).ok_or_else(|| format!("took {elapsed:.1?}, of which {worked:.1?} working"))
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn keep(seed: &Seed, bytes: &[u8], number: u64) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tximg-hostile-{number}"));
    std::fs::create_dir_all(&dir).expect("the directory for scratch files can be written");
    for (name, bytes) in &seed.others {
        std::fs::write(dir.join(name), bytes).expect("scratch files can be written");
    }
    std::fs::write(dir.join("a.qcow2"), bytes).expect("scratch files can be written");
    dir
}

#[test]
fn mutants_in_this_process() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let seeds = Seeds::shared();
    let start = setting("TXIMG_HOSTILE_SEED").unwrap_or(1);
    let wanted = setting("TXIMG_HOSTILE");
    let deadline = Instant::now() + DEFAULT_TIME;
    let only = setting("TXIMG_HOSTILE_ONLY");
    let wanted = only.map_or(wanted, |only| Some(only + 1));
    let next = AtomicU64::new(only.unwrap_or(0));
    let seeded = HELD.load(Ordering::Relaxed);
    PEAK.store(seeded, Ordering::Relaxed);
    let greediest = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    // Panics are caught and told below; thousands of backtraces would hide them.
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).min(MAX_WORKERS) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let done = wanted.map_or_else(|| Instant::now() > deadline, |wanted| number >= wanted);
                    if done {
                        break;
                    }
                    let (seed, bytes) = mutant(seeds, start, number);
                    let before = PEAK.load(Ordering::Relaxed);
                    if let Err(story) = try_in_process(seed, &bytes) {
                        let dir = keep(seed, &bytes, number);
                        let story = format!(
                            "mutant {number} of start {start}, from {}: {story}\n  kept in {}",
                            seed.name,
                            dir.display()
                        );
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(story);
                    }
                    if PEAK.load(Ordering::Relaxed) > before {
                        greediest.store(number, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let tried = wanted.unwrap_or_else(|| next.into_inner());
    let peak = PEAK.load(Ordering::Relaxed) - seeded;
    let held = format!("at most {} MiB held, as of mutant {}", peak >> 20, greediest.into_inner());
    println!("hostile: {tried} mutants, {} misbehave, {held}", failures.len());
    assert!(failures.is_empty(), "{} of {tried}:\n{}", failures.len(), failures.join("\n"));
    assert!(peak <= MEMORY_LIMIT, "{held}");
}

/// What is tried with each mutant as a process. `{}` is a new file.
const COMMANDS: [&[&str]; 12] = [
    &["info", "a.qcow2"],
    &["info", "--backing-chain", "--output=json", "a.qcow2"],
    &["map", "a.qcow2"],
    &["map", "--output=json", "a.qcow2"],
    &["check", "a.qcow2"],
    &["check", "--output=json", "a.qcow2"],
    &["compare", "a.qcow2", "a.qcow2"],
    &["measure", "-O", "qcow2", "a.qcow2"],
    &["snapshot", "-l", "a.qcow2"],
    &["dd", "bs=64k", "count=4", "if=a.qcow2", "of=dd.raw"],
    &["convert", "-O", "qcow2", "--bitmaps", "-c", "a.qcow2", "c.qcow2"],
    &["convert", "-O", "qcow2", "a.qcow2", "b.qcow2"],
];

#[test]
fn mutants_through_every_command() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let seeds = Seeds::shared();
    let start = setting("TXIMG_HOSTILE_SEED").unwrap_or(1);
    let wanted =
        setting("TXIMG_HOSTILE").map_or(PROCESS_MUTANTS, |wanted| (wanted / 200).max(PROCESS_MUTANTS));
    let mut failures = Vec::new();
    for number in 0..wanted {
        let (seed, bytes) = mutant(seeds, !start, number);
        let dir = scene::empty();
        for (name, bytes) in &seed.others {
            std::fs::write(dir.path().join(name), bytes).expect("scratch files can be written");
        }
        std::fs::write(dir.path().join("a.qcow2"), &bytes).expect("scratch files can be written");
        for command in COMMANDS {
            let run = Run::new(tximg(), dir.path()).args(command).address_space(SMALL_ADDRESS_SPACE);
            let outcome = run.timeout(Duration::from_secs(20)).run();
            if outcome.crashed() {
                failures.push(format!(
                    "mutant {number} of {}: {}: {}\n{}\n  kept in {}",
                    seed.name,
                    command.join(" "),
                    outcome.status_text(),
                    outcome.err(),
                    keep(seed, &bytes, number).display()
                ));
            }
        }
        failures.extend(disagreement(dir.path()).map(|story| {
            let kept = keep(seed, &bytes, number);
            format!("mutant {number} of {}: {story}\n  kept in {}", seed.name, kept.display())
        }));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Where both programs can convert a damaged image, they must read the same bytes.
fn disagreement(dir: &std::path::Path) -> Option<String> {
    let copy = dir.join("b.qcow2");
    let oracle = Run::new(&oracle::oracle().img, dir)
        .args(["convert", "-O", "qcow2", "a.qcow2", "o.qcow2"])
        .timeout(Duration::from_secs(20));
    if !copy.exists() || !oracle.run().success() {
        return None;
    }
    let outcome = run_oracle(dir, ["compare", "o.qcow2", "b.qcow2"]);
    (!outcome.success()).then(|| format!("converted differently: {}{}", outcome.out(), outcome.err()))
}
