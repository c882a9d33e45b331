//! The simulated tree's own promises: its log, its crashes and its faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use journal::sim::{CrashId, CrashPlan, Event, Fault, Lasting};
use journal::{Disk, DraftOptions, ErrorKind, Fs, OpenOptions, SimFs};

const PLAN: CrashPlan = CrashPlan { per_moment: 64, total: 100_000, seed: 1 };

fn one_file(bytes: &[u8]) -> (SimFs, Arc<dyn Disk>) {
    let fs = SimFs::new();
    fs.add_file("/a", bytes);
    let disk = fs.open(Path::new("/a"), OpenOptions::WRITE).unwrap();
    (fs, disk)
}

/// Everything that `/a` can be after a crash at any moment.
fn possible(fs: &SimFs) -> BTreeSet<Option<Vec<u8>>> {
    fs.crash_states(PLAN).map(|state| state.fs.bytes("/a")).collect()
}

/// Everything that `/a` can be after a crash at the end.
fn possible_at_end(fs: &SimFs) -> BTreeSet<Option<Vec<u8>>> {
    let end = fs.log().len();
    fs.crash_states(PLAN).filter(|state| state.id.moment() == end).map(|state| state.fs.bytes("/a")).collect()
}

fn some(bytes: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    bytes.iter().map(|bytes| Some(bytes.to_vec())).collect()
}

#[test]
fn unsynced_writes_survive_in_any_combination() {
    let (fs, disk) = one_file(b"....");
    disk.write_at(0, b"1").unwrap();
    disk.write_at(1, b"2").unwrap();
    disk.write_at(2, b"3").unwrap();
    assert_eq!(
        possible(&fs),
        some(&[b"....", b"1...", b".2..", b"..3.", b"12..", b"1.3.", b".23.", b"123."])
    );
}

#[test]
fn a_sync_settles_what_was_before_it() {
    let (fs, disk) = one_file(b"....");
    disk.write_at(0, b"1").unwrap();
    disk.sync().unwrap();
    disk.write_at(1, b"2").unwrap();
    assert_eq!(possible(&fs), some(&[b"....", b"1...", b"12.."]));
    disk.sync().unwrap();
    assert_eq!(possible_at_end(&fs), some(&[b"12.."]));
}

#[test]
fn a_sync_of_one_file_settles_no_other() {
    let (fs, disk) = one_file(b"..");
    fs.add_file("/b", b"..");
    disk.write_at(0, b"1").unwrap();
    fs.open(Path::new("/b"), OpenOptions::WRITE).unwrap().sync().unwrap();
    assert_eq!(possible_at_end(&fs), some(&[b"..", b"1."]));
}

#[test]
fn writes_tear_at_sectors() {
    let (fs, disk) = one_file(&[0; 2048]);
    disk.write_at(256, &[1; 1536]).unwrap();
    let sectors =
        |bytes: Option<Vec<u8>>| bytes.unwrap().chunks(256).map(|half| half[0]).collect::<Vec<u8>>();
    let torn: BTreeSet<Vec<u8>> = possible(&fs).into_iter().map(sectors).collect();
    assert!(torn.contains(&vec![0, 1, 1, 1, 0, 0, 0, 0]), "first half: {torn:?}");
    assert!(torn.contains(&vec![0, 0, 0, 0, 1, 1, 1, 0]), "last half: {torn:?}");
    assert!(torn.contains(&vec![0, 0, 1, 1, 0, 0, 1, 0]), "every other one: {torn:?}");
}

#[test]
fn lengths_and_zeroes_are_changes_too() {
    let (fs, disk) = one_file(b"1234");
    disk.set_len(2).unwrap();
    disk.zero(0..1, journal::Zeroing::Unmap).unwrap();
    assert_eq!(possible(&fs), some(&[b"1234", b"12", b"\x00234", b"\x002"]));
}

#[test]
fn a_published_file_is_old_or_new_and_new_in_the_end() {
    let (fs, disk) = one_file(b"old");
    drop(disk);
    let draft = fs.draft(Path::new("/a"), DraftOptions::default()).unwrap();
    draft.disk().write_at(0, &[7; 5000]).unwrap();
    draft.publish().unwrap();
    assert_eq!(possible(&fs), some(&[b"old", &[7; 5000]]));
    assert_eq!(possible_at_end(&fs), some(&[&[7; 5000]]));
}

#[test]
fn a_volatile_file_may_be_anything() {
    let fs = SimFs::new();
    let draft =
        fs.draft(Path::new("/a"), DraftOptions { volatile: true, ..DraftOptions::default() }).unwrap();
    draft.disk().write_at(0, b"x").unwrap();
    draft.publish().unwrap();
    assert_eq!(possible(&fs), BTreeSet::from([None, Some(b"x".to_vec()), Some(Vec::new()), Some(vec![0])]));
}

#[test]
fn a_removed_name_stays_removed() {
    let (fs, _disk) = one_file(b"old");
    fs.remove(Path::new("/a")).unwrap();
    assert_eq!(possible(&fs), BTreeSet::from([None, Some(b"old".to_vec())]));
    assert_eq!(possible_at_end(&fs), BTreeSet::from([None]));
}

#[test]
fn a_state_is_found_again_by_its_name() {
    let (fs, disk) = one_file(&[0; 4096]);
    for round in 0..10u8 {
        disk.write_at(u64::from(round) * 300, &[round + 1; 700]).unwrap();
    }
    let states: Vec<_> = fs.crash_states(PLAN).collect();
    assert!(states.len() > 200, "{}", states.len());
    for state in states {
        let id: CrashId = state.id.to_string().parse().unwrap();
        assert_eq!(id, state.id);
        assert_eq!(fs.crash_state(&id).unwrap().fs.bytes("/a"), state.fs.bytes("/a"), "{id}");
    }
    assert!(fs.crash_state(&"99:1".parse().unwrap()).is_none());
    assert!("1:x".parse::<CrashId>().is_err());
}

#[test]
fn the_number_of_states_is_bounded() {
    let (fs, disk) = one_file(&[]);
    for round in 0..200u64 {
        disk.write_at(round * 4096, &[1; 4096]).unwrap();
    }
    let states: Vec<_> =
        fs.crash_states(CrashPlan { per_moment: 10, total: 100, seed: 0 }).map(|state| state.id).collect();
    assert!(states.len() <= 120, "{}", states.len());
    assert_eq!(states.last().unwrap().moment(), fs.log().len());
    assert_eq!(states.iter().collect::<BTreeSet<_>>().len(), states.len());
}

#[test]
fn a_crashed_tree_can_be_used_and_crash_again() {
    let (fs, disk) = one_file(b"..");
    disk.write_at(0, b"1").unwrap();
    let state = fs.crash_states(PLAN).last().unwrap();
    assert!(state.fs.log().is_empty());
    let disk = state.fs.open(Path::new("/a"), OpenOptions::WRITE).unwrap();
    disk.write_at(1, b"2").unwrap();
    assert_eq!(possible(&state.fs).len(), 2);
}

#[test]
fn a_failed_sync_latches_its_handle_and_settles_nothing() {
    let (fs, disk) = one_file(b"..");
    disk.write_at(0, b"1").unwrap();
    fs.fail_at(fs.calls(), Fault::Io, Lasting::Once);
    assert_eq!(disk.sync().unwrap_err().kind(), ErrorKind::Io);
    for error in [
        disk.sync().unwrap_err(),
        disk.write_at(0, b"2").unwrap_err(),
        disk.read_at(0, &mut [0]).unwrap_err(),
        disk.len().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Latched);
    }
    assert_eq!(possible_at_end(&fs), some(&[b"..", b"1."]));
    fs.open(Path::new("/a"), OpenOptions::READ).unwrap().len().unwrap();
}

#[test]
fn what_a_sync_failed_to_settle_no_later_sync_settles() {
    let (fs, disk) = one_file(b"..");
    disk.write_at(0, b"1").unwrap();
    fs.fail_at(fs.calls(), Fault::NoSpace, Lasting::Once);
    disk.sync().unwrap_err();
    let again = fs.open(Path::new("/a"), OpenOptions::WRITE).unwrap();
    assert_eq!(fs.bytes("/a").unwrap(), b"1.", "the cache still shows it");
    again.write_at(1, b"2").unwrap();
    again.sync().unwrap();
    assert_eq!(possible_at_end(&fs), some(&[b".2", b"12"]));
}

#[test]
fn a_failed_sync_can_take_back_what_was_written() {
    let (fs, disk) = one_file(b"..");
    disk.write_at(0, b"1").unwrap();
    disk.sync().unwrap();
    disk.write_at(0, b"22").unwrap();
    fs.fail_at(fs.calls(), Fault::Reverting, Lasting::Once);
    disk.sync().unwrap_err();
    assert_eq!(fs.bytes("/a").unwrap(), b"1.");
    let again = fs.open(Path::new("/a"), OpenOptions::WRITE).unwrap();
    again.write_at(1, b"3").unwrap();
    again.sync().unwrap();
    assert_eq!(possible_at_end(&fs), some(&[b"13"]));
}

#[test]
fn a_length_can_be_there_before_the_bytes() {
    let (fs, disk) = one_file(b"");
    disk.write_at(2, b"x").unwrap();
    assert_eq!(possible(&fs), some(&[b"", b"\0\0\0", b"\0\0x"]));
}

#[test]
fn draws_tear_each_sector_by_itself() {
    let (fs, disk) = one_file(&[0; 4096]);
    disk.write_at(0, &[1; 4096]).unwrap();
    let plan = CrashPlan { per_moment: 5000, total: 100_000, seed: 3 };
    let states: BTreeSet<_> = fs.crash_states(plan).map(|state| state.fs.bytes("/a")).collect();
    assert!(states.len() > 200, "of 256 subsets of sectors only {}", states.len());
}

#[test]
fn frozen_trees_tell_what_differs() {
    let (fs, disk) = one_file(&[1; 20_000]);
    let before = fs.freeze();
    disk.write_at(5000, b"x").unwrap();
    let after = fs.freeze();
    let file = before.find("/a").unwrap();
    assert_eq!(after.unshared_pages(file, &before, file), [1]);
    assert_ne!(after.digest(), before.digest());
    disk.write_at(5000, &[1]).unwrap();
    assert_eq!(fs.freeze().digest(), before.digest());
    let thawed = after.thaw();
    assert_eq!((thawed.log().len(), thawed.bytes("/a").unwrap()[5000]), (0, b'x'));
}

#[test]
fn faults_come_once_or_for_ever() {
    let (fs, disk) = one_file(b"....");
    let now = fs.calls();
    fs.fail_at(now, Fault::NoSpace, Lasting::Once);
    fs.fail_at(now + 2, Fault::Short(1), Lasting::Once);
    fs.fail_at(now + 4, Fault::Io, Lasting::ForEver);
    assert_eq!(disk.write_at(0, b"1").unwrap_err().kind(), ErrorKind::NoSpace);
    disk.write_at(1, b"2").unwrap();
    assert_eq!(disk.write_at(2, b"34").unwrap_err().kind(), ErrorKind::NoSpace);
    disk.read_at(0, &mut [0]).unwrap();
    for _ in 0..3 {
        assert_eq!(disk.write_at(0, b"x").unwrap_err().kind(), ErrorKind::Io);
    }
    assert_eq!(fs.bytes("/a").unwrap(), b".23.");
}

#[test]
fn a_draft_whose_publication_fails_leaves_the_target() {
    for call in 0..3 {
        let (fs, disk) = one_file(b"old");
        drop(disk);
        let draft = fs.draft(Path::new("/a"), DraftOptions::default()).unwrap();
        draft.disk().write_at(0, b"new").unwrap();
        fs.fail_at(fs.calls() + call, Fault::Io, Lasting::Once);
        draft.publish().unwrap_err();
        let expected: &[u8] = if call < 2 { b"old" } else { b"new" };
        assert_eq!(fs.bytes("/a").unwrap(), expected, "call {call}");
        fs.open(Path::new("/a"), OpenOptions::WRITE).unwrap().lock(journal::Claim::writer()).unwrap();
    }
}

#[test]
fn links_are_followed_and_other_names_kept() {
    let (fs, disk) = one_file(b"old");
    drop(disk);
    fs.add_symlink("a", "/link");
    fs.draft(Path::new("/link"), DraftOptions::default()).unwrap().publish().unwrap();
    assert_eq!(fs.bytes("/a").unwrap(), b"");
    fs.add_hard_link("/a", "/other").unwrap();
    let draft = fs.draft(Path::new("/a"), DraftOptions::default()).unwrap();
    assert!(!draft.is_atomic());
    draft.disk().write_at(0, b"in place").unwrap();
    assert_eq!(fs.bytes("/other").unwrap(), b"in place");
    draft.publish().unwrap();
    assert_eq!(fs.names(), [Path::new("/a"), Path::new("/link"), Path::new("/other")]);
}

#[test]
fn the_log_tells_what_happened() {
    let fs = SimFs::new();
    let draft = fs.draft(Path::new("/a"), DraftOptions::default()).unwrap();
    draft.disk().write_at(3, b"x").unwrap();
    draft.publish().unwrap();
    let log = fs.log();
    assert!(matches!(&log[0], Event::Write { offset: 3, data, .. } if **data == *b"x"));
    assert!(matches!(&log[1], Event::Sync { .. }));
    assert!(matches!(&log[2], Event::Name { path, .. } if path == Path::new("/a")));
    assert!(matches!(&log[3], Event::SyncDirectory { path } if path == Path::new("/")));
    fs.settle();
    assert!(fs.log().is_empty());
    assert_eq!(possible(&fs), some(&[b"\0\0\0x"]));
}
