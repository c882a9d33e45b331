//! What somebody does to the files between a crash and the recovery.

use std::path::{Path, PathBuf};

use journal::{Access, Fs, OpenOptions, Result, SUFFIX, SimFs};

use crate::scenario::Watched;
use crate::subject::{change, pattern, put};

/// A directory that only meddlers use.
pub const ELSEWHERE: &str = "/elsewhere";

/// Bytes that are written to a raw file, or over data.
const WORD: usize = 512;

/// What is done, by one who knows nothing of journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// The image is copied to another directory.
    ImageCopied,
    /// All files are copied to another directory, journals too.
    AllCopied,
    /// All files move to another directory.
    AllMoved,
    /// The image gets another name.
    Renamed,
    /// Another file takes the image's place.
    Replaced,
    /// A copy of the image takes its place.
    Restored,
    /// A program writes to the image and gives it a new root.
    Written,
    /// A program writes over data of the image, and nothing else, as QEMU does.
    WrittenInPlace,
}

impl Meddling {
    /// All kinds, with their names in ids.
    pub const ALL: [(&str, Self); 8] = [
        ("image-copied", Self::ImageCopied),
        ("all-copied", Self::AllCopied),
        ("all-moved", Self::AllMoved),
        ("renamed", Self::Renamed),
        ("replaced", Self::Replaced),
        ("restored", Self::Restored),
        ("written", Self::Written),
        ("written-in-place", Self::WrittenInPlace),
    ];

    /// Its name in ids.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Does it to an image, if it can be done there.
    pub fn act(self, fs: &SimFs, image: &Watched) -> Option<()> {
        fs.add_directory(format!("{ELSEWHERE}/far"));
        let path = Path::new(&image.path);
        match self {
            Self::ImageCopied => copy(fs, path, &elsewhere(path)).ok(),
            Self::AllCopied => fs.names().iter().try_for_each(|name| copy(fs, name, &elsewhere(name))).ok(),
            Self::AllMoved => fs.names().iter().try_for_each(|name| fs.rename(name, &elsewhere(name))).ok(),
            Self::Renamed => fs.rename(path, &elsewhere(path)).ok(),
            Self::Replaced => replace(fs, path, &pattern(77, 70_000)).ok(),
            Self::Restored => replace(fs, path, &fs.bytes(path)?).ok(),
            Self::Written if image.is_qcow2() => {
                change(fs, &image.path, |image| put(image, 512, 78, 900)).ok()
            }
            Self::WrittenInPlace if image.is_qcow2() => write(fs, path, data_of(&fs.bytes(path)?)?),
            Self::Written | Self::WrittenInPlace => write(fs, path, self.place_in(fs.bytes(path)?.len())?),
        }
    }

    /// Where a raw file of that length is written to.
    fn place_in(self, len: usize) -> Option<u64> {
        let place = if self == Self::Written { len / 2 } else { len.checked_sub(WORD)? };
        Some(place as u64)
    }

    /// Whether what was written to a raw file is still there.
    pub fn stands(self, fs: &SimFs, path: &Path) -> bool {
        let Some(bytes) = fs.bytes(path) else { return false };
        let word = pattern(79, WORD as u64);
        bytes.windows(WORD).any(|window| window == word)
    }

    /// Takes back what can be taken back.
    pub fn undo(self, fs: &SimFs, image: &Watched) -> Result<()> {
        let back = |name: &Path| match name.strip_prefix(ELSEWHERE) {
            Ok(rest) => fs.rename(name, &Path::new("/").join(rest)),
            Err(_) => Ok(()),
        };
        match self {
            Self::AllMoved => fs.names().iter().try_for_each(|name| back(name)),
            Self::Renamed => back(&elsewhere(Path::new(&image.path))),
            _ => Ok(()),
        }
    }

    /// Where the image stands now, for one who opens it.
    pub fn place_of(self, path: &str) -> PathBuf {
        match self {
            Self::AllCopied | Self::AllMoved => elsewhere(Path::new(path)),
            _ => PathBuf::from(path),
        }
    }

    /// Whether recovery may refuse to touch anything.
    pub fn may_be_refused(self) -> bool {
        !matches!(self, Self::ImageCopied | Self::AllMoved)
    }

    /// Whether the files, once it is undone, must be those that an undisturbed recovery leaves.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::ImageCopied | Self::AllCopied | Self::AllMoved | Self::Renamed)
    }
}

/// The path of the same name elsewhere.
pub fn elsewhere(path: &Path) -> PathBuf {
    Path::new(ELSEWHERE).join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a file is a journal, or points to one.
pub fn is_journal(name: &Path) -> bool {
    name.to_string_lossy().ends_with(SUFFIX)
}

/// Every file that is no journal, with its bytes.
pub fn files(fs: &SimFs) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let names = fs.names().into_iter().filter(|name| !is_journal(name));
    names.map(|name| (name.clone(), fs.bytes(&name))).collect()
}

fn copy(fs: &SimFs, from: &Path, to: &Path) -> Result<()> {
    let disk = fs.create(to)?;
    disk.write_at(0, &fs.bytes(from).unwrap_or_default())
}

fn replace(fs: &SimFs, path: &Path, bytes: &[u8]) -> Result<()> {
    if fs.status(path)?.is_some() {
        fs.unlink(path)?;
    }
    fs.create(path)?.write_at(0, bytes)
}

fn write(fs: &SimFs, path: &Path, offset: u64) -> Option<()> {
    let options = OpenOptions { access: Access::Write, ..OpenOptions::WRITE };
    fs.open(path, options).ok()?.write_at(offset, &pattern(79, WORD as u64)).ok()
}

/// Where a data cluster of a qcow2 image begins that nobody else uses.
fn data_of(image: &[u8]) -> Option<u64> {
    const ADDRESS: u64 = 0x00ff_ffff_ffff_fe00;
    let number = |at: u64| Some(u64::from_be_bytes(*image.get(at as usize..)?.first_chunk()?));
    let (version, l1) = (number(0)? as u32, number(40)?);
    let features = if version == 2 { 0 } else { number(72)? };
    let has_data_file = features & 4 != 0;
    let step = if features & 16 != 0 { 16 } else { 8 };
    let (cluster, entries) = (1_u64 << (number(16)? as u32).min(21), number(32)? as u32);
    let l2 =
        (0..u64::from(entries)).find_map(|n| Some(number(l1 + n * 8)? & ADDRESS).filter(|at| *at != 0))?;
    let of_data = |entry: &u64| entry >> 62 == 2 && entry & 1 == 0 && entry & ADDRESS != 0;
    let found = (0..cluster / step).find_map(|n| number(l2 + n * step).filter(of_data))?;
    (!has_data_file).then_some(found & ADDRESS)
}
