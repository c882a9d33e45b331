//! Commands that read, and commands that make an image.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::cost::{median, must_run, sync_files};
use super::{Options, Tools};

/// A row of the table.
pub struct Work {
    pub name: String,
    /// The arguments, with `OUT` where the output file goes.
    pub args: String,
    /// Ratio of time that is wanted at most.
    pub goal: f64,
    /// Peak memory that is wanted at most, in MiB.
    pub memory: Option<u64>,
    /// How often one run repeats the command: short ones are timed together.
    pub times: u32,
}

impl Default for Work {
    fn default() -> Self {
        Self { name: String::new(), args: String::new(), goal: 1.0, memory: Some(64), times: 1 }
    }
}

fn work(name: &str, args: &str, goal: f64) -> Work {
    Work { name: name.to_owned(), args: args.to_owned(), goal, ..Work::default() }
}

fn works() -> Vec<Work> {
    vec![
        Work { times: 50, memory: None, ..work("info", "info small.qcow2", 0.5) },
        Work { times: 20, memory: None, ..work("create", "create -q -f qcow2 OUT 10G", 0.8) },
        work("convert raw to qcow2", "convert -f raw -O qcow2 disk.raw OUT", 0.5),
        work("convert qcow2 to raw", "convert -f qcow2 -O raw disk.qcow2 OUT", 0.5),
        work("convert raw to raw", "convert -f raw -O raw disk.raw OUT", 0.5),
        work("compare", "compare disk.raw disk.qcow2", 0.8),
        work("convert -c, zlib", "convert -c -f raw -O qcow2 disk.raw OUT", 0.35),
        work("convert -c, zstd", "convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw OUT", 0.6),
        work("convert zlib to raw", "convert -f qcow2 -O raw zlib.qcow2 OUT", 0.5),
        work("convert zstd to raw", "convert -f qcow2 -O raw zstd.qcow2 OUT", 0.5),
        Work { memory: Some(128), ..work("check, 1 TiB of metadata", "check tera.qcow2", 0.4) },
        Work { memory: Some(128), ..work("map, 1 TiB of metadata", "map --output=json tera.qcow2", 0.4) },
    ]
}

/// Prints the table.
pub fn table(options: &Options, tools: &Tools) {
    heading();
    for work in works().iter().filter(|work| work.name.contains(&options.only)) {
        println!("{}", row(work, options, tools));
    }
    println!();
}

/// Prints the first lines of such a table.
pub fn heading() {
    println!("| work | qemu-img | tximg | ratio | goal | memory | |");
    println!("|---|---|---|---|---|---|---|");
}

/// Times one row.
pub fn row(work: &Work, options: &Options, tools: &Tools) -> String {
    // The first pair warms the caches up.
    let pairs: Vec<(Measure, Measure)> = (0..=options.runs)
        .map(|_| (measure(work, options, &tools.theirs), measure(work, options, &tools.ours)))
        .skip(1)
        .collect();
    let theirs = median(pairs.iter().map(|(theirs, _)| theirs.seconds));
    let ours = median(pairs.iter().map(|(_, ours)| ours.seconds));
    let ratio = median(pairs.iter().map(|(theirs, ours)| ours.seconds / theirs.seconds));
    let memory = pairs.iter().map(|(_, ours)| ours.peak_rss).max().unwrap_or(0) >> 20;
    let met = ratio <= work.goal && work.memory.is_none_or(|most| memory <= most);
    format!(
        "| {} | {theirs:.3} s | {ours:.3} s | {ratio:.2} | {:.2} | {memory} MiB | {} |",
        work.name,
        work.goal,
        if met { "met" } else { "missed" }
    )
}

struct Measure {
    seconds: f64,
    peak_rss: u64,
}

fn measure(work: &Work, options: &Options, program: &Path) -> Measure {
    let output = options.dir.join("out");
    let _ = fs::remove_dir_all(&output);
    fs::create_dir_all(&output).expect("the directory can be made");
    let args = work.args.replace("OUT", "out/image");
    // What the last run left to be written back is not this run's work.
    rustix::fs::sync();
    let started = Instant::now();
    let mut peak_rss = 0;
    for _ in 0..work.times {
        let outcome = must_run(program, &options.dir, &args);
        peak_rss = peak_rss.max(outcome.peak_rss);
        sync_files(&output);
    }
    let seconds = started.elapsed().as_secs_f64() / f64::from(work.times);
    let _ = fs::remove_dir_all(&output);
    Measure { seconds, peak_rss }
}
