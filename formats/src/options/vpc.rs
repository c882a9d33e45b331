//! What VPC can be told.

use super::dict::{Dict, Scalar};
use crate::vpc::SizeIn;
use crate::{Error, Result};

/// What VPC can be told: which of the two sizes in a footer counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VpcOptions {
    /// Where the size is, if somebody knows better than the image.
    pub size_in: Option<SizeIn>,
    /// The options as they were spelled, for the image's `json:{…}` name.
    pub spelled: Vec<(&'static str, Scalar)>,
}

impl VpcOptions {
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let spelled = options.spelled(&["force_size_calc"]);
        let size_in = match options.take("force_size_calc").and_then(|value| value.spelled()).as_deref() {
            None => None,
            Some("chs") => Some(SizeIn::Geometry),
            Some("current_size") => Some(SizeIn::Bytes),
            Some(other) => {
                return Err(Error::invalid(format!("Invalid size calculation mode: '{other}'")));
            }
        };
        Ok(Self { size_in, spelled })
    }
}
