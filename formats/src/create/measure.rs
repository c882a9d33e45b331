//! How large the file of a new image would be.

use super::{CreateOptions, OptionTable};
use crate::raw::sectors;
use crate::{BitmapInfo, Error, Format, Image, OpenContext, Result, luks, qcow2};

/// Bytes of a new image's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// As it is made: with the source's data, or empty.
    pub required: u64,
    /// When every guest cluster is allocated.
    pub fully_allocated: u64,
    /// What copies of the source's bitmaps add, if source and target can have any.
    pub bitmaps: Option<u64>,
}

/// What would be copied into the new image.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The guest's bytes.
    pub content: &'a Image,
    /// The bitmaps, where the source's format has them.
    pub bitmaps: Option<&'a [BitmapInfo]>,
}

/// Measures a new image of a format, which holds what the source does if there is one.
pub fn measure(
    table: &OptionTable,
    options: &CreateOptions,
    context: &OpenContext<'_>,
    source: Option<&Measured<'_>>,
) -> Result<Measurement> {
    let size = || source.map_or(options.size().unwrap_or(0), |source| source.content.virtual_size());
    match table.format() {
        Format::Qcow2 => qcow2::measure::measure(options, context, source),
        Format::Raw => {
            let bytes = sectors(size());
            Ok(Measurement { required: bytes, fully_allocated: bytes, bitmaps: None })
        }
        Format::Luks => luks::measure(options, context, size()),
        other => Err(Error::unsupported(format!("Block driver '{other}' does not support size measurement"))),
    }
}
