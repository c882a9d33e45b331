//! Memory that direct transfers accept.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// The alignment of every [`AlignedBuf`]: a page, enough for direct transfers everywhere.
pub const PAGE: usize = 4096;

/// A zero-initialised buffer whose first byte is on a page boundary.
///
/// It is memory that the kernel may hand out lazily: making a large one costs nothing until it
/// is touched.
pub struct AlignedBuf {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// A buffer of `len` zeroes.
    pub fn new(len: usize) -> Self {
        let storage = vec![0; len + PAGE - 1];
        let start = storage.as_ptr().align_offset(PAGE);
        Self { storage, start, len }
    }

    /// Makes the buffer at least `len` bytes long; a buffer that has to grow comes back zeroed.
    pub fn ensure_len(&mut self, len: usize) {
        if len > self.len {
            // The old memory goes first, so that the two never exist at once.
            self.storage = Vec::new();
            *self = Self::new(len);
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_page_and_is_zero() {
        for len in [0, 1, 511, PAGE, 3 * PAGE + 7] {
            let buf = AlignedBuf::new(len);
            assert_eq!(buf.len(), len);
            assert_eq!(buf.as_ptr().align_offset(PAGE), 0);
            assert!(buf.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn grows_but_never_shrinks() {
        let mut buf = AlignedBuf::new(PAGE);
        buf[0] = 7;
        buf.ensure_len(10);
        assert_eq!((buf.len(), buf[0]), (PAGE, 7));
        buf.ensure_len(2 * PAGE);
        assert_eq!((buf.len(), buf[0]), (2 * PAGE, 0));
    }
}
