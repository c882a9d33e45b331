//! Filters: an image that is what another one is.

use std::sync::Arc;

use journal::Zeroing;

use crate::throttle::{Passing, ThrottleGroup};
use crate::{
    Allocation, Compressing, Compression, Driver, Durability, Error, Format, FormatDetails, GuestOffset,
    Image, ImageFile, Mapping, Overlay, Resize, Result, SnapshotWriter, Snapshots, Writer,
};

/// What a filter does with what is written.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It is compressed.
    Compressed,
    /// It waits until it may pass, as what is read does.
    Throttled(Arc<ThrottleGroup>),
}

/// The driver of a filter over an image.
#[derive(Debug)]
pub(crate) struct Filtered {
    image: Arc<Image>,
    effect: Effect,
}

impl Filtered {
    pub(crate) fn new(image: Arc<Image>, effect: Effect) -> Self {
        Self { image, effect }
    }

    fn below(&self) -> Option<&dyn Writer> {
        self.image.driver().writer()
    }

    fn pass(&self, passing: Passing, len: u64) {
        if let Effect::Throttled(group) = &self.effect {
            group.pass(passing, len);
        }
    }

    fn writer_below(&self) -> Result<&dyn Writer> {
        self.below().ok_or_else(|| Error::unsupported("Image is not writable"))
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

    fn pass_reading(&self, len: u64) {
        self.pass(Passing::In, len);
        // Another filter below may have a limit of its own.
        self.image.driver().pass_reading(len);
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.below().map(|_| self as _)
    }
}

/// Bitmaps and features are the image's, and not to be changed through a filter.
impl Writer for Filtered {
    /// What is compressed is a whole cluster.
    fn granularity(&self) -> u64 {
        match (&self.effect, self.compression()) {
            (Effect::Compressed, Some(compression)) => compression.cluster_size,
            _ => self.below().map_or(1, Writer::granularity),
        }
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let allocation = self.writer_below()?.prepare(at, len)?;
        self.pass(Passing::Out, allocation.len);
        Ok(allocation)
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.writer_below()?.link(allocation)
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.pass(Passing::Out, len);
        self.writer_below()?.zero(at, len, how)
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.pass(Passing::Out, len);
        self.writer_below()?.discard(at, len)
    }

    fn compression(&self) -> Option<Compression> {
        self.below()?.compression()
    }

    fn compressing(&self) -> Compressing {
        match (&self.effect, self.below().map(Writer::compressing)) {
            (Effect::Compressed, Some(Compressing::OnRequest)) => Compressing::Whole,
            (_, Some(other)) => other,
            (_, None) => Compressing::Never,
        }
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        self.pass(Passing::Out, self.compression().map_or(0, |compression| compression.cluster_size));
        self.writer_below()?.write_compressed(at, payload)
    }

    fn snapshots(&self) -> Option<&dyn SnapshotWriter> {
        self.below()?.snapshots()
    }

    fn overwrites(&self) -> bool {
        self.below().is_some_and(Writer::overwrites)
    }

    fn zeroes_are_data(&self) -> bool {
        self.below().is_some_and(Writer::zeroes_are_data)
    }

    fn unwritten_is_noise(&self) -> bool {
        self.below().is_some_and(Writer::unwritten_is_noise)
    }

    fn follow(&self, backing: &dyn Driver) {
        if let Some(writer) = self.below() {
            writer.follow(backing);
        }
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        self.below()?.overlay()
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        self.below()?.resizer()
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        self.writer_below()?.commit(durability)
    }
}
