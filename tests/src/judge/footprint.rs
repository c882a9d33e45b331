//! What a judgement rests on, so that it need not be made again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use journal::sim::{FileId, Frozen};

const SECTOR: u64 = 512;
/// No file under test is as long; what points there points past its end.
const MAX_OFFSET: u64 = 1 << 32;
const SECTORS_IN_PAGE: u64 = Frozen::PAGE / SECTOR;

/// Every name that was looked up, and every sector that was read.
#[derive(Debug, Default)]
pub struct Footprint {
    names: BTreeMap<PathBuf, Option<FileId>>,
    files: BTreeMap<FileId, Seen>,
}

/// What was seen of a file.
#[derive(Debug, Default)]
struct Seen {
    sectors: SectorSet,
    /// The length, if it was asked for.
    len: Option<u64>,
    /// Lengths that the file has, and that it has not.
    at_least: u64,
    less_than: Option<u64>,
}

impl Footprint {
    /// Whether whoever left this footprint in one tree would find the same in another.
    pub fn holds(&self, then: &Frozen, now: &Frozen) -> bool {
        self.names.iter().all(|(path, file)| match (*file, now.find(path)) {
            (None, None) => true,
            (Some(old), Some(new)) => self.same_file(then, old, now, new),
            _ => false,
        })
    }

    fn same_file(&self, then: &Frozen, old: FileId, now: &Frozen, new: FileId) -> bool {
        let Some(seen) = self.files.get(&old) else { return true };
        let len = now.len(new);
        let is_as_long = seen.len.is_none_or(|seen| seen == len)
            && seen.at_least <= len
            && seen.less_than.is_none_or(|bound| len < bound);
        let same = |sector: u64| {
            let (mut left, mut right) = ([0; SECTOR as usize], [0; SECTOR as usize]);
            then.read(old, sector * SECTOR, &mut left);
            now.read(new, sector * SECTOR, &mut right);
            left == right
        };
        is_as_long
            && now.unshared_pages(new, then, old).into_iter().all(|page| {
                let first = page * SECTORS_IN_PAGE;
                (first..first + SECTORS_IN_PAGE).all(|sector| !seen.sectors.contains(sector) || same(sector))
            })
    }
}

/// Numbers of sectors.
#[derive(Debug, Default)]
struct SectorSet(Vec<u64>);

impl SectorSet {
    fn insert(&mut self, sector: u64) {
        let word = (sector / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (sector % 64);
    }

    fn contains(&self, sector: u64) -> bool {
        self.0.get((sector / 64) as usize).is_some_and(|word| word >> (sector % 64) & 1 == 1)
    }
}

/// Reads a tree and leaves a footprint.
#[derive(Debug)]
pub struct Reader<'a> {
    tree: &'a Frozen,
    footprint: RefCell<Footprint>,
}

impl<'a> Reader<'a> {
    /// A reader who has not looked at anything yet.
    pub fn new(tree: &'a Frozen) -> Self {
        Self { tree, footprint: RefCell::default() }
    }

    /// The file of that name.
    pub fn find(&self, path: &Path) -> Option<FileId> {
        let file = self.tree.find(path);
        self.footprint.borrow_mut().names.insert(path.to_owned(), file);
        file
    }

    /// A file's length, on which the judgement then rests.
    pub fn len(&self, file: FileId) -> u64 {
        let len = self.tree.len(file);
        self.footprint.borrow_mut().files.entry(file).or_default().len = Some(len);
        len
    }

    /// Whether a file has so many bytes, on which the judgement then rests.
    pub fn reaches(&self, file: FileId, len: u64) -> bool {
        let mut footprint = self.footprint.borrow_mut();
        let seen = footprint.files.entry(file).or_default();
        let reaches = len <= self.tree.len(file);
        if reaches {
            seen.at_least = seen.at_least.max(len);
        } else {
            seen.less_than = Some(seen.less_than.map_or(len, |bound| bound.min(len)));
        }
        reaches
    }

    /// Fills `buf`, with zeroes past the file's end.
    pub fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) {
        let got = self.tree.read(file, offset, buf);
        buf[got..].fill(0);
        if offset > MAX_OFFSET && !self.reaches(file, offset) {
            return;
        }
        let mut footprint = self.footprint.borrow_mut();
        let sectors = &mut footprint.files.entry(file).or_default().sectors;
        let end = (offset + buf.len() as u64).div_ceil(SECTOR);
        (offset / SECTOR..end).for_each(|sector| sectors.insert(sector));
    }

    /// So many bytes.
    pub fn bytes(&self, file: FileId, offset: u64, len: u64) -> Result<Vec<u8>, String> {
        /// No table of the images under test comes near it.
        const MAX: u64 = 16 << 20;
        if len > MAX || offset > MAX_OFFSET {
            return Err(format!("a table of {len} bytes at {offset:#x}"));
        }
        let mut bytes = vec![0; len as usize];
        self.read(file, offset, &mut bytes);
        Ok(bytes)
    }

    /// What was looked at.
    pub fn into_footprint(self) -> Footprint {
        self.footprint.into_inner()
    }
}
