//! `check`: whether an image's metadata is consistent.

use formats::{CheckReport, Finding, Image, Result};

/// What a check of an image came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The format has no check.
    Impossible,
    /// The image was checked to its end.
    Checked(CheckReport),
}

/// Checks an image that was opened with [`formats::OpenFlags::check`], changing nothing.
///
/// What is found is told as it is met. The failure of a check is a reason without a sentence.
pub fn check(image: &Image, tell: &mut dyn FnMut(Finding)) -> Result<Verdict> {
    if !image.driver().can_check() {
        return Ok(Verdict::Impossible);
    }
    image.driver().check(tell).map(Verdict::Checked)
}
