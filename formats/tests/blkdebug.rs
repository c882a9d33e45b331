//! Images on a disk whose requests fail, and after power cuts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod simulated;

use std::ffi::OsString;
use std::fmt::Write as _;

use formats::engine::{self, Write};
use formats::{Format, Image, OpenContext, PermissiveGate, Result, open_image_opts};
use journal::sim::CrashPlan;
use journal::{Fs, SimFs, Zeroing};
use simulated::{IMAGE, MIB, WRITE, begin, commit, cut_power, image, open, transact};

const FORMATS: [Format; 6] =
    [Format::Raw, Format::Qcow2, Format::Vdi, Format::Vpc, Format::Vhdx, Format::Parallels];

/// Where the rules stand: under the image, or over it and under a raw one.
const LAYOUTS: [&str; 2] = [
    "driver=FORMAT,file.driver=blkdebug,file.image.filename=/image",
    "driver=raw,file.driver=blkdebug,file.image.driver=FORMAT,file.image.file.filename=/image",
];

/// The cases: an image of each format, in each layout.
fn cases() -> impl Iterator<Item = (Format, &'static str)> {
    FORMATS.into_iter().flat_map(|format| LAYOUTS.into_iter().map(move |layout| (format, layout)))
}

/// The image on a disk with rules.
fn open_with(fs: &dyn Fs, (format, layout): (Format, &str), rules: &str) -> Result<Image> {
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
    let options = layout.replace("FORMAT", format.name()) + rules;
    open_image_opts(&context, &OsString::from(options), WRITE)
}

/// Writes into what is there and into what is not, and zeroes.
fn change(fs: &dyn Fs, case: (Format, &str), rules: &str) -> Result<()> {
    let image = open_with(fs, case, rules)?;
    engine::write(&image, MIB + 4000, Write::Data(&[3; 3000]))?;
    engine::write(&image, 5000, Write::Data(&[4; 20_000]))?;
    engine::write(&image, MIB, Write::Zeroes { len: 2 * MIB, how: Zeroing::Keep })?;
    commit(&image)
}

/// The guest's bytes. Space that nothing refers to may be left; not all formats can be checked.
fn found(fs: &SimFs, format: Format) -> Vec<u8> {
    let image = open(&begin(fs), IMAGE, format, WRITE).unwrap();
    if let Ok(report) = image.driver().check(&mut |_| {}) {
        assert_eq!(report.corruptions, 0);
    }
    simulated::content(&image)
}

#[test]
fn a_power_cut_leaves_the_old_disk_or_the_new_one() {
    for case in cases() {
        let (format, _) = case;
        let fs = image(format, "", 4 * MIB, MIB);
        let plan = CrashPlan { per_moment: 8, total: 150, seed: 5 };
        cut_power(&format!("{case:?}"), &fs, plan, |fs| change(fs, case, ""), |fs| found(fs, format));
    }
}

/// Rules by which the request of that number with an event fails, and no other.
fn nth(event: &str, io: &str, number: usize) -> String {
    let mut rules = String::new();
    for state in 1..number {
        let (index, next) = (state - 1, state + 1);
        let set = format!("file.set-state.{index}");
        write!(rules, ",{set}.event={event},{set}.state={state},{set}.new_state={next}").unwrap();
    }
    let inject = "file.inject-error.0";
    write!(rules, ",{inject}.event={event},{inject}.state={number},{inject}.iotype={io}").unwrap();
    write!(rules, ",{inject}.errno=28,{inject}.once=on").unwrap();
    rules
}

#[test]
fn a_request_that_fails_leaves_the_old_image() {
    for case in cases() {
        let (format, _) = case;
        let mut failures = 0;
        for (event, io) in
            [("pwritev", "write"), ("pwritev_zero", "write-zeroes"), ("flush_to_disk", "flush")]
        {
            for number in 1..60 {
                let fs = image(format, "", 4 * MIB, MIB);
                let old = (fs.bytes(IMAGE).unwrap(), found(&fs, format));
                let transaction = begin(&fs);
                match change(&transaction, case, &nth(event, io, number)) {
                    // There are not so many requests.
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.class(), "No space left on device", "{case:?} {event}"),
                }
                drop(transaction);
                failures += 1;
                assert_eq!(found(&fs, format), old.1, "{case:?}, {event} {number}");
                assert!(fs.bytes(IMAGE).unwrap() == old.0, "{case:?}, {event} {number}: the file");
            }
        }
        assert!(failures >= 3, "{case:?}: {failures}");
    }
}

#[test]
fn what_passes_is_written() {
    for case in cases() {
        let (format, _) = case;
        let fs = image(format, "", 4 * MIB, MIB);
        transact(&fs, |fs| change(fs, case, ",file.inject-error.event=l1_update"));
        let content = found(&fs, format);
        assert!(content[5000..25_000].iter().all(|byte| *byte == 4), "{case:?}");
        assert!(content[MIB as usize..3 * MIB as usize].iter().all(|byte| *byte == 0), "{case:?}");
    }
}
