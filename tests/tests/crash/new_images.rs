//! Images that are made.

use formats::Format;
use formats::engine::{Write, write};
use journal::sim::{CrashPlan, Fault, Lasting};
use journal::{Access, SimFs};

use crate::bench::{PATH, begin, guest, open};

const PLAN: CrashPlan = CrashPlan { per_moment: 12, total: 4000, seed: 7 };

/// The ways to make an image.
const WAYS: [(Format, &str); 8] = [
    (Format::Qcow2, "size=1M"),
    (Format::Qcow2, "size=1M,cluster_size=512,preallocation=metadata"),
    (Format::Qcow2, "size=300k,preallocation=full"),
    (Format::Qcow2, "size=1M,extended_l2=on,cluster_size=16k"),
    (Format::Qcow2, "size=1M,compat=0.10"),
    (Format::Qcow2, "size=64k,refcount_bits=1,cluster_size=4k,preallocation=falloc"),
    (Format::Raw, "size=100k"),
    (Format::Raw, "size=100k,preallocation=full"),
];

/// The guest bytes that are not zero.
const WRITTEN: std::ops::Range<usize> = 3000..23_000;

/// Makes an image with something in it.
fn make(fs: &SimFs, (format, options): (Format, &str)) -> formats::Result<()> {
    let new = begin(fs, format, options)?;
    write(new.image(), WRITTEN.start as u64, Write::Data(&vec![5; WRITTEN.len()]))?;
    new.publish()
}

#[test]
fn a_new_image_is_there_whole_or_not_at_all() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    for way in WAYS {
        for old in [None, Some(b"what was there before".to_vec())] {
            let fs = SimFs::new();
            if let Some(old) = &old {
                fs.add_file(PATH, old);
            }
            make(&fs, way).unwrap();
            let new = fs.bytes(PATH);
            let content = guest(&open(&fs, way.0, Access::Read).unwrap());
            assert!(
                content
                    .iter()
                    .enumerate()
                    .all(|(at, &byte)| byte == if WRITTEN.contains(&at) { 5 } else { 0 })
            );
            let end = fs.log().len();
            let mut states = 0;
            for state in fs.crash_states(PLAN) {
                let left = state.fs.bytes(PATH);
                let may_be_old = state.id.moment() < end;
                assert!(left == new || may_be_old && left == old, "{way:?}: {} is torn", state.id);
                states += 1;
            }
            assert!(states > end, "{way:?}: only {states} states of {end} events");
        }
    }
}

#[test]
fn any_call_that_fails_keeps_the_old_file() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short(700)] {
        for lasting in [Lasting::Once, Lasting::ForEver] {
            for call in 0.. {
                let fs = SimFs::new();
                fs.add_file(PATH, b"old");
                fs.fail_at(call, fault, lasting);
                let made = make(&fs, WAYS[0]);
                if made.is_ok() {
                    // Some calls may fail without harm; past the last one nothing fails.
                    if fs.calls() <= call {
                        break;
                    }
                    assert_ne!(fs.bytes(PATH).unwrap(), b"old");
                    continue;
                }
                let failed_after_the_name = fs.bytes(PATH).unwrap() != b"old";
                assert!(!failed_after_the_name || call + 1 == fs.calls(), "{fault:?} {lasting:?} at {call}");
                assert_eq!(fs.names().len(), 1);
            }
        }
    }
}
