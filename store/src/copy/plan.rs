//! Which bytes of the sources are data, zeroes, or the backing image's.

use std::sync::Arc;

use formats::engine::{Status, status_above};
use formats::{HostOffset, Image, Result};
use journal::Disk;

use super::failure::Doing;
use super::{Beneath, Copy, Unreadable};

/// A chunk of the target for one worker.
#[derive(Debug)]
pub(super) struct Job {
    /// Its first byte.
    pub(super) at: u64,
    /// What it is made of, without gaps. Of several pieces, each lies in one chunk.
    pub(super) pieces: Vec<Piece>,
}

impl Job {
    /// Bytes in the job.
    pub(super) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len).sum()
    }

    /// Whether all of it is of that kind.
    pub(super) fn is_all(&self, kind: PieceKind) -> bool {
        self.pieces.iter().all(|piece| piece.kind == kind)
    }
}

/// A run of bytes of one kind.
#[derive(Debug)]
pub(super) struct Piece {
    /// How many bytes.
    pub(super) len: u64,
    /// What they are.
    pub(super) kind: PieceKind,
    /// Where they stand in a file, if they are plain data that may be taken from there.
    pub(super) host: Option<(Arc<dyn Disk>, HostOffset)>,
}

/// What a run of bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Bytes to be read.
    Data,
    /// Zeroes to be seen in the target.
    Zero,
    /// What the target shows by itself if nothing is written: its backing image, or the zeroes
    /// after that.
    Beneath,
}

/// Walks the sources and makes jobs of them.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    copy: &'a Copy<'a>,
    unit: u64,
    chunk: u64,
    /// Whether zeroes are written as data, and so come in chunks too.
    stores_zeroes: bool,
    at: u64,
}

impl<'a> Plan<'a> {
    /// A plan of the whole copy, in chunks of whole units.
    pub(super) fn new(copy: &'a Copy<'a>, unit: u64, chunk: u64) -> Self {
        let stores_zeroes = copy.stores_zeroes();
        Self { copy, unit, chunk, stores_zeroes, at: 0 }
    }

    /// Bytes that are planned already.
    pub(super) fn done(&self) -> u64 {
        self.at
    }

    /// The next chunk, or a longer run that is not data.
    pub(super) fn next_job(&mut self) -> Result<Option<Job>> {
        let (at, end) = (self.at, self.copy.len);
        if at == end {
            return Ok(None);
        }
        let chunk_end = end.min((at / self.chunk + 1) * self.chunk);
        let mut pieces: Vec<Piece> = Vec::new();
        while self.at < chunk_end {
            let limit = if pieces.is_empty() { end } else { chunk_end };
            let mut piece = self.piece(limit - self.at)?;
            let whole =
                if self.at + piece.len == end { piece.len } else { piece.len / self.unit * self.unit };
            let is_long = self.at + whole > chunk_end;
            if pieces.is_empty() && is_long && !self.is_written(piece.kind) {
                piece.len = whole;
                self.at += whole;
                return Ok(Some(Job { at, pieces: vec![piece] }));
            }
            piece.len = piece.len.min(chunk_end - self.at);
            self.at += piece.len;
            match pieces.last_mut() {
                Some(last) if last.kind == piece.kind && last.host.is_none() && piece.host.is_none() => {
                    last.len += piece.len;
                }
                _ => pieces.push(piece),
            }
        }
        Ok(Some(Job { at, pieces }))
    }

    /// Whether bytes of that kind are put together in a worker's memory.
    fn is_written(&self, kind: PieceKind) -> bool {
        kind == PieceKind::Data || (kind == PieceKind::Zero && self.stores_zeroes)
    }

    /// What stands at the current offset, for at most `len` bytes.
    fn piece(&self, len: u64) -> Result<Piece> {
        let (source, source_at) = locate(self.copy.sources, self.copy.skip + self.at);
        let mut len = len.min(source.virtual_size() - source_at);
        if let Beneath::Replaced(replacement) = &self.copy.beneath {
            return replacement.piece(self.copy, source, source_at, len);
        }
        let (base, base_len) = match self.copy.beneath {
            Beneath::Backing(len) => (source.backing().map(|backing| &**backing), len),
            Beneath::Layer(layer, len) => (Some(layer), len),
            Beneath::Zeroes | Beneath::Replaced(_) | Beneath::Unknown => (None, u64::MAX),
        };
        let past_base = self.at >= base_len;
        if !past_base {
            len = len.min(base_len - self.at);
        }
        let found = status_above(source, base, source_at, len);
        let status = match (found, self.copy.unreadable) {
            // Reading will meet the same trouble, and deal with it.
            (Err(_), Unreadable::BecomesZeroes(_) | Unreadable::FailsAsRead) => {
                return Ok(Piece { len: len.min(self.chunk), kind: PieceKind::Data, host: None });
            }
            (found, _) => self.copy.tell(Doing::Asking, self.at, found)?,
        };
        let kind = self.kind(&status, past_base);
        let wanted = self.copy.method.needs_hosts() && kind == PieceKind::Data;
        Ok(Piece { len: status.len, kind, host: status.host.filter(|_| wanted) })
    }

    fn kind(&self, status: &Status, past_base: bool) -> PieceKind {
        match self.copy.beneath {
            _ if status.zero && past_base => PieceKind::Beneath,
            Beneath::Layer(..) if !status.allocated => PieceKind::Beneath,
            _ if status.zero => PieceKind::Zero,
            _ if status.data => PieceKind::Data,
            Beneath::Backing(_) | Beneath::Layer(..) => PieceKind::Beneath,
            Beneath::Zeroes | Beneath::Replaced(_) | Beneath::Unknown => PieceKind::Data,
        }
    }
}

/// The source that holds byte `at` of all of them in a row, and the offset in it.
pub(super) fn locate(sources: &[Image], mut at: u64) -> (&Image, u64) {
    let mut found = &sources[0];
    for source in sources {
        found = source;
        if at < source.virtual_size() {
            break;
        }
        at -= source.virtual_size();
    }
    (found, at)
}
