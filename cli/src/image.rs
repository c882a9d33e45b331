//! Options that name an image and say how to open it, shared by the commands.

use std::ffi::OsStr;

use formats::CacheMode;
use store::ImageName;

use crate::report::Failure;

/// The image that an operand names, given what `-f` and `--image-opts` said.
pub(crate) fn named(text: &OsStr, format: Option<&str>, options: NameForm) -> Result<ImageName, Failure> {
    match (options, format) {
        (NameForm::Options, Some(_)) => {
            Err(Failure::message("--image-opts and --format are mutually exclusive"))
        }
        (NameForm::Options, None) => Ok(ImageName::Options(text.to_owned())),
        (NameForm::File, _) => {
            Ok(ImageName::File { name: text.to_owned(), format: format.map(str::to_owned) })
        }
    }
}

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum NameForm {
    /// A file name.
    #[default]
    File,
    /// Block options, after `--image-opts`.
    Options,
}

/// The cache mode of that name, or `complaint`.
pub(crate) fn cache_mode(name: &str, complaint: impl FnOnce() -> String) -> Result<CacheMode, Failure> {
    CacheMode::from_name(name).ok_or_else(|| Failure::message(complaint()))
}
