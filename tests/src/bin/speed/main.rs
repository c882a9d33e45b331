//! Times tximg against qemu-img on the same work, and prints a table of ratios.
//!
//! Every pair of runs is made in turn, on warm caches, and both end with their output on the disk:
//! the sync is inside the measured time.

#![allow(clippy::disallowed_methods, reason = "scratch files of a benchmark need no durability")]

mod changes;
mod cost;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use testkit::oracle;

use cost::{median, must_run, run};

/// Time tximg against qemu-img.
#[derive(Debug, Parser)]
struct Options {
    /// Directory for the images; needs about four times the disk's size. Kept between calls.
    #[arg(long, default_value = "target/speed")]
    dir: PathBuf,
    /// Size of the ext4 disk that is filled from /usr, in GiB.
    #[arg(long, default_value_t = 6)]
    gib: u64,
    /// Pairs of runs for each row.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The program to time.
    #[arg(long, default_value = "target/release/tximg")]
    tximg: PathBuf,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Which table.
    #[arg(long, value_enum, default_value_t = Table::Both)]
    table: Table,
}

/// The tables that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Commands that read, and commands that make an image.
    Copying,
    /// Commands that change an image.
    Changing,
    /// One after the other.
    Both,
}

/// The two programs.
#[derive(Debug)]
struct Tools {
    theirs: PathBuf,
    ours: PathBuf,
}

/// A row of the table.
struct Work {
    name: &'static str,
    /// The arguments, with `OUT` where the output file goes.
    args: &'static str,
    /// Ratio of time that is wanted at most.
    goal: f64,
    /// Peak memory that is wanted at most, in MiB.
    memory: Option<u64>,
    /// How often one run repeats the command: short ones are timed together.
    times: u32,
}

const fn work(name: &'static str, args: &'static str, goal: f64) -> Work {
    Work { name, args, goal, memory: Some(64), times: 1 }
}

const WORKS: &[Work] = &[
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
];

fn main() {
    let options = Options::parse();
    fs::create_dir_all(&options.dir).expect("the directory can be made");
    let tximg = fs::canonicalize(&options.tximg).expect("build it first: cargo build --release");
    let tools = Tools { theirs: oracle::oracle().img.clone(), ours: tximg };
    prepare(&options, &tools.theirs);
    if options.table != Table::Changing {
        println!("| work | qemu-img | tximg | ratio | goal | memory | |");
        println!("|---|---|---|---|---|---|---|");
        for work in WORKS.iter().filter(|work| work.name.contains(&options.only)) {
            println!("{}", row(work, &options, &tools));
        }
        println!();
    }
    if options.table != Table::Copying {
        changes::table(&options, &tools);
    }
}

/// Makes what the rows read, unless an earlier call did.
fn prepare(options: &Options, qemu_img: &Path) {
    let make = |file: &str, program: &Path, args: &str| {
        if !options.dir.join(file).exists() {
            must_run(program, &options.dir, args);
        }
    };
    let disk = options.dir.join("disk.raw");
    if !disk.exists() {
        let file = File::create(&disk).expect("the disk can be made");
        file.set_len(options.gib << 30).expect("the disk can be made");
        // The filesystem may be too small for all of /usr; what fits is enough.
        let _ =
            run(&oracle::in_path("mkfs.ext4").expect("mkfs.ext4"), &options.dir, "-q -F -d /usr disk.raw");
    }
    make("small.qcow2", qemu_img, "create -f qcow2 small.qcow2 1G");
    make("disk.qcow2", qemu_img, "convert -O qcow2 disk.raw disk.qcow2");
    make("zlib.qcow2", qemu_img, "convert -c -O qcow2 disk.raw zlib.qcow2");
    make("zstd.qcow2", qemu_img, "convert -c -O qcow2 -o compression_type=zstd disk.raw zstd.qcow2");
    make("tera.qcow2", qemu_img, "create -f qcow2 -o preallocation=metadata tera.qcow2 1T");
}

fn row(work: &Work, options: &Options, tools: &Tools) -> String {
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
    let output = options.dir.join("OUT");
    let _ = fs::remove_file(&output);
    // What the last run left to be written back is not this run's work.
    rustix::fs::sync();
    let started = Instant::now();
    let mut peak_rss = 0;
    for _ in 0..work.times {
        let outcome = must_run(program, &options.dir, work.args);
        peak_rss = peak_rss.max(outcome.peak_rss);
        if let Ok(file) = File::open(&output) {
            file.sync_all().expect("the output can be synced");
        }
    }
    let seconds = started.elapsed().as_secs_f64() / f64::from(work.times);
    let _ = fs::remove_file(&output);
    Measure { seconds, peak_rss }
}
