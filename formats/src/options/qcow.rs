//! What qcow can be told.

use super::dict::{Dict, Scalar};
use super::qcow2::KeyOptions;

/// What qcow can be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QcowOptions {
    /// What opens an encrypted image.
    pub encryption: KeyOptions,
    /// The options that change what a guest sees, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
}

impl QcowOptions {
    pub(super) fn take(options: &mut Dict) -> Self {
        let spelled = options.spelled(&["encrypt.key-secret"]);
        Self { encryption: KeyOptions::take(options), spelled }
    }
}
