//! Journals that nobody wrote: damaged ones, and such as somebody made up with all checksums right.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use journal::sim::{CrashId, CrashPlan};
use journal::{DraftOptions, Fs, OpenOptions, Recovery, SimFs, Transaction};

/// Mutants of each kind of each moment.
const MUTANTS: u64 = 1500;
const HEADER_LEN: usize = 64;
const FRAME_HEADER_LEN: usize = 12;
const COMMIT: u32 = 6;

fn begin(fs: &SimFs) -> Transaction {
    Transaction::begin(Arc::new(fs.clone()), Arc::new(AtomicBool::new(false)))
}

/// Two images, one of them to be removed, and a change of all that journals tell.
fn changed() -> SimFs {
    let fs = SimFs::new();
    fs.add_file("/a/base", &[b'o'; 9000]);
    fs.add_file("/b/overlay", &[b'o'; 4096]);
    fs.add_file("/b/old", b"old");
    let transaction = begin(&fs);
    let open = |path: &str| transaction.open(Path::new(path), OpenOptions::WRITE).unwrap();
    let (base, overlay) = (open("/a/base"), open("/b/overlay"));
    overlay.write_at(4096, &[b'n'; 1024]).unwrap();
    let in_place = base.in_place().unwrap();
    in_place.write_at(0, &[b'n'; 6000]).unwrap();
    in_place.copy_from(7168, &*overlay, 4096, 1024).unwrap();
    in_place.set_len(12_000).unwrap();
    overlay.in_place().unwrap().write_at(512, &[b'n'; 100]).unwrap();
    let made = transaction.draft(Path::new("/b/made"), DraftOptions::default()).unwrap();
    made.disk().write_at(0, b"made").unwrap();
    made.publish().unwrap();
    transaction.unlink(Path::new("/b/old")).unwrap();
    drop((base, overlay, in_place));
    transaction.commit().unwrap();
    fs
}

fn is_journal(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tximg-journal")
}

/// What is seen of the disks of the images.
fn seen(fs: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let names = fs.names().into_iter().filter(|name| !is_journal(name));
    let mut seen: Vec<_> = names.filter_map(|name| Some((name.clone(), fs.bytes(&name)?))).collect();
    for (name, bytes) in &mut seen {
        if name == Path::new("/b/overlay") {
            bytes.truncate(4096);
        }
    }
    // Names that nothing refers to are not a part of the state.
    seen.retain(|(name, _)| !name.to_string_lossy().contains(".tximg"));
    seen
}

/// Recovers by opening all that is there; whether nothing was refused.
fn recover(fs: &SimFs) -> bool {
    let transaction = begin(fs);
    let names = fs.names().into_iter().filter(|name| !is_journal(name));
    let refused = names.filter(|name| transaction.open(name, OpenOptions::WRITE).is_err());
    refused.count() == 0
}

/// Moments at which all journals stand beside files, with whether none of the files is changed yet.
fn moments(fs: &SimFs) -> Vec<(CrashId, bool)> {
    let plan = CrashPlan { per_moment: 3, total: 4000, seed: 5 };
    let (mut untouched, mut between) = (Vec::new(), Vec::new());
    let (mut old, new) = (None, seen(fs));
    for state in fs.crash_states(plan) {
        let found = seen(&state.fs);
        let is_old = found == *old.get_or_insert_with(|| found.clone());
        let journals = state.fs.names().into_iter().filter(|name| is_journal(name)).count();
        if journals == 4 && found != new {
            if is_old { &mut untouched } else { &mut between }.push(state.id.clone());
        }
    }
    let pick = |ids: Vec<CrashId>, is_old| {
        let step = ids.len().div_ceil(3).max(1);
        ids.into_iter().step_by(step).map(move |id| (id, is_old)).collect::<Vec<_>>()
    };
    [pick(untouched, true), pick(between, false)].concat()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A few bytes changed, or the end cut off or lengthened.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => bytes.extend((0..random.below(600)).map(|_| random.next() as u8).collect::<Vec<_>>()),
        2 => {
            let at = random.below(bytes.len());
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
        }
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
}

/// The frames of a journal: kinds and payloads.
fn frames(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(FRAME_HEADER_LEN) {
        let kind = u32::from_le_bytes(head[..4].try_into().unwrap());
        let len = u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize;
        let Some((payload, tail)) = tail.split_at_checked(len).filter(|_| kind < COMMIT && kind > 0) else {
            break;
        };
        frames.push((kind, payload.to_vec()));
        rest = tail;
    }
    frames
}

/// A journal of these frames, decided, with every checksum right.
fn sealed(header: &[u8], frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    let mut chain = u32::from_le_bytes(header[HEADER_LEN - 4..].try_into().unwrap());
    let mut put = |bytes: &mut Vec<u8>, kind: u32, payload: &[u8]| {
        let head = [kind.to_le_bytes(), (payload.len() as u32).to_le_bytes()].concat();
        chain = crc32c::crc32c_append(crc32c::crc32c_append(chain, &head), payload);
        bytes.extend(head);
        bytes.extend(chain.to_le_bytes());
        bytes.extend(payload);
    };
    for (kind, payload) in frames {
        put(&mut bytes, *kind, payload);
    }
    let commit =
        [&(frames.len() as u64).to_le_bytes()[..], blake3::hash(&bytes).as_bytes().as_slice()].concat();
    put(&mut bytes, COMMIT, &commit);
    bytes
}

/// Another journal that keeps all rules of the format but those of sense.
fn invented(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 9] =
        [0, 1, 511, 513, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX - 511, u64::MAX];
    let mut frames = frames(bytes);
    for _ in 0..=random.below(2) {
        let index = random.below(frames.len());
        match random.below(6) {
            0 => drop(frames.remove(index)),
            1 => frames.insert(index, frames[index].clone()),
            2 => {
                let other = random.below(frames.len());
                frames.swap(index, other);
            }
            3 => frames[index].1.truncate(random.below(40)),
            4 => {
                let payload = &mut frames[index].1;
                let at = random.below(payload.len());
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            _ => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let payload = &mut frames[index].1;
                let at = random.below(payload.len().min(200));
                let bytes = number.to_le_bytes();
                let len = bytes.len().min(payload.len() - at);
                payload[at..at + len].copy_from_slice(&bytes[..len]);
            }
        }
        if frames.is_empty() {
            break;
        }
    }
    sealed(&bytes[..HEADER_LEN], &frames)
}

/// The state of that moment, with one of its journals, or of the files that point to one, changed.
fn meddled(fs: &SimFs, id: &CrashId, random: &mut Random, change: fn(&mut Vec<u8>, &mut Random)) -> SimFs {
    let state = fs.crash_state(id).unwrap().fs;
    let is_written =
        |name: &PathBuf| is_journal(name) && state.bytes(name).is_some_and(|bytes| !bytes.is_empty());
    let journals: Vec<PathBuf> = state.names().into_iter().filter(is_written).collect();
    let journal = &journals[random.below(journals.len())];
    let mut bytes = state.bytes(journal).unwrap();
    change(&mut bytes, random);
    let disk = state.open(journal, OpenOptions::WRITE).unwrap();
    disk.set_len(0).unwrap();
    disk.write_at(0, &bytes).unwrap();
    drop(disk);
    state
}

#[test]
fn a_damaged_journal_changes_nothing_or_everything() {
    let fs = changed();
    let new = seen(&fs);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = [0; 3];
    for (id, is_untouched) in moments(&fs) {
        let before = seen(&fs.crash_state(&id).unwrap().fs);
        for number in 0..MUTANTS {
            let state = meddled(&fs, &id, &mut random, damage);
            drop(Recovery::new(Arc::new(state.clone())).explain(Path::new("/a/base.tximg-journal")));
            let is_fine = recover(&state);
            let found = seen(&state);
            let which = if found == new {
                0
            } else if found == before {
                1
            } else {
                2
            };
            counts[which] += 1;
            // Where files were changed already, only the journal knows the rest.
            assert!(
                !is_untouched || which < 2 || !is_fine,
                "moment {id}, mutant {number}: {:?}",
                state.names()
            );
        }
    }
    assert!(counts[0] > 1000 && counts[1] > 1000, "{counts:?}");
}

#[test]
fn an_invented_journal_is_followed_or_refused() {
    let fs = changed();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let change = |bytes: &mut Vec<u8>, random: &mut Random| {
        if frames(bytes).is_empty() { damage(bytes, random) } else { *bytes = invented(bytes, random) }
    };
    for (id, _) in moments(&fs) {
        for _ in 0..MUTANTS {
            let state = meddled(&fs, &id, &mut random, change);
            state.add_file("/c/bystander", b"bystander");
            let recovery = Recovery::new(Arc::new(state.clone()));
            drop(recovery.explain(Path::new("/a/base.tximg-journal")));
            recover(&state);
            assert_eq!(state.bytes("/c/bystander").unwrap(), b"bystander");
            drop(recovery.discard(Path::new("/a/base.tximg-journal")));
        }
    }
}
