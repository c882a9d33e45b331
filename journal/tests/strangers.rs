//! Journals of other users are not believed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;
use std::os::unix::fs::chown;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use journal::{ErrorKind, Fs, OpenOptions, Outcome, RealFs, Recovery, Transaction};

#[test]
fn a_strangers_journal_is_refused_and_can_be_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (image, journal) = (dir.path().join("image"), dir.path().join("image.tximg-journal"));
    fs::write(&image, b"image").unwrap();
    fs::write(&journal, b"whatever").unwrap();
    if chown(&journal, Some(65534), None).is_err() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let transaction = Transaction::begin(Arc::new(RealFs), Arc::new(AtomicBool::new(false)));
    for options in [OpenOptions::READ, OpenOptions::WRITE] {
        let error = transaction.open(&image, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("belongs to another user"), "{error}");
    }
    let recovery = Recovery::new(Arc::new(RealFs));
    assert_eq!(recovery.recover(&journal).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(recovery.explain(&journal).unwrap().unwrap().decision.contains("another user"));
    assert_eq!(recovery.discard(&journal).unwrap(), Outcome::RolledBack);
    assert!(!journal.exists());
    transaction.open(&image, OpenOptions::WRITE).unwrap();
}
