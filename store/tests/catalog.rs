//! The catalog among other users of its files.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use formats::{OpenContext, PermissiveGate};
use journal::RealFs;
use rusqlite::Connection;
use store::catalog::{Catalog, Ending, Event, Place, record_at};

const CONTEXT: OpenContext<'static> = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };

/// Remembers that an image was made.
fn remember(place: &Place, image: &PathBuf) {
    let command = ["tximg", "create"].map(OsString::from);
    let event = Event {
        command: &command,
        started: SystemTime::now(),
        ended: SystemTime::now(),
        ending: Ending::Done,
        code: 0,
        message: "",
        changed: std::slice::from_ref(image),
    };
    record_at(&RealFs, place, &event).unwrap();
}

struct Scene {
    dir: tempfile::TempDir,
    place: Place,
    image: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::at(dir.path().join("catalog.sqlite"));
        let image = dir.path().canonicalize().unwrap().join("a.raw");
        std::fs::write(&image, [0; 512]).unwrap();
        Self { dir, place, image }
    }

    fn absorbed(&self) -> Catalog {
        let mut catalog = Catalog::open(&self.place).unwrap();
        catalog.absorb(&CONTEXT).unwrap();
        catalog
    }

    fn events(&self) -> usize {
        self.absorbed().log(&RealFs, None).unwrap().len()
    }
}

#[test]
fn commands_do_not_wait_for_a_locked_database() {
    let scene = Scene::new();
    drop(scene.absorbed());
    let other = Connection::open(scene.place.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = Instant::now();
    remember(&scene.place, &scene.image);
    assert!(started.elapsed() < Duration::from_secs(1));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(scene.events(), 1);
}

#[test]
fn readers_wait_for_a_writer() {
    let scene = Scene::new();
    remember(&scene.place, &scene.image);
    let other = Connection::open(scene.place.path()).unwrap();
    drop(scene.absorbed());
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| scene.events());
        std::thread::sleep(Duration::from_millis(200));
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn events_of_a_killed_absorber_are_neither_lost_nor_entered_twice() {
    let scene = Scene::new();
    let spool = scene.dir.path().join("catalog.sqlite-spool");
    let absorbing = scene.dir.path().join("catalog.sqlite-absorbing");
    remember(&scene.place, &scene.image);
    let left = std::fs::read(&spool).unwrap();
    // Killed after the rename, before the entry.
    std::fs::rename(&spool, &absorbing).unwrap();
    remember(&scene.place, &scene.image);
    assert_eq!(scene.events(), 2);
    // Killed after the entry, before the removal.
    std::fs::write(&absorbing, &left).unwrap();
    assert_eq!(scene.events(), 2);
    assert!(!spool.exists() && !absorbing.exists());
}

#[test]
fn torn_lines_cost_only_themselves() {
    let scene = Scene::new();
    let spool = scene.dir.path().join("catalog.sqlite-spool");
    remember(&scene.place, &scene.image);
    let line = std::fs::read(&spool).unwrap();
    for cut in [1, line.len() / 2, line.len() - 2] {
        std::fs::write(&spool, &line[..cut]).unwrap();
        remember(&scene.place, &scene.image);
    }
    std::fs::write(&spool, [&line[..], b"\n{\"key\":7}\nnull\n\xff\n", &[0; 4096]].concat()).unwrap();
    remember(&scene.place, &scene.image);
    assert_eq!(scene.events(), 2);
}

#[test]
fn a_full_spool_is_absorbed_by_whoever_fills_it() {
    let scene = Scene::new();
    let spool = scene.dir.path().join("catalog.sqlite-spool");
    remember(&scene.place, &scene.image);
    let mut long = std::fs::read(&spool).unwrap();
    long.resize(2 << 20, b'\n');
    std::fs::write(&spool, long).unwrap();
    remember(&scene.place, &scene.image);
    assert!(!spool.exists());
    assert_eq!(scene.events(), 2);
}
