//! An opened image: a driver over its files, and the images behind it.

use std::sync::Arc;

use crate::{Driver, Format};

/// An opened image and its backing chain.
#[derive(Debug)]
pub struct Image {
    filename: String,
    driver: Box<dyn Driver>,
    backing: Option<Arc<Image>>,
}

impl Image {
    /// An image over a driver, with what stands behind it.
    pub fn new(filename: String, driver: Box<dyn Driver>, backing: Option<Arc<Image>>) -> Self {
        Self { filename, driver, backing }
    }

    /// The image as a person is told of it.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// The driver.
    pub fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.driver.format()
    }

    /// Size of the virtual disk in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.driver.virtual_size()
    }

    /// The image behind this one, if it has one and it was opened.
    pub fn backing(&self) -> Option<&Arc<Image>> {
        self.backing.as_ref()
    }
}
