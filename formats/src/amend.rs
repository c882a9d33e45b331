//! Changing what else there is to an image than its content: version, features, widths.

use crate::Result;
use crate::create::CreateOptions;

/// Changes features of an image. As with all of a [`Writer`](crate::Writer), others see it with its
/// commit.
///
/// Between the two steps the disk may change its size: a new size may need new features, and old
/// features may have to fit the new size.
pub trait Amend {
    /// Finds out what the options ask for. Nothing is changed.
    fn plan(&self, options: &CreateOptions) -> Result<Amendment>;

    /// Brings what there is from now on.
    fn add(&self, amendment: &Amendment) -> Result<()>;

    /// Takes what there is no more.
    fn remove(&self, amendment: &Amendment) -> Result<()>;
}

/// What options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Size of the virtual disk in bytes, if it is to change.
    pub size: Option<u64>,
    /// The rest.
    pub(crate) features: crate::qcow2::amend::Features,
}
