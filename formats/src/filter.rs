//! Filters: an image that is what another one is.

use std::sync::Arc;

use journal::Zeroing;

use crate::{
    Allocation, Compressing, Compression, Driver, Durability, Error, Format, FormatDetails, GuestOffset,
    Image, ImageFile, Mapping, Resize, Result, Snapshots, Writer,
};

/// The driver of a filter over an image.
#[derive(Debug)]
pub(crate) struct Filtered {
    image: Arc<Image>,
}

impl Filtered {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        Self { image }
    }
}

impl Driver for Filtered {
    fn format(&self) -> Format {
        self.image.format()
    }

    fn virtual_size(&self) -> u64 {
        self.image.virtual_size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        self.image.driver().map(at, len)
    }

    fn tells_allocation(&self) -> bool {
        self.image.driver().tells_allocation()
    }

    /// What only the image's format has is told of the image.
    fn details(&self) -> Result<FormatDetails> {
        let FormatDetails { cluster_size, dirty, .. } = self.image.driver().details()?;
        Ok(FormatDetails { cluster_size, dirty, ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        self.image.driver().files()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.image.driver().snapshots()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.image.driver().writer()
    }
}

/// The driver of a filter that compresses what is written.
#[derive(Debug)]
pub(crate) struct Compressed {
    filtered: Filtered,
}

impl Compressed {
    pub(crate) fn new(filtered: Filtered) -> Self {
        Self { filtered }
    }

    fn below(&self) -> Result<&dyn Writer> {
        self.filtered.writer().ok_or_else(|| Error::unsupported("Image is not writable"))
    }
}

impl Driver for Compressed {
    fn format(&self) -> Format {
        self.filtered.format()
    }

    fn virtual_size(&self) -> u64 {
        self.filtered.virtual_size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        self.filtered.map(at, len)
    }

    fn tells_allocation(&self) -> bool {
        self.filtered.tells_allocation()
    }

    fn details(&self) -> Result<FormatDetails> {
        self.filtered.details()
    }

    fn files(&self) -> Vec<ImageFile> {
        self.filtered.files()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.filtered.snapshots()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.filtered.writer().map(|_| self as _)
    }
}

/// Whole clusters are written, since that is what is compressed.
impl Writer for Compressed {
    fn granularity(&self) -> u64 {
        self.compression().map_or(1, |compression| compression.cluster_size)
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        self.below()?.prepare(at, len)
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.below()?.link(allocation)
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.below()?.zero(at, len, how)
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.below()?.discard(at, len)
    }

    fn compression(&self) -> Option<Compression> {
        self.filtered.writer()?.compression()
    }

    fn compressing(&self) -> Compressing {
        match self.filtered.writer().map(Writer::compressing) {
            Some(Compressing::OnRequest) => Compressing::Whole,
            Some(other) => other,
            None => Compressing::Never,
        }
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        self.below()?.write_compressed(at, payload)
    }

    fn overwrites(&self) -> bool {
        self.filtered.writer().is_some_and(Writer::overwrites)
    }

    fn zeroes_are_data(&self) -> bool {
        self.filtered.writer().is_some_and(Writer::zeroes_are_data)
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        self.filtered.writer()?.resizer()
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        self.below()?.commit(durability)
    }
}
