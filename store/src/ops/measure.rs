//! `measure`: how large the file of a new image would be.

use formats::create::{self, CreateOptions, Measured, Measurement, OptionTable, creatable};
use formats::{Image, OpenContext, OpenFlags, Result};

use crate::{ImageName, SnapshotSelector};

/// What would be in the new image.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing, on a virtual disk of that many bytes.
    Empty(u64),
    /// What an image holds.
    Of {
        /// The image.
        name: ImageName,
        /// How to open it.
        flags: OpenFlags,
        /// The snapshot of it that counts.
        snapshot: Option<SnapshotSelector>,
    },
}

/// The content, opened.
#[derive(Debug)]
pub struct OpenedContent {
    size: Option<u64>,
    image: Option<Image>,
    view: Option<Image>,
}

impl Content {
    /// Opens what has to be opened.
    pub fn open(&self, context: &OpenContext<'_>) -> Result<OpenedContent> {
        match self {
            Self::Empty(size) => Ok(OpenedContent { size: Some(*size), image: None, view: None }),
            Self::Of { name, flags, snapshot } => {
                let image = name.open(context, *flags)?;
                let view = snapshot.as_ref().map(|snapshot| snapshot.view(&image)).transpose()?;
                Ok(OpenedContent { size: None, image: Some(image), view })
            }
        }
    }
}

/// The options that an image of that format has.
pub fn table(format: &str) -> Result<OptionTable> {
    Ok(OptionTable::for_file(creatable(format)?))
}

impl OpenedContent {
    /// Measures a new image with it.
    pub fn measure(
        &self,
        context: &OpenContext<'_>,
        table: &OptionTable,
        mut options: CreateOptions,
    ) -> Result<Measurement> {
        if let Some(size) = self.size {
            options.set_size(size)?;
        }
        let content = self.view.as_ref().or(self.image.as_ref());
        let bitmaps =
            self.image.as_ref().and_then(|image| image.driver().bitmaps()).map(|bitmaps| bitmaps.list());
        let content = content.map(|content| Measured { content, bitmaps });
        create::measure(table, &options, context, content.as_ref())
    }
}
