//! Reading a journal that may end anywhere.

use std::path::Path;
use std::sync::Arc;

use super::record::{Decoder, FileRecord, LengthRecord, NameRecord, Patch};
use super::{FRAME_HEADER_LEN, HEADER_LEN, Kind, MAGIC, MAX_PAYLOAD, VERSION, chain};
use crate::{Disk, Error, ErrorKind, Result};

/// What a file that should be a journal is.
#[derive(Debug)]
pub(crate) enum Scan {
    /// A journal whose transaction is decided.
    Committed(Journal),
    /// A journal whose transaction never was: what it had recorded until then.
    Undecided(Journal),
    /// A decided journal of a later version of the format.
    Unknown,
}

/// A journal's records.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) files: Vec<FileRecord>,
    pub(crate) lengths: Vec<LengthRecord>,
    pub(crate) names: Vec<NameRecord>,
    /// Where the patches' records stand, in the order in which they are applied.
    patches: Vec<Place>,
}

/// Where a record stands in the journal.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: u32,
    offset: u64,
    len: u32,
}

impl Journal {
    /// Reads a journal as far as it is whole.
    pub(crate) fn scan(disk: Arc<dyn Disk>) -> Result<Scan> {
        let mut header = [0; HEADER_LEN as usize];
        let journal = Self {
            disk: Arc::clone(&disk),
            files: Vec::new(),
            lengths: Vec::new(),
            names: Vec::new(),
            patches: Vec::new(),
        };
        let is_whole = disk.read_at(0, &mut header)? == header.len();
        let (body, checksum) = header.split_at(HEADER_LEN as usize - 4);
        let checksum = u32::from_le_bytes(checksum.try_into().unwrap_or_default());
        if !is_whole || header[..8] != MAGIC || crc32c::crc32c(body) != checksum {
            return Ok(Scan::Undecided(journal));
        }
        if header[8..12] != VERSION.to_le_bytes() {
            return Ok(Scan::Unknown);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header);
        Reading { journal, at: HEADER_LEN, chain: checksum, frames: 0, hasher }.run()
    }

    /// The patches of a file, in order.
    pub(crate) fn patches(&self, file: u32) -> impl Iterator<Item = Result<Patch>> {
        let of_file = self.patches.iter().filter(move |place| place.file == file);
        of_file.map(|place| {
            let mut payload = vec![0; place.len as usize];
            self.disk.read_exact_at(place.offset, &mut payload)?;
            // It was decoded when the journal was scanned, and its checksum was right.
            Patch::decode(&payload).ok_or_else(|| damaged(place.offset))
        })
    }

    /// Shows, durably, that a program which applies the journal is there: a file that was changed
    /// later is taken for one that somebody else changed.
    pub(crate) fn show_life(&self) -> Result<()> {
        let end = self.disk.len()?;
        self.disk.write_at(end, &[0; FRAME_HEADER_LEN as usize])?;
        self.disk.sync()
    }

    /// Whether a file has patches.
    pub(crate) fn has_patches(&self, file: u32) -> bool {
        self.patches.iter().any(|place| place.file == file)
    }
}

fn damaged(offset: u64) -> Error {
    let error = Error::new(ErrorKind::Conflict, "read", Path::new(""), Some(offset));
    error.saying(format!("The journal changed while it was read, at offset {offset}"))
}

/// A journal that is being read.
struct Reading {
    journal: Journal,
    at: u64,
    chain: u32,
    frames: u64,
    hasher: blake3::Hasher,
}

impl Reading {
    fn run(mut self) -> Result<Scan> {
        loop {
            let Some((kind, frame)) = self.next_frame()? else { return Ok(Scan::Undecided(self.journal)) };
            let payload = &frame[FRAME_HEADER_LEN as usize..];
            if kind == Kind::Commit {
                let mut expected = self.frames.to_le_bytes().to_vec();
                expected.extend(self.hasher.finalize().as_bytes());
                let decided = payload == expected && self.numbers_are_known();
                return Ok(if decided {
                    Scan::Committed(self.journal)
                } else {
                    Scan::Undecided(self.journal)
                });
            }
            if self.take(kind, payload).is_none() {
                return Ok(Scan::Undecided(self.journal));
            }
            self.hasher.update(&frame);
            self.frames += 1;
            self.at += frame.len() as u64;
        }
    }

    /// The next frame, header included, if it is whole.
    fn next_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        let mut header = [0; FRAME_HEADER_LEN as usize];
        if self.journal.disk.read_at(self.at, &mut header)? < header.len() {
            return Ok(None);
        }
        let mut fields = Decoder(&header);
        let (Some(number), Some(len), Some(checksum)) = (fields.u32(), fields.u32(), fields.u32()) else {
            return Ok(None);
        };
        let Some(kind) = Kind::from_number(number).filter(|_| len <= MAX_PAYLOAD) else { return Ok(None) };
        let mut frame = header.to_vec();
        frame.resize(header.len() + len as usize, 0);
        let payload = &mut frame[header.len()..];
        if self.journal.disk.read_at(self.at + FRAME_HEADER_LEN, payload)? < len as usize {
            return Ok(None);
        }
        self.chain = chain(self.chain, number, payload);
        Ok((self.chain == checksum).then_some((kind, frame)))
    }

    /// Keeps a record; `None` if it makes no sense.
    fn take(&mut self, kind: Kind, payload: &[u8]) -> Option<()> {
        match kind {
            Kind::File => self.journal.files.push(FileRecord::decode(payload)?),
            Kind::Length => self.journal.lengths.push(LengthRecord::decode(payload)?),
            Kind::Name => self.journal.names.push(NameRecord::decode(payload)?),
            Kind::Patch => {
                let file = Patch::decode(payload)?.file;
                let offset = self.at + FRAME_HEADER_LEN;
                self.journal.patches.push(Place { file, offset, len: payload.len() as u32 });
            }
            Kind::Payload => {}
            Kind::Commit | Kind::Alive => return None,
        }
        Some(())
    }

    /// Whether every number of a file stands for one.
    fn numbers_are_known(&self) -> bool {
        let known = |number: u32| (number as usize) < self.journal.files.len();
        self.journal.patches.iter().all(|place| known(place.file))
            && self.journal.lengths.iter().all(|record| known(record.file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Before, FileFlags, Identity, NameChange, PatchBytes};
    use super::super::write::Writer;
    use super::*;
    use crate::{Fs, OpenOptions, SimFs};

    /// A journal with one of everything, as bytes.
    fn written() -> Vec<u8> {
        let fs = SimFs::new();
        let mut writer = Writer::new(fs.create(Path::new("/journal")).unwrap());
        let identity = Identity { device: 1, inode: 2, born: 3 };
        let flags = FileFlags::default();
        writer.file(&FileRecord { path: "a".into(), identity, len: 9, modified: 1, flags }).unwrap();
        writer.payload(&[1; 3000]).unwrap();
        let before = Before::Whole(vec![3; 4]);
        let patch = Patch { file: 0, offset: 7, len: 4, bytes: PatchBytes::Zero, before };
        writer.patch(&patch).unwrap();
        writer.length(LengthRecord { file: 0, before: 9, after: 10 }).unwrap();
        let change = NameChange::Remove { path: "b".into() };
        writer.name(&NameRecord { change, identity, replaced: None }).unwrap();
        writer.commit().unwrap();
        let end = writer.disk().len().unwrap();
        writer.disk().write_at(end, &[0; FRAME_HEADER_LEN as usize]).unwrap();
        fs.bytes("/journal").unwrap()
    }

    fn scan(bytes: &[u8]) -> Scan {
        let fs = SimFs::new();
        fs.add_file("/journal", bytes);
        Journal::scan(fs.open(Path::new("/journal"), OpenOptions::READ).unwrap()).unwrap()
    }

    #[test]
    fn a_whole_journal_is_decided() {
        let Scan::Committed(journal) = scan(&written()) else { panic!("not decided") };
        assert_eq!((journal.files.len(), journal.lengths.len(), journal.names.len()), (1, 1, 1));
        let patch = journal.patches(0).next().unwrap().unwrap();
        assert_eq!((patch.offset, patch.len), (7, 4));
    }

    #[test]
    fn no_part_of_a_journal_is_decided() {
        let whole = written();
        let commit_end = whole.len() - FRAME_HEADER_LEN as usize;
        for len in 0..commit_end {
            assert!(matches!(scan(&whole[..len]), Scan::Undecided(_)), "the first {len} bytes");
        }
        for at in 0..commit_end {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(!matches!(scan(&damaged), Scan::Committed(_)), "a wrong byte at {at}");
        }
    }

    #[test]
    fn frames_of_another_journal_do_not_fit() {
        let (mut one, other) = (written(), written());
        let frames = HEADER_LEN as usize..;
        one[frames.clone()].copy_from_slice(&other[frames]);
        assert!(matches!(scan(&one), Scan::Undecided(_)));
    }
}
