//! One chunk: read it, look for zeroes, find space in turn, write it.

use formats::codec::Encoder;
use formats::engine::{Reader, Turn, Write, is_zero, runs, write};
use formats::{Allocation, Error, GuestOffset, Result, Writer};
use journal::{AlignedBuf, Zeroing};

use super::failure::Doing;
use super::offload::copy_by_kernel;
use super::plan::{Job, PieceKind, locate};
use super::{Beneath, Copy, Method, Replacement, Throttle, Unreadable};

/// Zeroes are looked for in pieces of this size, where the target can hold smaller ones: a page
/// of the page cache, and a block of most filesystems.
const SPARSE_UNIT: u64 = 4096;

/// Bytes tried again at a time after a read error.
const SECTOR: usize = 512;

/// Works on chunks, one after another. One per thread.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    pub(super) copy: &'a Copy<'a>,
    pub(super) writer: &'a dyn Writer,
    pub(super) unit: u64,
    /// The shortest run of zeroes that is left out, if the target can leave any out.
    min_sparse: u64,
    throttle: Option<&'a Throttle>,
    readers: Vec<Reader<'a>>,
    pub(super) chunk: AlignedBuf,
    /// What will be beneath the chunk, where that is going to be another image.
    pub(super) other: AlignedBuf,
    pub(super) other_reader: Option<Reader<'a>>,
    /// What compresses, and how long the result of a unit may be.
    encoder: Option<(Encoder, usize)>,
    payload: Vec<u8>,
}

/// What is done with a run of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Written as it is.
    Store,
    /// Written in its compressed form, which is at this place in the payload.
    Compressed { start: usize, len: usize },
    /// Made to read as zeroes.
    Zero,
    /// Only partly the source's: written over what the target reads as already.
    Patch,
}

/// A run of a chunk, from its first byte on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) action: Action,
}

impl<'a> Worker<'a> {
    /// A worker with its own buffers.
    pub(super) fn new(copy: &'a Copy<'a>, unit: u64, throttle: Option<&'a Throttle>) -> Result<Self> {
        let writer =
            copy.target.driver().writer().ok_or_else(|| Error::unsupported("Image is not writable"))?;
        let encoder = match (copy.method, writer.compression()) {
            (Method::Compressed, Some(compression)) => {
                Some((Encoder::new(compression.stream)?, compression.max_len as usize))
            }
            _ => None,
        };
        let other_reader = match copy.beneath {
            Beneath::Replaced(Replacement { image: Some(image), .. }) => Some(Reader::new(image)),
            _ => None,
        };
        Ok(Self {
            copy,
            writer,
            unit,
            min_sparse: if writer.zeroes_are_data() { 0 } else { copy.min_sparse },
            throttle,
            readers: copy.sources.iter().map(Reader::new).collect(),
            chunk: AlignedBuf::new(0),
            other: AlignedBuf::new(0),
            other_reader,
            encoder,
            payload: Vec::new(),
        })
    }

    /// Copies one chunk.
    pub(super) fn work(&mut self, job: &Job, turn: &mut Turn<'_>) -> Result<()> {
        if job.is_all(PieceKind::Beneath) || (job.is_all(PieceKind::Zero) && self.zeroes_are_there()) {
            return Ok(());
        }
        if job.is_all(PieceKind::Zero) && self.min_sparse > 0 {
            let result = turn.wait(|| self.zero(job.at, job.len()));
            return self.copy.tell(Doing::Writing, job.at, result);
        }
        if let Some(steps) = self.offloadable(job) {
            self.pace(&steps);
            return self.offload(job, &steps, turn);
        }
        self.fetch(job)?;
        if self.replaces() {
            self.fetch_other(job)?;
        }
        let steps = match self.copy.method {
            Method::Compressed => self.compress(job)?,
            _ if self.replaces() => self.differing(job),
            Method::Plain | Method::Offload | Method::ByReference => self.steps(job),
        };
        self.pace(&steps);
        self.put(job, &steps, turn)
    }

    /// Waits until that much may be written.
    fn pace(&self, steps: &[Step]) {
        if let Some(throttle) = self.throttle {
            throttle.pass(steps.iter().map(|step| step.len as u64).sum());
        }
    }

    /// Whether zeroes need not be written, because the target reads as zeroes anyway.
    pub(super) fn zeroes_are_there(&self) -> bool {
        matches!(self.copy.beneath, Beneath::Zeroes) && self.min_sparse > 0
    }

    fn zero(&self, at: u64, len: u64) -> Result<()> {
        // A base gives back what nobody sees any more.
        let how = match self.copy.beneath {
            Beneath::Layer(..) => Zeroing::Unmap,
            _ => Zeroing::Keep,
        };
        self.writer.zero(GuestOffset(at), len, how)
    }

    /// Reads the chunk's data; its zeroes are put in between.
    pub(super) fn fetch(&mut self, job: &Job) -> Result<()> {
        let len = job.len() as usize;
        let padded = len.next_multiple_of(self.unit as usize);
        self.chunk.ensure_len(padded);
        self.chunk[len..padded].fill(0);
        let mut start = 0;
        for piece in &job.pieces {
            let end = start + piece.len as usize;
            // A compressed unit is stored whole, so what it shares with the backing image is read.
            let wanted = match piece.kind {
                PieceKind::Data => true,
                PieceKind::Beneath => self.copy.method == Method::Compressed || self.replaces(),
                PieceKind::Zero => false,
            };
            if wanted {
                self.read(job.at + start as u64, start, end)?;
            } else {
                self.chunk[start..end].fill(0);
            }
            start = end;
        }
        Ok(())
    }

    /// Fills `start..end` of the chunk with the sources' bytes for the target's offset `at`.
    fn read(&mut self, at: u64, mut start: usize, end: usize) -> Result<()> {
        let mut from = self.copy.skip + at;
        while start < end {
            let (source, source_at) = locate(self.copy.sources, from);
            let index = self.copy.sources.iter().position(|other| std::ptr::eq(other, source)).unwrap_or(0);
            let len = (source.virtual_size() - source_at).min((end - start) as u64) as usize;
            let result = self.readers[index].read(source_at, &mut self.chunk[start..start + len]);
            match (result, self.copy.unreadable) {
                (Ok(()), _) => {}
                (result @ Err(_), Unreadable::Fails | Unreadable::FailsAsRead) => {
                    return self.copy.tell(Doing::Reading, from - self.copy.skip, result);
                }
                (Err(_), Unreadable::BecomesZeroes(tell)) => {
                    for (number, sector) in self.chunk[start..start + len].chunks_mut(SECTOR).enumerate() {
                        let offset = (number * SECTOR) as u64;
                        if let Err(error) = self.readers[index].read(source_at + offset, sector) {
                            sector.fill(0);
                            tell(from - self.copy.skip + offset, &error);
                        }
                    }
                }
            }
            start += len;
            from += len as u64;
        }
        Ok(())
    }

    /// Decides what to do with each run of a chunk that is not compressed.
    fn steps(&self, job: &Job) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut start = 0;
        let mut pieces = job.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            let mut end = start + piece.len as usize;
            if piece.kind == PieceKind::Beneath {
                start = end;
                continue;
            }
            while let Some(more) = pieces.next_if(|next| next.kind != PieceKind::Beneath) {
                end += more.len as usize;
            }
            self.split(job, start, end, &mut steps);
            start = end;
        }
        steps
    }

    /// Splits a run of the source's bytes: its ragged ends are patches, whole units are written or
    /// zeroed.
    fn split(&self, job: &Job, start: usize, end: usize, steps: &mut Vec<Step>) {
        let unit = self.unit as usize;
        let last = job.at + end as u64 == self.copy.len && self.copy.len == self.copy.target.virtual_size();
        // Jobs start on units, so offsets in the chunk tell where units are.
        let whole_start = start.next_multiple_of(unit).min(end);
        let whole_end = if last { end } else { (end / unit * unit).max(whole_start) };
        let patch = |steps: &mut Vec<Step>, from: usize, to: usize| {
            if from < to {
                steps.push(Step { start: from, len: to - from, action: Action::Patch });
            }
        };
        patch(steps, start, whole_start);
        self.split_whole(whole_start, whole_end, steps);
        patch(steps, whole_end, end);
    }

    /// Splits whole units into runs of data and of zeroes.
    fn split_whole(&self, start: usize, end: usize, steps: &mut Vec<Step>) {
        let mut step = |start: usize, len: usize, action: Action| match steps.last_mut() {
            Some(last) if last.action == action && last.start + last.len == start => last.len += len,
            _ => steps.push(Step { start, len, action }),
        };
        if self.min_sparse == 0 {
            if start < end {
                step(start, end - start, Action::Store);
            }
            return;
        }
        let unit = self.unit.max(self.min_sparse.min(SPARSE_UNIT)) as usize;
        for run in runs(&self.chunk[start..end], unit) {
            let at = start + run.range.start;
            // At an edge the run may go on in the next chunk, so it is not called short there.
            let inside = run.range.start > 0 && run.range.end < end - start;
            let short = inside && (run.range.len() as u64) < self.min_sparse;
            match run.zero && !short {
                true if self.zeroes_are_there() => {}
                true => step(at, run.range.len(), Action::Zero),
                false => step(at, run.range.len(), Action::Store),
            }
        }
    }

    /// Compresses the units of a chunk.
    fn compress(&mut self, job: &Job) -> Result<Vec<Step>> {
        let Some((mut encoder, max_len)) = self.encoder.take() else {
            return Err(Error::unsupported("Compression not supported for this file format"));
        };
        let (len, unit) = (job.len() as usize, self.unit as usize);
        let padded = len.next_multiple_of(unit);
        self.payload.resize(padded / unit * max_len, 0);
        let mut steps = Vec::new();
        for (start, slot) in (0..padded).step_by(unit).zip((0..).step_by(max_len)) {
            let within = unit.min(len - start);
            if self.is_beneath(job, start, within) || self.is_same(start, within) {
                continue;
            }
            let cluster = &self.chunk[start..start + unit];
            if self.zeroes_are_there() && is_zero(cluster) {
                continue;
            }
            let action = match encoder.encode(cluster, &mut self.payload[slot..slot + max_len]) {
                Some(len) => Action::Compressed { start: slot, len },
                None => Action::Store,
            };
            steps.push(Step { start, len: unit.min(len - start), action });
        }
        self.encoder = Some((encoder, max_len));
        Ok(steps)
    }

    /// Whether all of a unit is what the target shows by itself.
    fn is_beneath(&self, job: &Job, start: usize, len: usize) -> bool {
        let mut piece_start = 0;
        for piece in &job.pieces {
            let piece_end = piece_start + piece.len as usize;
            if piece_start < start + len && start < piece_end && piece.kind != PieceKind::Beneath {
                return false;
            }
            piece_start = piece_end;
        }
        true
    }

    /// Finds space for the steps in turn, then writes.
    fn put(&self, job: &Job, steps: &[Step], turn: &mut Turn<'_>) -> Result<()> {
        let allocations = self.prepare(job, steps, turn)?;
        for (start, allocation) in &allocations {
            let stored = self.store(job, *start, allocation).and_then(|()| self.writer.link(allocation));
            self.copy.tell(Doing::Writing, allocation.at.0, stored)?;
        }
        Ok(())
    }

    /// Fills an allocation with the chunk's bytes from `start` on.
    fn store(&self, job: &Job, start: usize, allocation: &Allocation) -> Result<()> {
        let by_reference = self.copy.method == Method::ByReference;
        if by_reference && copy_by_kernel(job, start, allocation)? == allocation.len {
            return Ok(());
        }
        let bytes = &self.chunk[start..start + allocation.len as usize];
        Ok(allocation.disk.write_bulk_at(allocation.offset.0, bytes)?)
    }

    /// Does in turn what has to happen in guest order, and returns where the rest is to be written:
    /// parts of the chunk by their first byte in it.
    pub(super) fn prepare(
        &self,
        job: &Job,
        steps: &[Step],
        turn: &mut Turn<'_>,
    ) -> Result<Vec<(usize, Allocation)>> {
        let mut allocations: Vec<(usize, Allocation)> = Vec::new();
        turn.wait(|| {
            for step in steps {
                let result = self.put_in_turn(job, step, &mut allocations);
                self.copy.tell(Doing::Writing, job.at + step.start as u64, result)?;
            }
            Ok(())
        })?;
        Ok(allocations)
    }

    /// What has to happen in guest order.
    fn put_in_turn(&self, job: &Job, step: &Step, allocations: &mut Vec<(usize, Allocation)>) -> Result<()> {
        let at = job.at + step.start as u64;
        match step.action {
            Action::Zero => self.zero(at, step.len as u64),
            Action::Compressed { start, len } => {
                self.writer.write_compressed(GuestOffset(at), &self.payload[start..start + len])
            }
            Action::Patch => {
                write(self.copy.target, at, Write::Data(&self.chunk[step.start..step.start + step.len]))
            }
            Action::Store => {
                let mut done = 0;
                while done < step.len {
                    let left = (step.len - done) as u64;
                    let allocation = self.writer.prepare(GuestOffset(at + done as u64), left)?;
                    let len = allocation.len as usize;
                    allocations.push((step.start + done, allocation));
                    done += len;
                }
                Ok(())
            }
        }
    }
}
