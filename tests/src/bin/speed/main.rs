//! Times tximg against qemu-img on the same work, and prints a table of ratios.
//!
//! Every pair of runs is made in turn, on warm caches, and both end with their output on the disk:
//! the sync is inside the measured time.

#![allow(clippy::disallowed_methods, reason = "scratch files of a benchmark need no durability")]

mod changes;
mod copies;
mod cost;
mod formats;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use testkit::oracle;

use cost::{must_run, run};

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
    #[arg(long, value_enum, default_value_t = Table::All)]
    table: Table,
}

/// The tables that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Commands that read, and commands that make an image.
    Copying,
    /// Commands that change an image.
    Changing,
    /// Conversions to and from each format.
    Formats,
    /// One after the other.
    All,
}

/// The two programs.
#[derive(Debug)]
struct Tools {
    theirs: PathBuf,
    ours: PathBuf,
}

fn main() {
    let options = Options::parse();
    fs::create_dir_all(&options.dir).expect("the directory can be made");
    let tximg = fs::canonicalize(&options.tximg).expect("build it first: cargo build --release");
    let tools = Tools { theirs: oracle::oracle().img.clone(), ours: tximg };
    prepare(&options, &tools.theirs);
    let wants = |table| options.table == table || options.table == Table::All;
    if wants(Table::Copying) {
        copies::table(&options, &tools);
    }
    if wants(Table::Changing) {
        changes::table(&options, &tools);
    }
    if wants(Table::Formats) {
        formats::table(&options, &tools);
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
