//! One of the images that a thread reads a piece at a time.

use formats::engine::Reader;
use formats::{Image, Result};

/// Guest bytes that are read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// The first one.
    pub(crate) at: u64,
    /// How many.
    pub(crate) len: usize,
}

/// An image as one thread reads it.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    image: &'a Image,
    reader: Reader<'a>,
    buffer: Vec<u8>,
}

impl<'a> Side<'a> {
    /// A reader of pieces of at most that many bytes.
    pub(crate) fn new(image: &'a Image, longest: u64) -> Self {
        Self { image, reader: Reader::new(image), buffer: vec![0; longest as usize] }
    }

    /// The image's name as it is told.
    pub(crate) fn name(&self) -> &'a str {
        self.image.filename()
    }

    /// Reads a piece.
    pub(crate) fn read(&mut self, piece: Piece) -> Result<&[u8]> {
        let bytes = &mut self.buffer[..piece.len];
        self.reader.read(piece.at, bytes)?;
        Ok(bytes)
    }
}
