//! The hash tree: equal for equal content, and free of charge where there is none.
//!
//! `docs/DIGEST.md` is its definition. A run of zeroes is a handful of subtrees whose hashes are
//! known by their height, so the tree over an empty terabyte is a few dozen hashes.

use blake3::Hash;
use formats::engine::is_zero;

/// Bytes under a leaf.
pub(super) const LEAF: u64 = 64 << 10;

/// Height of the smallest tree.
pub(super) const MIN_HEIGHT: u32 = 4;

/// Subtrees up to this height are known: no image has more leaves.
const HEIGHTS: u32 = u64::BITS - LEAF.trailing_zeros();

/// A leaf of zeroes.
static ZERO_LEAF: [u8; LEAF as usize] = [0; LEAF as usize];

/// Keys of the inner nodes and of the root, which so cannot be taken for each other or for a leaf.
const NODE_KEY: &[u8; 32] = b"tximg content digest, 1: node\0\0\0";
const ROOT_KEY: &[u8; 32] = b"tximg content digest, 1: root\0\0\0";

/// The hashes of trees over nothing but zeroes, by height.
#[derive(Debug)]
pub(super) struct Zeroes(Vec<Hash>);

impl Zeroes {
    pub(super) fn new() -> Self {
        let leaf = blake3::hash(&ZERO_LEAF);
        let higher = std::iter::successors(Some(leaf), |lower| Some(node_hash(lower, lower)));
        Self(higher.take(HEIGHTS as usize + 1).collect())
    }

    fn at(&self, height: u32) -> Hash {
        self.0[height as usize]
    }

    fn node(&self, left: &Hash, right: &Hash, height: u32) -> Hash {
        let known = self.at(height - 1);
        if *left == known && *right == known { self.at(height) } else { node_hash(left, right) }
    }

    /// The tree of that height over `bytes` and zeroes after them.
    pub(super) fn subtree(&self, bytes: &[u8], height: u32) -> Hash {
        if bytes.is_empty() {
            return self.at(height);
        }
        if height == 0 {
            return self.leaf(bytes);
        }
        let half = (LEAF as usize) << (height - 1);
        let (left, right) = bytes.split_at(half.min(bytes.len()));
        self.node(&self.subtree(left, height - 1), &self.subtree(right, height - 1), height)
    }

    fn leaf(&self, bytes: &[u8]) -> Hash {
        if is_zero(bytes) {
            return self.at(0);
        }
        let missing = &ZERO_LEAF[..ZERO_LEAF.len() - bytes.len()];
        if missing.is_empty() {
            return blake3::hash(bytes);
        }
        blake3::Hasher::new().update(bytes).update(missing).finalize()
    }
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left.as_bytes());
    both[32..].copy_from_slice(right.as_bytes());
    blake3::keyed_hash(NODE_KEY, &both)
}

/// A tree that grows from its left end.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    zeroes: &'a Zeroes,
    /// Complete subtrees, each higher than the next.
    complete: Vec<(u32, Hash)>,
    /// Leaves in them.
    leaves: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(zeroes: &'a Zeroes) -> Self {
        Self { zeroes, complete: Vec::new(), leaves: 0 }
    }

    /// Adds a subtree at a place that is a multiple of its width, with zeroes up to there.
    pub(super) fn add(&mut self, place: u64, height: u32, hash: Hash) {
        self.add_zeroes(place);
        self.push(height, hash);
    }

    fn add_zeroes(&mut self, until: u64) {
        while self.leaves < until {
            let fitting = (until - self.leaves).ilog2();
            let height = fitting.min(self.leaves.trailing_zeros());
            self.push(height, self.zeroes.at(height));
        }
    }

    fn push(&mut self, mut height: u32, mut hash: Hash) {
        self.leaves += 1 << height;
        while let Some((_, left)) = self.complete.pop_if(|(lower, _)| *lower == height) {
            height += 1;
            hash = self.zeroes.node(&left, &hash, height);
        }
        self.complete.push((height, hash));
    }

    /// The hash of content of that many bytes: zeroes fill what is missing.
    pub(super) fn finish(mut self, size: u64) -> Hash {
        self.add_zeroes(size.div_ceil(LEAF).max(1 << MIN_HEIGHT).next_power_of_two());
        let top = self.complete.first().map_or(self.zeroes.at(MIN_HEIGHT), |(_, hash)| *hash);
        let mut last = [0; 40];
        last[..8].copy_from_slice(&size.to_le_bytes());
        last[8..].copy_from_slice(top.as_bytes());
        blake3::keyed_hash(ROOT_KEY, &last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word: all leaves, then level by level.
    fn plainly(content: &[u8]) -> Hash {
        let leaf = LEAF as usize;
        let mut padded = content.to_vec();
        padded.resize(content.len().next_power_of_two().max(1 << 20), 0);
        let mut level: Vec<Hash> = padded.chunks(leaf).map(blake3::hash).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|two| node_hash(&two[0], &two[1])).collect();
        }
        let size = (content.len() as u64).to_le_bytes();
        blake3::keyed_hash(ROOT_KEY, &[&size[..], level[0].as_bytes()].concat())
    }

    fn in_pieces(content: &[u8], height: u32) -> Hash {
        let zeroes = Zeroes::new();
        let mut tree = Tree::new(&zeroes);
        let piece = (LEAF as usize) << height;
        for (number, bytes) in content.chunks(piece).enumerate() {
            if !is_zero(bytes) {
                tree.add((number as u64) << height, height, zeroes.subtree(bytes, height));
            }
        }
        tree.finish(content.len() as u64)
    }

    #[test]
    fn pieces_make_the_tree_of_the_definition() {
        for size in [0, 1, 512, 65536, 65537, 196_608, 1 << 20, (1 << 20) + 512, 5 << 20] {
            let mut content = vec![0; size];
            for at in [0, 70_000, 655_360, (3 << 20) + 7] {
                if let Some(byte) = content.get_mut(at) {
                    *byte = 1;
                    for height in [0, 1, 4] {
                        assert_eq!(in_pieces(&content, height), plainly(&content), "{size} {at} {height}");
                    }
                }
            }
            content.fill(0);
            assert_eq!(in_pieces(&content, 4), plainly(&content), "{size} zeroes");
        }
    }

    #[test]
    fn the_largest_image_is_a_few_hashes() {
        let zeroes = Zeroes::new();
        let sizes = [u64::MAX, 1 << 63, (1 << 63) - 512].map(|size| Tree::new(&zeroes).finish(size));
        assert!(sizes[0] != sizes[1] && sizes[1] != sizes[2]);
    }
}
