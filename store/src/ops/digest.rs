//! `digest`: a hash of what a guest sees, equal for equal content in any format.
//!
//! One walk over the metadata finds the pieces that hold anything; a few threads read and hash
//! them; in order they go into the tree. What is known to be zeroes is never read.

mod tree;

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use formats::engine::{Turn, run_ordered, status};
use formats::error::ResultExt;
use formats::{Image, Result};

use self::tree::{LEAF, MIN_HEIGHT, Tree, Zeroes};
use crate::Progress;
use crate::side::{Piece, Side};
use crate::workers::lock;

pub use blake3::Hash;

/// Guest bytes that are read and hashed at a time: the smallest tree.
const PIECE: u64 = LEAF << MIN_HEIGHT;

/// More threads than this only wait for memory.
const MAX_THREADS: usize = 16;

/// The hash of an image's content and size. `docs/DIGEST.md` says how it is made.
pub fn digest(image: &Image, progress: &dyn Progress) -> Result<Hash> {
    let zeroes = Zeroes::new();
    let tree = Mutex::new(Tree::new(&zeroes));
    let size = image.virtual_size();
    let mut walk = Walk { image, at: 0, data_end: 0 };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let work = |side: &mut Side<'_>, piece: Piece, turn: &mut Turn<'_>| {
        let name = side.name();
        let bytes = side.read(piece);
        let bytes = bytes.context(|| format!("Could not read '{name}' from offset {}", piece.at))?;
        let hash = zeroes.subtree(bytes, MIN_HEIGHT);
        turn.wait(|| {
            lock(&tree).add(piece.at / LEAF, MIN_HEIGHT, hash);
            progress.set(piece.at + piece.len as u64, size);
            Ok(())
        })
    };
    run_ordered(threads, || walk.next_piece(), || Ok(Side::new(image, PIECE)), work)?;
    progress.set(size, size);
    Ok(tree.into_inner().unwrap_or_else(PoisonError::into_inner).finish(size))
}

/// How far the metadata has been looked at.
struct Walk<'a> {
    image: &'a Image,
    at: u64,
    /// Up to here it is known that there is data from `at` on.
    data_end: u64,
}

impl Walk<'_> {
    /// The next piece in which there is anything.
    fn next_piece(&mut self) -> Result<Option<Piece>> {
        let size = self.image.virtual_size();
        while self.at < size {
            if self.at < self.data_end {
                let start = self.at - self.at % PIECE;
                self.at = start.saturating_add(PIECE).min(size);
                return Ok(Some(Piece { at: start, len: (self.at - start) as usize }));
            }
            let run = status(self.image, self.at, size - self.at)?;
            if run.zero || !run.allocated {
                self.at += run.len;
            } else {
                self.data_end = self.at + run.len;
            }
        }
        Ok(None)
    }
}
