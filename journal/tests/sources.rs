//! Bytes that a transaction takes from another file, and what happens if that file is changed
//! before a recovery needs them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use journal::sim::CrashPlan;
use journal::{Claim, ErrorKind, Fs, OpenOptions, Recovery, SimFs, Transaction};

const LEN: usize = 96 << 10;
const TARGET: &str = "/a/target";
const SOURCE: &str = "/b/source";
const JOURNAL: &str = "/a/target.tximg-journal";

/// A file that has become a copy of another one.
fn copied() -> SimFs {
    let fs = SimFs::new();
    fs.add_file(TARGET, &[b'o'; LEN]);
    fs.add_file(SOURCE, &[b'n'; LEN]);
    let transaction = Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)));
    let target = transaction.open(Path::new(TARGET), OpenOptions::WRITE).unwrap();
    target.lock(Claim::writer()).unwrap();
    let source = transaction.open(Path::new(SOURCE), OpenOptions::READ).unwrap();
    let half = LEN as u64 / 2;
    let target = target.in_place().unwrap();
    for start in [0, half] {
        assert_eq!(target.copy_from(start, &*source, start, half).unwrap(), half);
    }
    transaction.commit().unwrap();
    fs
}

#[test]
fn the_bytes_are_written_once() {
    let fs = copied();
    assert_eq!(fs.bytes(TARGET).unwrap(), [b'n'; LEN]);
    for state in fs.crash_states(CrashPlan { per_moment: 4, total: 4000, seed: 1 }) {
        let journal = state.fs.bytes(JOURNAL).unwrap_or_default();
        assert!(journal.len() < LEN / 8, "the journal names the bytes: {} bytes", journal.len());
    }
}

#[test]
fn a_source_that_was_changed_is_never_taken_for_what_it_was() {
    let fs = copied();
    let (mut old, mut new, mut kept) = (0, 0, 0);
    for state in fs.crash_states(CrashPlan { per_moment: 40, total: 20_000, seed: 2 }) {
        let before = state.fs.bytes(TARGET).unwrap();
        let source = state.fs.open(Path::new(SOURCE), OpenOptions::WRITE).unwrap();
        source.write_at(0, &[b'X'; LEN]).unwrap();
        drop(source);
        let outcome = Recovery::new(Arc::new(state.fs.clone())).recover(Path::new(JOURNAL));
        let now = state.fs.bytes(TARGET).unwrap();
        match outcome {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "state {}: {error}", state.id);
                assert!(now == before && before != [b'o'; LEN], "state {}: untouched", state.id);
                assert!(state.fs.bytes(JOURNAL).is_some(), "state {}: the journal stays", state.id);
                kept += 1;
            }
            Ok(_) if now == [b'o'; LEN] => old += 1,
            Ok(_) => {
                assert!(now == [b'n'; LEN], "state {}: old or new", state.id);
                new += 1;
            }
        }
    }
    assert!(old > 0 && new > 0 && kept > 0, "{old} {new} {kept}");
}
