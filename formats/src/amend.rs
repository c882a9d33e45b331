//! Changing what else there is to an image than its content: version, features, widths.

use crate::create::CreateOptions;
use crate::encryption::amend::SlotRequest;
use crate::qcow2::amend::Features;
use crate::{OpenContext, Result};

/// Changes features of an image. As with all of a [`Writer`](crate::Writer), others see it with its
/// commit.
///
/// Between the two steps the disk may change its size: a new size may need new features, and old
/// features may have to fit the new size.
pub trait Amend {
    /// Finds out what the options ask for. Nothing is changed.
    fn plan(&self, request: &AmendRequest<'_>) -> Result<Amendment>;

    /// Brings what there is from now on.
    fn add(&self, amendment: &Amendment) -> Result<()>;

    /// Takes what there is no more.
    fn remove(&self, amendment: &Amendment) -> Result<()>;
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct AmendRequest<'a> {
    /// The options.
    pub options: &'a CreateOptions,
    /// Where secrets are that they name.
    pub context: &'a OpenContext<'a>,
    /// Whether what loses data is refused.
    pub force: Force,
}

/// Whether a change that loses data is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// It is refused.
    #[default]
    Off,
    /// It is made.
    On,
}

/// What options ask for.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// Size of the virtual disk in bytes, if it is to change.
    pub size: Option<u64>,
    /// Features of the format, if it has some.
    pub(crate) features: Option<Features>,
    /// Changes of key slots.
    pub(crate) slots: Option<SlotRequest>,
}

impl Amendment {
    /// Whether it is made step by step.
    pub fn has_steps(&self) -> bool {
        self.features.is_some() && self.slots.is_none()
    }
}
