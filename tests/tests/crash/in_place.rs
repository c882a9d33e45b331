//! Images that are changed where they stand.

use formats::engine::{Write, write};
use formats::{Durability, Format, Image, Result};
use journal::sim::{CrashPlan, Fault, Lasting};
use journal::{Access, SimFs, Zeroing};

use crate::bench::{PATH, begin, guest, open, oracle_objects};

const PLAN: CrashPlan = CrashPlan { per_moment: 24, total: 3000, seed: 11 };
/// Every so many states, the oracle looks too.
const SAMPLE: usize = 60;

const OPTIONS: [&str; 5] = [
    "size=1M",
    "size=2M,cluster_size=512",
    "size=1M,cluster_size=4k,preallocation=metadata",
    "size=1M,extended_l2=on,cluster_size=16k",
    "size=1M,compat=0.10,cluster_size=4k",
];

/// An image with data in some places, all of it durable.
fn prepared(options: &str) -> SimFs {
    let fs = SimFs::new();
    let new = begin(&fs, Format::Qcow2, options).unwrap();
    for (at, byte) in [(0, 1), (100_000, 2), (400_000, 3), (900_000, 4)] {
        write(new.image(), at, Write::Data(&vec![byte; 70_000])).unwrap();
    }
    new.publish().unwrap();
    fs.settle();
    fs
}

/// Changes of every kind: over data, beside it, over nothing, zeroes, and space given back.
fn change(image: &Image) -> Result<()> {
    write(image, 10, Write::Data(&[9; 100]))?;
    write(image, 120_000, Write::Data(&vec![8; 150_000]))?;
    write(image, 410_000, Write::Zeroes { len: 40_000, how: Zeroing::Unmap })?;
    write(image, 905_000, Write::Zeroes { len: 20_000, how: Zeroing::Keep })?;
    write(image, 700_000, Write::Data(&vec![7; 5000]))
}

/// Changes the image and commits that.
fn run(fs: &SimFs) -> Result<()> {
    let image = open(fs, Format::Qcow2, Access::Write)?;
    change(&image)?;
    image.driver().writer().unwrap().commit(Durability::Durable)
}

/// The guest before and after [`run`].
fn old_and_new(options: &str) -> (Vec<u8>, Vec<u8>) {
    let fs = prepared(options);
    let seen = || guest(&open(&fs, Format::Qcow2, Access::Read).unwrap());
    let old = seen();
    run(&fs).unwrap();
    (old, seen())
}

#[test]
fn a_changed_image_is_old_or_new() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    for options in OPTIONS {
        let (old, new) = old_and_new(options);
        assert!(old != new);
        let fs = prepared(options);
        run(&fs).unwrap();
        let end = fs.log().len();
        for (number, state) in fs.crash_states(PLAN).enumerate() {
            let image = open(&state.fs, Format::Qcow2, Access::Read);
            let image = image.unwrap_or_else(|error| panic!("{options}: {}: {}", state.id, error.report()));
            let left = guest(&image);
            let may_be_old = state.id.moment() < end;
            assert!(left == new || may_be_old && left == old, "{options}: {} is torn", state.id);
            if number % SAMPLE == 0 || state.id.moment() == end {
                let objection = oracle_objects(&state.fs.bytes(PATH).unwrap(), &[&old, &new]);
                assert!(objection.is_none(), "{options}: {}: {}", state.id, objection.unwrap());
            }
        }
    }
}

#[test]
fn an_uncommitted_image_is_as_it_was() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    for options in OPTIONS {
        let fs = prepared(options);
        let image = open(&fs, Format::Qcow2, Access::Write).unwrap();
        let old = guest(&image);
        change(&image).unwrap();
        drop(image);
        for state in fs.crash_states(PLAN) {
            let left = guest(&open(&state.fs, Format::Qcow2, Access::Read).unwrap());
            assert!(left == old, "{options}: {} changed", state.id);
        }
    }
}

#[test]
fn any_call_that_fails_leaves_old_or_new() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let options = "size=1M,cluster_size=4k";
    let (old, new) = old_and_new(options);
    for (fault, lasting) in
        [(Fault::Io, Lasting::Once), (Fault::NoSpace, Lasting::ForEver), (Fault::Short(700), Lasting::Once)]
    {
        for call in 0.. {
            let fs = prepared(options);
            fs.fail_at(call, fault, lasting);
            let result = run(&fs);
            let ran_out = fs.calls() <= call;
            // Whatever is on the disk now can also be what a power cut leaves of it.
            for state in fs.crash_states(CrashPlan { per_moment: 8, total: 8, seed: call }) {
                let left = guest(&open(&state.fs, Format::Qcow2, Access::Read).unwrap());
                assert!(left == new || left == old, "{fault:?} {lasting:?} at {call}: {} is torn", state.id);
            }
            fs.settle();
            let left = guest(&open(&fs, Format::Qcow2, Access::Read).unwrap());
            assert!(left == new || result.is_err() && left == old, "{fault:?} {lasting:?} at {call}");
            if call % 10 == 0 || ran_out {
                let objection = oracle_objects(&fs.bytes(PATH).unwrap(), &[&left]);
                assert!(objection.is_none(), "{fault:?} {lasting:?} at {call}: {}", objection.unwrap());
            }
            if ran_out {
                break;
            }
        }
    }
}
