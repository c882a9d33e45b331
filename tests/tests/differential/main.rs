//! The same arguments and the same files, for qemu-img and for tximg: the same status, the same
//! output, the same guest content, and each reads what the other wrote.
//!
//! `cargo test -p testkit --test differential` runs a part of every family, always the same;
//! `TXIMG_ALL=1` runs everything. Names or globs of cases (as arguments after `--`, or in
//! `TXIMG_CASE`) choose some; `--list` shows them.

mod amend;
mod bench;
mod bitmap;
mod blkdebug;
mod blockopts;
mod broken;
mod check;
mod commit;
mod compare;
mod convert;
mod create;
mod dd;
mod directories;
mod encrypted;
mod filters;
mod foreign;
mod info;
mod luks;
mod map;
mod measure;
mod null;
mod options;
mod overlays;
mod parallels;
mod qcow;
mod qed;
mod quorum;
mod rebase;
mod repair;
mod resize;
mod snapshot;
mod usage;

mod vdi;
mod vhdx;
mod vmdk;
mod vpc;
mod vvfat;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use testkit::case::Case;
use testkit::{known, suite, tximg};

fn main() -> ExitCode {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cases = cases();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let mut patterns: Vec<String> = args.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    patterns.extend(std::env::var("TXIMG_CASE"));
    let is_long = !patterns.is_empty() || std::env::var_os("TXIMG_ALL").is_some();
    let cases = if is_long { cases } else { sample(cases) };
    let known = known::read(&tximg::root().join("docs/DIFFERENCES.md"));

    let started = Instant::now();
    let summary = suite::run(&cases, &patterns, &known);
    println!(
        "differential: {} passed, {} known differences, {} failed in {:.1} s",
        summary.passed,
        summary.known,
        summary.failures.len(),
        started.elapsed().as_secs_f64()
    );
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// So many cases of a family are run where neither patterns nor `TXIMG_ALL` ask for more.
const SAMPLE: usize = 300;

/// Cases of every family, evenly chosen, always the same.
fn sample(cases: Vec<Case>) -> Vec<Case> {
    let family = |case: &Case| case.name.split('/').next().unwrap_or_default().to_owned();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    cases.iter().for_each(|case| *sizes.entry(family(case)).or_default() += 1);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut keep = |case: &Case| {
        let family = family(case);
        let (size, index) = (sizes[&family], seen.entry(family).or_default());
        *index += 1;
        // As many multiples of SAMPLE as sizes are passed on the way through the family.
        size <= SAMPLE || *index * SAMPLE / size > (*index - 1) * SAMPLE / size
    };
    cases.into_iter().filter(|case| keep(case)).collect()
}

/// Every case of every family.
fn cases() -> Vec<Case> {
    let families = [
        usage::cases,
        foreign::cases,
        vdi::cases,
        vhdx::cases,
        luks::cases,
        encrypted::cases,
        vmdk::cases,
        vpc::cases,
        vvfat::cases,
        parallels::cases,
        null::cases,
        qcow::cases,
        qed::cases,
        filters::cases,
        quorum::cases,
        blkdebug::cases,
        blockopts::cases,
        broken::cases,
        options::cases,
        create::cases,
        convert::cases,
        dd::cases,
        directories::cases,
        info::cases,
        map::cases,
        check::cases,
        repair::cases,
        compare::cases,
        measure::cases,
        bench::cases,
        commit::cases,
        rebase::cases,
        snapshot::cases,
        bitmap::cases,
        resize::cases,
        amend::cases,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}
