//! Which state each file of a journal is in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Finding;
use crate::log::{Before, Identity, Journal, NameChange, Patch, PatchBytes, SECTOR, sectors};
use crate::place::resolve_from;
use crate::transaction::{Bytes, Overlay, SourceFile};
use crate::{Access, Disk, DiskKind, Error, ErrorKind, Fs, OpenOptions, Result};

/// A file may be changed so long after the journal's last sign of life and still have been changed
/// by the transaction itself: clocks of filesystems tick slowly.
const TICK: u64 = 100_000_000;

/// The state of a file or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Old and new do not differ.
    Same,
    /// As it was before.
    Old,
    /// As it is to be.
    New,
    /// As it was before, and what it was to be is lost: the source of its bytes was changed.
    Lost,
    /// Partly the one, partly the other.
    Mixed,
    /// The same within a sector: a write of it was torn, or somebody else has put back a part.
    Torn,
    /// Neither: somebody else changed it.
    Foreign,
}

impl State {
    /// Whether something remains to be changed.
    pub(super) fn is_unfinished(self) -> bool {
        matches!(self, Self::Old | Self::Lost | Self::Mixed | Self::Torn)
    }

    /// The state of two parts together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Foreign, _) | (_, Self::Foreign) => Self::Foreign,
            (Self::Same, state) | (state, Self::Same) => state,
            (Self::Old, Self::Old) => Self::Old,
            (Self::Old | Self::Lost, Self::Old | Self::Lost) => Self::Lost,
            // It can neither go on nor back.
            (Self::Lost, _) | (_, Self::Lost) => Self::Foreign,
            (Self::Torn, _) | (_, Self::Torn) => Self::Torn,
            (Self::New, Self::New) => Self::New,
            _ => Self::Mixed,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Same => "not to be changed",
            Self::Old => "as it was before",
            Self::New => "as it is to be",
            Self::Lost => "as it was before; what it was to be cannot be found any more",
            Self::Mixed | Self::Torn => "half changed",
            Self::Foreign => "changed by somebody else, or not there",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing was applied: the journal is dropped.
    RollBack,
    /// Everything was applied: the journal is dropped.
    Done,
    /// What is missing is applied.
    RollForward,
    /// Nothing may be touched.
    Conflict,
}

/// A file of a journal as it was found.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) path: PathBuf,
    /// The file, if it is there.
    pub(super) disk: Option<Arc<dyn Disk>>,
    pub(super) state: State,
    /// Another file has taken its place, such as a copy.
    is_other: bool,
    /// Somebody changed it after the transaction's last sign of life.
    is_later: bool,
}

/// All files and names of a journal.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) files: Vec<Judged>,
    pub(super) names: Vec<State>,
    /// Whether a new file that has no name yet is not to be found.
    is_lost: bool,
    /// Whether the transaction was one sector of one file.
    is_one_sector: bool,
}

impl Judgement {
    pub(super) fn of(fs: &Arc<dyn Fs>, path: &Path, journal: &Journal, access: Access) -> Result<Self> {
        let alive = journal.disk.status()?.modified.saturating_add(TICK);
        let mut files = Vec::new();
        for record in &journal.files {
            let access = if record.flags.is_source { Access::Read } else { access };
            let named = resolve_from(path, &record.path);
            let place = named.clone().and_then(|named| locate(fs, path, journal, &named, &record.identity));
            let disk = match &place {
                Some(place) => open_regular(&**fs, place, access)?,
                None => None,
            };
            let status = disk.as_ref().map(|disk| disk.status()).transpose()?;
            files.push(Judged {
                path: place.or(named).unwrap_or_default(),
                is_other: status.as_ref().is_none_or(|now| !Identity::of(now).is(&record.identity)),
                is_later: status.is_some_and(|now| now.modified > alive && now.modified > record.modified),
                state: State::Same,
                disk,
            });
        }
        for number in 0..files.len() {
            files[number].state = judge_file(journal, number as u32, &files)?;
        }
        let names = journal.names.iter().map(|record| {
            let found = |name: &Path| identity_at(fs, path, name);
            judge_name(&record.change, &record.identity, record.replaced.as_ref(), found)
        });
        let names = names.collect::<Result<Vec<_>>>()?;
        let is_lost = is_lost(fs, path, journal, &names)?;
        Ok(Self { files, names, is_lost, is_one_sector: is_one_sector(journal)? })
    }

    pub(super) fn decision(&self) -> Decision {
        let states = || self.files.iter().map(|file| file.state).chain(self.names.iter().copied());
        let has = |wanted: &[State]| states().any(|state| wanted.contains(&state));
        if has(&[State::Foreign]) {
            // One sector is old or new, whatever somebody made of it then.
            return if self.is_one_sector { Decision::RollBack } else { Decision::Conflict };
        }
        if !has(&[State::New, State::Mixed, State::Torn]) {
            return Decision::RollBack;
        }
        if !states().any(State::is_unfinished) {
            return Decision::Done;
        }
        let is_doubtful = |file: &Judged| {
            file.state == State::Lost || file.is_later && matches!(file.state, State::Old | State::Torn)
        };
        let spoiled = self.is_lost || self.files.iter().any(|file| file.is_other || is_doubtful(file));
        if spoiled { Decision::Conflict } else { Decision::RollForward }
    }

    /// What a person is told.
    pub(super) fn finding(&self, journal: &Path) -> Finding {
        let decision = match self.decision() {
            Decision::RollBack => "nothing of it was carried out: it is dropped, and everything is as it was",
            Decision::Done => "all of it was carried out: only the journal is left to be removed",
            Decision::RollForward => "part of it was carried out: the rest is going to be",
            Decision::Conflict => "the images were changed by somebody else since: nothing is touched",
        };
        let files = self.files.iter().map(|file| (file.path.clone(), file.state.describe().to_owned()));
        Finding { journal: journal.to_owned(), decision: decision.to_owned(), files: files.collect() }
    }

    /// What the file with that number is going to be.
    pub(super) fn overlay(&self, journal: &Journal, number: u32) -> Result<Overlay> {
        let mut overlay = Overlay::default();
        for patch in journal.patches(number) {
            let patch = patch?;
            let bytes = self.bytes_of(journal, &patch)?;
            overlay.put(patch.offset, patch.len, bytes);
        }
        Ok(overlay)
    }

    fn bytes_of(&self, journal: &Journal, patch: &Patch) -> Result<Bytes> {
        new_bytes(journal, &self.files, patch)?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "find a source of bytes for", Path::new(""), Some(patch.offset))
        })
    }
}

/// Where a file of the journal stands: under its new name, or still under its old one.
fn locate(
    fs: &Arc<dyn Fs>,
    journal_path: &Path,
    journal: &Journal,
    named: &Path,
    identity: &Identity,
) -> Option<PathBuf> {
    let is_there = |path: &Path| {
        let status = fs.status(path).ok().flatten();
        status.is_some_and(|status| Identity::of(&status).is(identity))
    };
    let before = journal.names.iter().find_map(|record| match &record.change {
        NameChange::Rename { from, to } if resolve_from(journal_path, to).as_deref() == Some(named) => {
            resolve_from(journal_path, from)
        }
        _ => None,
    });
    match before {
        Some(before) if !is_there(named) && is_there(&before) => Some(before),
        _ => Some(named.to_owned()),
    }
}

/// A regular file, if one is there.
fn open_regular(fs: &dyn Fs, path: &Path, access: Access) -> Result<Option<Arc<dyn Disk>>> {
    match fs.status(path)? {
        Some(status) if status.kind == DiskKind::Regular => {}
        _ => return Ok(None),
    }
    let options = OpenOptions { access, ..OpenOptions::READ };
    fs.open(path, options).map(Some)
}

fn identity_at(fs: &Arc<dyn Fs>, journal: &Path, name: &Path) -> Result<Option<Identity>> {
    let Some(path) = resolve_from(journal, name) else { return Ok(None) };
    Ok(fs.status(&path)?.map(|status| Identity::of(&status)))
}

fn judge_name(
    change: &NameChange,
    identity: &Identity,
    replaced: Option<&Identity>,
    found: impl Fn(&Path) -> Result<Option<Identity>>,
) -> Result<State> {
    let (from, to) = match change {
        NameChange::Publish { hidden, target } => (hidden, Some(target)),
        NameChange::Rename { from, to } => (from, Some(to)),
        NameChange::Remove { path } => (path, None),
    };
    let is_at = |name: &Path| Ok::<_, Error>(found(name)?.is_some_and(|found| found.is(identity)));
    let Some(to) = to else {
        return Ok(if is_at(from)? { State::Old } else { State::New });
    };
    if is_at(to)? {
        return Ok(State::New);
    }
    let target = found(to)?;
    let is_untouched = match (&target, replaced) {
        (None, None) => true,
        (Some(now), Some(then)) => now.is(then),
        // The rename may have taken the old file away first, as seen after a power cut.
        (None, Some(_)) => true,
        (Some(_), None) => false,
    };
    // A hidden name may be missing: it need not be durable before something is carried out.
    let is_ready = matches!(change, NameChange::Publish { .. }) || is_at(from)?;
    Ok(if is_ready && is_untouched { State::Old } else { State::Foreign })
}

/// Whether a new file that waits for its name is gone: it was durable before anything was carried
/// out, so somebody has moved it.
fn is_lost(fs: &Arc<dyn Fs>, path: &Path, journal: &Journal, names: &[State]) -> Result<bool> {
    for (record, state) in journal.names.iter().zip(names) {
        if let NameChange::Publish { hidden, .. } = &record.change
            && *state == State::Old
            && identity_at(fs, path, hidden)?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The state of one file's patches and length.
fn judge_file(journal: &Journal, number: u32, files: &[Judged]) -> Result<State> {
    let changes = journal.has_patches(number) || journal.lengths.iter().any(|record| record.file == number);
    if !changes {
        return Ok(State::Same);
    }
    let Some(disk) = &files[number as usize].disk else { return Ok(State::Foreign) };
    let mut state = State::Same;
    let len = disk.len()?;
    for record in journal.lengths.iter().filter(|record| record.file == number) {
        state = state.and(match len {
            _ if record.before == record.after => State::Same,
            len if len == record.after => State::New,
            len if len == record.before => State::Old,
            // A write past the end may be there without the new length.
            len if (record.before..record.after).contains(&len) => State::Mixed,
            _ => State::Foreign,
        });
    }
    for patch in journal.patches(number) {
        state = state.and(judge_patch(journal, files, disk, &patch?)?);
    }
    Ok(state)
}

fn judge_patch(journal: &Journal, files: &[Judged], disk: &Arc<dyn Disk>, patch: &Patch) -> Result<State> {
    let mut now = vec![0; patch.len as usize];
    disk.read_padded(patch.offset, &mut now)?;
    let mut new = vec![0; patch.len as usize];
    let bytes = new_bytes(journal, files, patch)?;
    if let Some(bytes) = &bytes {
        bytes.read(0, &mut new)?;
    }
    if let PatchBytes::Source { checksum, .. } = patch.bytes
        && (bytes.is_none() || crc32c::crc32c(&new) != checksum)
    {
        return Ok(judge_without_source(patch, &now, checksum));
    }
    let ranges = || sectors(patch.offset, patch.len);
    let mut states: Vec<_> = ranges()
        .enumerate()
        .map(|(index, sector)| judge_sector(&patch.before, index, &now, &new, sector))
        .collect();
    let is_later = files.get(patch.file as usize).is_some_and(|file| file.is_later);
    if let Some(end) = end_of_write(&states)
        && let Some(sector) = ranges().nth(end)
        && now[sector.start] == new[sector.start]
        && !is_later
    {
        states[end] = State::Mixed;
    }
    Ok(states.into_iter().fold(State::Same, State::and))
}

/// The state of a patch whose source was changed or is gone: only whole it can be told to be new.
fn judge_without_source(patch: &Patch, now: &[u8], checksum: u32) -> State {
    if crc32c::crc32c(now) == checksum {
        return State::New;
    }
    // Compared with itself as the new state, each sector is the same, or it is not the old one.
    let mut sectors = sectors(patch.offset, patch.len).enumerate();
    let is_old =
        sectors.all(|(index, sector)| judge_sector(&patch.before, index, now, now, sector) == State::Same);
    if is_old { State::Lost } else { State::Foreign }
}

/// The one sector that is neither old nor new, if it is where a write may have ended too early: only
/// old sectors after it.
fn end_of_write(states: &[State]) -> Option<usize> {
    let end = states.iter().position(|state| *state == State::Foreign)?;
    let is_old = |state: &State| matches!(state, State::Old | State::Same);
    states[end + 1..].iter().all(is_old).then_some(end)
}

fn judge_sector(
    before: &Before,
    index: usize,
    now: &[u8],
    new: &[u8],
    sector: std::ops::Range<usize>,
) -> State {
    let (now, new) = (&now[sector.clone()], &new[sector.clone()]);
    match before {
        Before::Whole(old) => {
            let old = &old[sector];
            let torn = || now.iter().zip(old).zip(new).all(|((now, old), new)| now == old || now == new);
            match (now == old, now == new) {
                (true, true) => State::Same,
                (true, false) => State::Old,
                (false, true) => State::New,
                (false, false) if torn() => State::Torn,
                (false, false) => State::Foreign,
            }
        }
        Before::Checksums(sums) => {
            let is_old = sums.get(index).is_some_and(|sum| *sum == crc32c::crc32c(now));
            match (is_old, now == new) {
                (true, true) => State::Same,
                (true, false) => State::Old,
                (false, true) => State::New,
                (false, false) => State::Foreign,
            }
        }
    }
}

/// Where a patch's new bytes are; `None` if their source is not there.
fn new_bytes(journal: &Journal, files: &[Judged], patch: &Patch) -> Result<Option<Bytes>> {
    Ok(match &patch.bytes {
        PatchBytes::Here(bytes) => Some(Bytes::held(bytes)),
        PatchBytes::Payload(offset) => {
            let file = SourceFile::Journal(Arc::clone(&journal.disk));
            Some(Bytes::InFile { file, offset: *offset })
        }
        PatchBytes::Zero => Some(Bytes::Zero),
        PatchBytes::Source { file, offset, .. } => {
            let disk = files.get(*file as usize).and_then(|source| source.disk.clone());
            disk.map(|disk| Bytes::InFile {
                file: SourceFile::Named { number: *file, disk },
                offset: *offset,
            })
        }
    })
}

/// Whether all that the journal changes is within one sector of one file.
fn is_one_sector(journal: &Journal) -> Result<bool> {
    if !journal.names.is_empty() || !journal.lengths.is_empty() {
        return Ok(false);
    }
    let mut places = Vec::new();
    for number in 0..journal.files.len() as u32 {
        for patch in journal.patches(number).take(2) {
            let patch = patch?;
            places.push((number, patch.offset / SECTOR));
            places.push((number, (patch.offset + patch.len - 1) / SECTOR));
        }
    }
    places.dedup();
    Ok(places.len() <= 1)
}
