//! What LUKS can be told.

use super::dict::{Dict, Scalar};
use super::node::take_child;
use crate::Result;

/// What LUKS can be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LuksOptions {
    /// The secret that opens it.
    pub key_secret: Option<String>,
    /// The file of its header, if that is not at the image's beginning.
    pub header: Dict,
    /// The options that change what a guest sees, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
}

impl LuksOptions {
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let spelled = options.spelled(&["key-secret"]);
        let key_secret = options.take("key-secret").and_then(|value| value.spelled());
        Ok(Self { key_secret, header: take_child(options, "header"), spelled })
    }
}
