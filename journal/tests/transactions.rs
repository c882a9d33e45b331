//! What a transaction promises, on simulated disks: after any crash, everything or nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::sim::{CrashPlan, Fault, Lasting};
use journal::{Claim, Disk, DraftOptions, ErrorKind, Fs, OpenOptions, Recovery, Result, SimFs, Transaction};

/// Bytes of the simulated images.
const LEN: usize = 8192;

fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// Two images in different directories, and a third to be removed.
fn images() -> SimFs {
    let fs = SimFs::new();
    fs.add_file("/a/base", &[b'o'; LEN]);
    fs.add_file("/b/overlay", &[b'o'; LEN]);
    fs.add_file("/b/old", b"old");
    fs.add_file("/b/made", b"before");
    fs
}

fn open(transaction: &Transaction, path: &str) -> Result<Arc<dyn Disk>> {
    let disk = transaction.open(Path::new(path), OpenOptions::WRITE)?;
    disk.lock(Claim::writer())?;
    Ok(disk)
}

/// New data past the end, two roots, bytes taken from one file into the other, a new length, a new
/// file, a move and a removal.
fn change(transaction: &Transaction) -> Result<()> {
    let (base, overlay) = (open(transaction, "/a/base")?, open(transaction, "/b/overlay")?);
    overlay.write_at(LEN as u64, &[b'n'; 1024])?;
    if let Some(base) = base.in_place() {
        base.write_at(0, &[b'n'; 600])?;
        base.copy_from(4096, &*overlay, LEN as u64, 1024)?;
        base.write_at(2048, &[b'N'; 20_000])?;
    }
    if let Some(overlay) = overlay.in_place() {
        overlay.write_at(512, &[b'n'; 100])?;
    }
    let made = transaction.draft(Path::new("/b/made"), DraftOptions::default())?;
    made.disk().write_at(0, b"after")?;
    made.publish()?;
    transaction.unlink(Path::new("/b/old"))
}

/// Every file as it reads now, names and journals included.
fn seen(fs: &SimFs) -> Vec<(String, Option<Vec<u8>>)> {
    let names = fs.names();
    names.iter().map(|name| (name.display().to_string(), fs.bytes(name))).collect()
}

/// The same in short.
fn shown(seen: &[(String, Option<Vec<u8>>)]) -> String {
    let file = |(name, bytes): &(String, Option<Vec<u8>>)| {
        let bytes = bytes.as_deref().unwrap_or_default();
        let runs = bytes.chunk_by(|a, b| a == b).map(|run| format!("{}×{}", run[0] as char, run.len()));
        format!("{name}: {}\n", runs.take(12).collect::<Vec<_>>().join(" "))
    };
    seen.iter().map(file).collect()
}

/// The same after whatever is pending was recovered by opening.
fn recovered(fs: &SimFs) -> Vec<(String, Option<Vec<u8>>)> {
    let transaction = begin(fs);
    for path in ["/a/base", "/b/overlay", "/b/made", "/b/old"] {
        match transaction.open(Path::new(path), OpenOptions::WRITE) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let finding = Recovery::new(Arc::new(fs.clone())).explain(Path::new("/a/base.tximg-journal"));
                panic!("{path}: {error}\n{finding:#?}\n{:?}", fs.names());
            }
        }
    }
    drop(transaction);
    let mut seen = seen(fs);
    // What was written past the end is not referred to.
    for (name, bytes) in &mut seen {
        if let (true, Some(bytes)) = (name == "/b/overlay", bytes) {
            bytes.truncate(LEN);
        }
    }
    seen
}

/// The states before and after.
fn both() -> [Vec<(String, Option<Vec<u8>>)>; 2] {
    let old = images();
    let new = images();
    let transaction = begin(&new);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    assert!(
        !new.names().iter().any(|name| name.display().to_string().contains("tximg")),
        "{:?}",
        new.names()
    );
    let both = [recovered(&old), recovered(&new)];
    assert_ne!(both[0], both[1]);
    both
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does() {
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    let base = transaction.open(Path::new("/a/base"), OpenOptions::READ).unwrap();
    let mut bytes = vec![0; 22_048];
    base.read_exact_at(0, &mut bytes).unwrap();
    assert!(bytes[..600].iter().all(|byte| *byte == b'n') && bytes[2048..].iter().all(|byte| *byte == b'N'));
    assert_eq!(fs.bytes("/a/base").unwrap(), [b'o'; LEN]);
    let made = transaction.open(Path::new("/b/made"), OpenOptions::READ).unwrap();
    assert_eq!(made.len().unwrap(), 5);
    let gone = transaction.open(Path::new("/b/old"), OpenOptions::READ).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    drop((base, made));
    drop(transaction);
    assert_eq!(recovered(&fs), recovered(&images()));
    assert_eq!(fs.bytes("/b/overlay").unwrap().len(), LEN);
}

#[test]
fn after_any_crash_everything_or_nothing_happened() {
    let [old, new] = both();
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let plan = CrashPlan { per_moment: 100, total: 100_000, seed: 1 };
    let mut counts = [0; 2];
    let end = fs.log().len();
    for state in fs.crash_states(plan) {
        let found = recovered(&state.fs);
        let is_new = found == new;
        assert!(is_new || found == old, "state {}:\n{}", state.id, shown(&found));
        assert!(is_new || state.id.moment() < end, "state {}: not durable", state.id);
        counts[usize::from(is_new)] += 1;
    }
    println!("{counts:?}");
    assert!(counts[0] > 100 && counts[1] > 100, "{counts:?}");
}

#[test]
fn a_crash_of_the_recovery_is_a_crash_like_any_other() {
    let [old, new] = both();
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let plan = CrashPlan { per_moment: 12, total: 3000, seed: 2 };
    for first in fs.crash_states(plan) {
        let _ = recovered(&first.fs);
        for second in first.fs.crash_states(CrashPlan { per_moment: 6, total: 60, seed: 3 }) {
            let found = recovered(&second.fs);
            assert!(found == new || found == old, "state {} {}:\n{}", first.id, second.id, shown(&found));
        }
    }
}

#[test]
fn an_error_anywhere_leaves_the_old_state_or_says_what_is_pending() {
    let [old, new] = both();
    let probe = images();
    let transaction = begin(&probe);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let calls = probe.calls();
    let faults = [Fault::Io, Fault::NoSpace, Fault::Short(100)];
    for call in 0..calls {
        for fault in faults {
            for lasting in [Lasting::Once, Lasting::ForEver] {
                let fs = images();
                fs.fail_at(call, fault, lasting);
                let transaction = begin(&fs);
                let result = change(&transaction).and_then(|()| transaction.commit());
                fs.settle();
                let found = recovered(&fs);
                let about = format!("call {call} {fault:?} {lasting:?}: {result:?}\n{}", shown(&found));
                match result {
                    Ok(()) => assert!(found == new, "{about}"),
                    Err(error) if error.kind() == ErrorKind::Pending => {
                        assert!(found == new || found == old, "{about}");
                    }
                    Err(_) => assert!(without_leftovers(&found) == old, "{about}"),
                }
            }
        }
    }
}

/// Leaves out hidden files that could not be removed any more.
fn without_leftovers(seen: &[(String, Option<Vec<u8>>)]) -> Vec<(String, Option<Vec<u8>>)> {
    seen.iter().filter(|(name, _)| !name.contains("tximg")).cloned().collect()
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_never_overwritten() {
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let mut conflicts = 0;
    for state in fs.crash_states(CrashPlan { per_moment: 4, total: 2000, seed: 4 }) {
        let before = seen(&state.fs);
        let foreign = state.fs.open(Path::new("/a/base"), OpenOptions::WRITE).unwrap();
        foreign.write_at(100, &[b'F'; 3000]).unwrap();
        drop(foreign);
        let recovery = Recovery::new(Arc::new(state.fs.clone()));
        let outcome = recovery.recover(Path::new("/a/base.tximg-journal"));
        let now = state.fs.bytes("/a/base").unwrap();
        assert!(now[100..3100].iter().all(|byte| *byte == b'F'), "state {}", state.id);
        if outcome.is_err() {
            conflicts += 1;
            assert!(recovery.explain(Path::new("/a/base.tximg-journal")).unwrap().is_some());
            let kept = seen(&state.fs);
            assert_eq!(kept.len(), before.len());
        }
    }
    assert!(conflicts > 0);
}

#[test]
fn what_somebody_put_back_within_a_sector_stays() {
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    for state in fs.crash_states(CrashPlan { per_moment: 4, total: 2000, seed: 5 }) {
        let foreign = state.fs.open(Path::new("/b/overlay"), OpenOptions::WRITE).unwrap();
        foreign.write_at(512, &[b'o'; 50]).unwrap();
        drop(foreign);
        let outcome =
            Recovery::new(Arc::new(state.fs.clone())).recover(Path::new("/b/overlay.tximg-journal"));
        assert!(outcome.is_ok() || outcome.is_err_and(|error| error.kind() == ErrorKind::Conflict));
        let now = state.fs.bytes("/b/overlay").unwrap();
        assert!(now[512..562].iter().all(|byte| *byte == b'o'), "state {}", state.id);
    }
}

#[test]
fn a_new_file_that_was_moved_is_a_conflict() {
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let mut conflicts = 0;
    for state in fs.crash_states(CrashPlan { per_moment: 4, total: 2000, seed: 6 }) {
        if state.fs.bytes("/b/made").as_deref() != Some(b"after") {
            continue;
        }
        state.fs.rename(Path::new("/b/made"), Path::new("/b/moved")).unwrap();
        let outcome = Recovery::new(Arc::new(state.fs.clone())).recover(Path::new("/a/base.tximg-journal"));
        match outcome {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "state {}", state.id);
                conflicts += 1;
            }
        }
        assert_eq!(state.fs.bytes("/b/moved").as_deref(), Some(&b"after"[..]), "state {}", state.id);
    }
    assert!(conflicts > 0);
}

#[test]
fn readers_see_through_a_journal_that_they_cannot_finish() {
    let [old, new] = both();
    let fs = images();
    let transaction = begin(&fs);
    change(&transaction).unwrap();
    transaction.commit().unwrap();
    let read = |fs: &SimFs, path: &str| {
        let transaction = begin(fs);
        let disk = transaction.open(Path::new(path), OpenOptions::READ).ok()?;
        let mut bytes = vec![0; disk.len().unwrap() as usize];
        disk.read_exact_at(0, &mut bytes).unwrap();
        Some(bytes)
    };
    let in_state = |state: &[(String, Option<Vec<u8>>)], path: &str| {
        state.iter().find(|(name, _)| name == path).and_then(|(_, bytes)| bytes.clone())
    };
    let mut through = 0;
    for state in fs.crash_states(CrashPlan { per_moment: 6, total: 4000, seed: 5 }) {
        // Somebody reads the base all the time, so that it cannot be written.
        let reader = state.fs.open(Path::new("/a/base"), OpenOptions::READ).unwrap();
        reader.lock(Claim::reader()).unwrap();
        let names = state.fs.names();
        let base = read(&state.fs, "/a/base");
        let overlay = read(&state.fs, "/b/overlay").map(|mut bytes| {
            bytes.truncate(LEN);
            bytes
        });
        let fits = |whole: &[(String, Option<Vec<u8>>)]| {
            base == in_state(whole, "/a/base") && overlay == in_state(whole, "/b/overlay")
        };
        assert!(
            fits(&old) || fits(&new),
            "state {}: {names:?} {:?}",
            state.id,
            base.as_ref().map(|base| base.len())
        );
        let journal = Path::new("/a/base.tximg-journal");
        through += usize::from(fits(&new) && names.iter().any(|name| name == journal));
    }
    assert!(through > 0);
}

#[test]
fn an_interrupt_rolls_back() {
    let fs = images();
    let interrupt = Arc::new(AtomicBool::new(false));
    let transaction = Transaction::begin(Arc::new(fs.clone()), Arc::clone(&interrupt) as _);
    change(&transaction).unwrap();
    interrupt.store(true, Ordering::SeqCst);
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(seen(&fs), seen(&images()));
}

#[test]
fn handles_of_one_transaction_are_in_each_others_way_only_while_they_live() {
    let fs = images();
    let transaction = begin(&fs);
    let first = open(&transaction, "/a/base").unwrap();
    let refused = open(&transaction, "/a/base").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    drop(first);
    open(&transaction, "/a/base").unwrap();
    let stranger = fs.open(Path::new("/a/base"), OpenOptions::READ).unwrap();
    assert_eq!(stranger.lock(Claim::reader()).unwrap_err().kind(), ErrorKind::Locked);
    drop(transaction);
    stranger.lock(Claim::reader()).unwrap();
}
