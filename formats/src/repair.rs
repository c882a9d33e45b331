//! Repairing an image's metadata.

use std::fmt::Debug;

use crate::{CheckReport, Driver, Error, Finding};

/// What a repair may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Space that is counted but not used is given back. That endangers no data.
    Leaks,
    /// Everything that can be repaired is.
    All,
}

/// How far a repair came.
#[derive(Debug)]
pub struct Repaired {
    /// What was found, and how much of it is repaired.
    pub report: CheckReport,
    /// Damage that is left, but that no check finds any more: clusters behind the end of the file that
    /// are inside it now, without what they held.
    pub lost: u64,
    /// The image after the repair, or why there was none: then the image is as it was.
    pub image: Result<Box<dyn Driver>, Error>,
}

/// A driver that can repair its image, which was opened for writing and for a check.
pub trait Repairer: Debug + Send + Sync {
    /// Looks for inconsistencies, repairs what it may, and makes the result durable, all or none.
    fn repair(&self, what: Repair, tell: &mut dyn FnMut(Finding)) -> Repaired;
}
