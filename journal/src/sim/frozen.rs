//! A tree that does not change any more, to be looked at and compared.

use std::path::Path;

use super::SimFs;
use super::log::FileId;
use super::world::{Tree, World};

/// Everything in a simulated tree at one moment. Copies are cheap.
#[derive(Debug, Clone)]
pub struct Frozen {
    tree: Tree,
}

impl Frozen {
    /// Bytes in the unit in which two trees share content.
    pub const PAGE: u64 = crate::PAGE as u64;

    pub(super) fn new(tree: Tree) -> Self {
        Self { tree }
    }

    /// A tree that can be used, in which all of this is safe from every crash.
    pub fn thaw(&self) -> SimFs {
        SimFs::from_world(World::from_tree(self.tree.clone()))
    }

    /// The file at `path`, links followed.
    pub fn find(&self, path: impl AsRef<Path>) -> Option<FileId> {
        self.tree.find(path.as_ref()).ok()?
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.tree.names()
    }

    /// A file's length.
    pub fn len(&self, file: FileId) -> u64 {
        self.tree.content(file).len()
    }

    /// Whether a file has no bytes.
    pub fn is_empty(&self, file: FileId) -> bool {
        self.len(file) == 0
    }

    /// Fills `buf` from `offset`, up to the end, and says how far.
    pub fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> usize {
        self.tree.content(file).read(offset, buf)
    }

    /// The pages in which a file may differ from one in another tree. Those that are not told are
    /// the same; the lengths may still differ.
    pub fn unshared_pages(&self, file: FileId, other: &Self, other_file: FileId) -> Vec<u64> {
        self.tree.content(file).unshared_pages(other.tree.content(other_file))
    }

    /// A number that differs, but for a chance of 2^-64, where any name or any byte of a file with a
    /// name does.
    pub fn digest(&self) -> u64 {
        self.tree.digest()
    }
}
