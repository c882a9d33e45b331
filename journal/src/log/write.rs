//! Writing a journal.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::{FileRecord, LengthRecord, NameRecord, Patch};
use super::{FRAME_HEADER_LEN, HEADER_LEN, Kind, MAGIC, MAX_PAYLOAD, VERSION, chain};
use crate::{Disk, Result};

/// Frames are gathered to this many bytes before they are written.
const BUFFER: usize = 256 << 10;

/// For so long after a sync another sign of life would tell nothing new.
const FRESH: Duration = Duration::from_millis(50);

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    /// Where the buffer begins.
    at: u64,
    chain: u32,
    frames: u64,
    hasher: blake3::Hasher,
    /// When it was made durable.
    synced: Instant,
}

impl Writer {
    /// Begins a journal in an empty file.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        let (header, checksum) = header(salt());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header);
        Self { disk, chain: checksum, buffer: header, at: 0, frames: 0, hasher, synced: Instant::now() }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn file(&mut self, record: &FileRecord) -> Result<()> {
        self.frame(Kind::File, &record.encode())
    }

    pub(crate) fn patch(&mut self, record: &Patch) -> Result<()> {
        self.frame(Kind::Patch, &record.encode())
    }

    pub(crate) fn length(&mut self, record: LengthRecord) -> Result<()> {
        self.frame(Kind::Length, &record.encode())
    }

    pub(crate) fn name(&mut self, record: &NameRecord) -> Result<()> {
        self.frame(Kind::Name, &record.encode())
    }

    /// Stores new bytes; returns where they stand. They can be read at once.
    pub(crate) fn payload(&mut self, bytes: &[u8]) -> Result<u64> {
        let first = self.at + self.buffer.len() as u64 + FRAME_HEADER_LEN;
        self.frame(Kind::Payload, bytes)?;
        self.flush()?;
        Ok(first)
    }

    /// Decides everything that was written; valid once the file is durable.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let mut payload = self.frames.to_le_bytes().to_vec();
        payload.extend(self.hasher.finalize().as_bytes());
        self.frame(Kind::Commit, &payload)?;
        self.flush()
    }

    /// Makes the journal durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.disk.sync()?;
        self.synced = Instant::now();
        Ok(())
    }

    /// Shows that the program which applies the journal is still there, as far as the journal's
    /// time of change has grown old: a file that was changed much later is taken for one that
    /// somebody else changed.
    pub(crate) fn show_life(&mut self) -> Result<()> {
        if self.synced.elapsed() < FRESH {
            return Ok(());
        }
        self.frame(Kind::Alive, &[])?;
        self.sync()
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        debug_assert!(payload.len() <= MAX_PAYLOAD as usize);
        self.chain = chain(self.chain, kind as u32, payload);
        let start = self.buffer.len();
        self.buffer.extend((kind as u32).to_le_bytes());
        self.buffer.extend((payload.len() as u32).to_le_bytes());
        self.buffer.extend(self.chain.to_le_bytes());
        self.buffer.extend(payload);
        self.hasher.update(&self.buffer[start..]);
        self.frames += 1;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.disk.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Sixteen bytes that no other journal has.
fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    let state = RandomState::new();
    for (place, half) in salt.chunks_mut(8).enumerate() {
        half.copy_from_slice(&state.hash_one((std::process::id(), place)).to_le_bytes());
    }
    salt
}

/// The header's bytes, and its checksum, with which the chain begins.
fn header(salt: [u8; 16]) -> (Vec<u8>, u32) {
    let mut header = Vec::with_capacity(HEADER_LEN as usize);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((HEADER_LEN as u32).to_le_bytes());
    header.extend(salt);
    header.resize(HEADER_LEN as usize - 4, 0);
    let checksum = crc32c::crc32c(&header);
    header.extend(checksum.to_le_bytes());
    (header, checksum)
}
