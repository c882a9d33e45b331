//! Filters: an image that is what another one is.

use std::sync::Arc;

use crate::{
    Driver, Format, FormatDetails, GuestOffset, Image, ImageFile, Mapping, Result, Snapshots, Writer,
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
