//! One suite for every implementation of the contracts: the real one on the build directory's
//! filesystem and on tmpfs, through the page cache and past it, and the simulated one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use journal::{
    Access, AlignedBuf, Allocate, Caching, Claim, Disk, DiskKind, Draft, DraftOptions, ErrorKind, ExtentKind,
    Fs, OpenOptions, RealFs, SimFs, Zeroing,
};

/// A tree under test, and a directory in it.
struct Bench {
    fs: Box<dyn Fs>,
    root: PathBuf,
    caching: Caching,
    _scratch: Option<tempfile::TempDir>,
}

impl Bench {
    fn real(parent: &str, caching: Caching) -> Self {
        let scratch = tempfile::tempdir_in(parent).unwrap();
        Self { fs: Box::new(RealFs), root: scratch.path().to_owned(), caching, _scratch: Some(scratch) }
    }

    fn simulated() -> Self {
        let fs = SimFs::new();
        fs.add_directory("/images");
        Self { fs: Box::new(fs), root: "/images".into(), caching: Caching::Cached, _scratch: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn open(&self, name: &str) -> Arc<dyn Disk> {
        self.fs
            .open(
                &self.path(name),
                OpenOptions { access: Access::Write, caching: self.caching, ..OpenOptions::READ },
            )
            .unwrap()
    }

    fn draft(&self, name: &str) -> Box<dyn Draft> {
        self.fs.draft(&self.path(name), DraftOptions::default()).unwrap()
    }

    /// A published file with these bytes.
    fn make(&self, name: &str, bytes: &[u8]) -> Arc<dyn Disk> {
        let draft = self.draft(name);
        draft.disk().write_at(0, bytes).unwrap();
        draft.publish().unwrap();
        self.open(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        contents(&*self.fs.open(&self.path(name), OpenOptions::READ).unwrap())
    }
}

fn contents(disk: &dyn Disk) -> Vec<u8> {
    let mut bytes = vec![0xee; disk.len().unwrap() as usize];
    disk.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// Runs each case against each implementation.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod build_directory { $(#[test] fn $case() {
            super::$case(&super::Bench::real(env!("CARGO_TARGET_TMPDIR"), super::Caching::Cached));
        })* }
        mod build_directory_past_the_cache { $(#[test] fn $case() {
            super::$case(&super::Bench::real(env!("CARGO_TARGET_TMPDIR"), super::Caching::Direct));
        })* }
        mod tmpfs { $(#[test] fn $case() {
            super::$case(&super::Bench::real("/dev/shm", super::Caching::Cached));
        })* }
        mod simulated { $(#[test] fn $case() { super::$case(&super::Bench::simulated()); })* }
    };
}

conformance!(
    reads_stop_at_the_end,
    vectored_writes_are_one_run,
    bulk_writes_are_coherent,
    odd_transfers_are_exact,
    lengths_change,
    zeroes_inside_and_past_the_end,
    growth_cuts_nothing_that_another_thread_wrote,
    holes_are_seen,
    allocation_keeps_bytes,
    a_draft_is_invisible_until_published,
    a_dropped_draft_leaves_nothing,
    a_draft_keeps_the_old_content_until_published,
    a_draft_needs_its_directory,
    a_used_target_is_refused,
    a_draft_guards_the_old_file_until_published,
    readers_share_and_writers_exclude,
    a_failed_claim_changes_nothing,
    names_are_removed,
    a_reader_cannot_write,
);

fn reads_stop_at_the_end(bench: &Bench) {
    let disk = bench.make("a", b"0123456789");
    let mut buf = [0xff; 8];
    assert_eq!(disk.read_at(6, &mut buf).unwrap(), 4);
    assert_eq!(&buf[..4], b"6789");
    assert_eq!(disk.read_at(10, &mut buf).unwrap(), 0);
    assert_eq!(disk.read_at(u64::MAX - 100, &mut buf).unwrap(), 0);
    disk.read_padded(8, &mut buf).unwrap();
    assert_eq!(&buf, b"89\0\0\0\0\0\0");
    assert_eq!(disk.read_exact_at(6, &mut buf).unwrap_err().kind(), ErrorKind::UnexpectedEnd);
    disk.read_exact_at(2, &mut buf).unwrap();
    assert_eq!(&buf, b"23456789");
}

fn vectored_writes_are_one_run(bench: &Bench) {
    let disk = bench.make("a", b"");
    let pieces: Vec<Vec<u8>> =
        (0..3000u32).map(|n| n.to_le_bytes()[..(n % 4) as usize + 1].to_vec()).collect();
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    disk.write_vectored_at(5, &slices).unwrap();
    let mut expected = vec![0; 5];
    expected.extend(pieces.concat());
    assert_eq!(contents(&*disk), expected);
}

fn bulk_writes_are_coherent(bench: &Bench) {
    let disk = bench.make("a", &[1; 100]);
    let mut bulk = AlignedBuf::new(1 << 20);
    bulk.fill(2);
    disk.write_bulk_at(0, &bulk).unwrap();
    disk.write_at(4000, &[3; 200]).unwrap();
    bulk[..300_001].fill(4);
    disk.write_bulk_at(65536, &bulk[..300_001]).unwrap();
    disk.write_bulk_at(1_000_001, &bulk[1..200_000]).unwrap();
    let mut expected = vec![2; 1 << 20];
    expected.resize(1_000_001 + 199_999, 0);
    expected[4000..4200].fill(3);
    expected[65536..65536 + 300_001].fill(4);
    expected[1_000_001..].fill(4);
    assert!(contents(&*disk) == expected);
    assert!(bench.bytes("a") == expected, "another handle sees the same");
}

fn odd_transfers_are_exact(bench: &Bench) {
    let disk = bench.make("a", &[]);
    let mut model = vec![0u8; 40_000];
    disk.set_len(40_000).unwrap();
    let mut place = 1usize;
    for round in 0..60u8 {
        place = (place * 7919 + 13) % 39_000;
        let end = (place + usize::from(round) * 97 + 1).min(model.len());
        let bytes = vec![round; end - place];
        disk.write_at(place as u64, &bytes).unwrap();
        model[place..end].copy_from_slice(&bytes);
        let from = place.saturating_sub(700);
        let mut seen = vec![0; (end + 300).min(model.len()) - from];
        disk.read_exact_at(from as u64, &mut seen).unwrap();
        assert!(seen == model[from..from + seen.len()], "round {round}");
    }
    assert_eq!(disk.len().unwrap(), 40_000);
}

fn lengths_change(bench: &Bench) {
    let disk = bench.make("a", &[7; 5000]);
    disk.set_len(100).unwrap();
    disk.set_len(9000).unwrap();
    let mut expected = vec![7; 100];
    expected.resize(9000, 0);
    assert_eq!(contents(&*disk), expected);
    let status = disk.status().unwrap();
    assert_eq!((status.kind, status.len, status.links), (DiskKind::Regular, 9000, 1));
    assert_eq!(bench.fs.status(&bench.path("a")).unwrap().unwrap().identity, status.identity);
}

fn zeroes_inside_and_past_the_end(bench: &Bench) {
    for how in [Zeroing::Unmap, Zeroing::Keep] {
        let disk = bench.make("a", &[9; 20_000]);
        disk.zero(100..10_000, how).unwrap();
        disk.zero(19_000..30_000, how).unwrap();
        disk.zero(5..5, how).unwrap();
        disk.zero(50_000..50_000, how).unwrap();
        let mut expected = vec![9; 20_000];
        expected.resize(30_000, 0);
        expected[100..10_000].fill(0);
        expected[19_000..].fill(0);
        assert!(contents(&*disk) == expected, "{how:?}");
        assert_eq!(disk.len().unwrap(), 30_000);
    }
}

fn growth_cuts_nothing_that_another_thread_wrote(bench: &Bench) {
    const STEPS: u64 = 200;
    const STEP: u64 = 8192;
    let disk = bench.make("a", &[]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 0..STEPS {
                disk.zero(step * STEP..step * STEP + STEP / 2, Zeroing::Unmap).unwrap();
            }
        });
        scope.spawn(|| {
            for step in 0..STEPS {
                disk.write_at(step * STEP + STEP / 2, &[1; (STEP / 2) as usize]).unwrap();
            }
        });
    });
    let bytes = contents(&*disk);
    assert_eq!(bytes.len() as u64, STEPS * STEP);
    for (number, half) in bytes.chunks((STEP / 2) as usize).enumerate() {
        assert!(half.iter().all(|&byte| byte == (number % 2) as u8), "half {number}");
    }
}

fn holes_are_seen(bench: &Bench) {
    let disk = bench.make("a", &[]);
    disk.set_len(1 << 20).unwrap();
    disk.write_at(65536, &[1; 65536]).unwrap();
    let runs = |disk: &dyn Disk| {
        let mut runs = Vec::new();
        let mut at = 0;
        while at < 1 << 20 {
            let extent = disk.extent_at(at).unwrap();
            assert!(extent.end > at);
            at = extent.end;
            runs.push((extent.kind, at));
        }
        runs
    };
    assert_eq!(
        runs(&*disk),
        [(ExtentKind::Hole, 65536), (ExtentKind::Data, 131_072), (ExtentKind::Hole, u64::MAX)]
    );
    let inside = disk.extent_at(70_000).unwrap();
    assert_eq!((inside.kind, inside.end), (ExtentKind::Data, 131_072));
    disk.zero(65536..131_072, Zeroing::Unmap).unwrap();
    assert_eq!(runs(&*disk), [(ExtentKind::Hole, u64::MAX)]);
    assert_eq!(disk.extent_at(1 << 40).unwrap().end, u64::MAX);
    assert_eq!(disk.extent_at(u64::MAX).unwrap().kind, ExtentKind::Hole);
}

fn allocation_keeps_bytes(bench: &Bench) {
    let disk = bench.make("a", &[5; 1000]);
    disk.allocate(0..100_000, Allocate::KeepLength).unwrap();
    assert_eq!(disk.len().unwrap(), 1000);
    disk.allocate(500..8000, Allocate::Grow).unwrap();
    let mut expected = vec![5; 1000];
    expected.resize(8000, 0);
    assert_eq!(contents(&*disk), expected);
}

fn a_draft_is_invisible_until_published(bench: &Bench) {
    let draft = bench.draft("new");
    assert!(draft.is_atomic());
    assert_eq!(draft.target(), bench.path("new"));
    draft.disk().write_at(0, b"content").unwrap();
    assert_eq!(bench.fs.status(&bench.path("new")).unwrap(), None);
    let held = draft.disk();
    draft.publish().unwrap();
    assert_eq!(bench.bytes("new"), b"content");
    held.write_at(0, b"C").unwrap();
    assert_eq!(bench.bytes("new"), b"Content", "the draft's disk is the published file");
}

fn a_dropped_draft_leaves_nothing(bench: &Bench) {
    bench.make("kept", b"old");
    for name in ["new", "kept"] {
        let draft = bench.draft(name);
        draft.disk().write_at(0, b"never seen").unwrap();
        drop(draft);
    }
    assert_eq!(bench.fs.status(&bench.path("new")).unwrap(), None);
    assert_eq!(bench.bytes("kept"), b"old");
    bench.open("kept").lock(Claim::writer()).unwrap();
}

fn a_draft_keeps_the_old_content_until_published(bench: &Bench) {
    let reader = bench.make("a", b"old");
    let draft = bench.draft("a");
    draft.disk().write_at(0, b"new content").unwrap();
    assert_eq!(bench.bytes("a"), b"old");
    draft.publish().unwrap();
    assert_eq!(bench.bytes("a"), b"new content");
    assert_eq!(contents(&*reader), b"old", "who had it open keeps what he had");
}

fn a_draft_needs_its_directory(bench: &Bench) {
    let error = bench.fs.draft(&bench.path("missing/a"), DraftOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.reason().as_str()), (ErrorKind::NotFound, "No such file or directory"));
}

fn a_used_target_is_refused(bench: &Bench) {
    let user = bench.make("a", b"old");
    user.lock(Claim::reader()).unwrap();
    let error = bench.fs.draft(&bench.path("a"), DraftOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.op()), (ErrorKind::Locked, "Failed to get \"write\" lock"));
    user.lock(Claim::none()).unwrap();
    bench.draft("a");
}

fn a_draft_guards_the_old_file_until_published(bench: &Bench) {
    let user = bench.make("a", b"old");
    let draft = bench.draft("a");
    assert_eq!(user.lock(Claim::reader()).unwrap_err().op(), "Failed to get shared \"write\" lock");
    draft.publish().unwrap();
    user.lock(Claim::reader()).unwrap();
}

fn readers_share_and_writers_exclude(bench: &Bench) {
    let (one, two) = (bench.make("a", b"x"), bench.open("a"));
    one.lock(Claim::reader()).unwrap();
    two.lock(Claim::reader()).unwrap();
    let error = two.lock(Claim::writer()).unwrap_err();
    assert_eq!(error.op(), "Failed to get \"write\" lock");
    assert_eq!(error.reason(), "Failed to get \"write\" lock");
    drop(one);
    two.lock(Claim::writer()).unwrap();
    let three = bench.open("a");
    assert_eq!(three.lock(Claim::reader()).unwrap_err().op(), "Failed to get shared \"write\" lock");
    two.lock(Claim::reader()).unwrap();
    three.lock(Claim::reader()).unwrap();
}

fn a_failed_claim_changes_nothing(bench: &Bench) {
    let (one, two, three) = (bench.make("a", b"x"), bench.open("a"), bench.open("a"));
    one.lock(Claim::reader()).unwrap();
    two.lock(Claim::reader()).unwrap();
    two.lock(Claim::writer()).unwrap_err();
    drop(one);
    three.lock(Claim::reader()).expect("nothing of the failed claim is left");
    assert_eq!(three.lock(Claim::writer()).unwrap_err().kind(), ErrorKind::Locked, "the old claim is");
}

fn names_are_removed(bench: &Bench) {
    bench.make("a", b"x");
    bench.fs.remove(&bench.path("a")).unwrap();
    assert_eq!(bench.fs.status(&bench.path("a")).unwrap(), None);
    assert_eq!(bench.fs.remove(&bench.path("a")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.fs.open(&bench.path("a"), OpenOptions::READ).unwrap_err().kind(), ErrorKind::NotFound);
}

fn a_reader_cannot_write(bench: &Bench) {
    bench.make("a", b"x");
    let reader = bench.fs.open(&bench.path("a"), OpenOptions::READ).unwrap();
    assert_eq!(reader.write_at(0, b"y").unwrap_err().os_code(), Some(9));
    assert!(reader.set_len(0).is_err());
    assert_eq!(bench.bytes("a"), b"x");
}
