//! What filters can be told: nodes that pass on what is asked of them.

use super::dict::{Dict, Scalar};
use super::driver::GenericOptions;
use super::node::NodeOptions;
use super::take;
use crate::{Error, Result};

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Copies what is read from behind an image into the image.
    CopyOnRead,
    /// Compresses what is written.
    Compress,
    /// Reserves space ahead of what is written.
    Preallocate,
    /// Slows down.
    Throttle,
}

impl Filter {
    const ALL: [Self; 4] = [Self::CopyOnRead, Self::Compress, Self::Preallocate, Self::Throttle];

    /// The name as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::CopyOnRead => "copy-on-read",
            Self::Compress => "compress",
            Self::Preallocate => "preallocate",
            Self::Throttle => "throttle",
        }
    }

    /// Whether what is written compressed arrives so at what the filter is over.
    pub(crate) fn passes_compression(self) -> bool {
        matches!(self, Self::CopyOnRead | Self::Throttle)
    }

    /// The filter of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.name() == name)
    }

    /// Takes what the filter knows: the group that it is in, if it has some.
    pub(super) fn take(self, options: &mut Dict) -> Result<Option<String>> {
        match self {
            Self::CopyOnRead | Self::Compress => {}
            Self::Preallocate => {
                take::size(options, "prealloc-align")?;
                take::size(options, "prealloc-size")?;
            }
            Self::Throttle => {
                let group = options.take("throttle-group").and_then(|value| value.spelled());
                let group = group.ok_or_else(|| Error::invalid("Please specify a throttle group"))?;
                return Ok(Some(group));
            }
        }
        Ok(None)
    }
}

/// A filter over a node.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterNode {
    /// The filter.
    pub filter: Filter,
    /// The object that the filter belongs to, if it does to one.
    pub group: Option<String>,
    /// The options by which it is named, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
    /// What it is over.
    pub file: Box<NodeOptions>,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the filter does not know.
    pub unknown: Dict,
}
