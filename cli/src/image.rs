//! Options that name an image and say how to open it, shared by the commands.

use std::ffi::OsStr;

use formats::{CacheMode, OpenFlags};
use store::ImageName;

use crate::command::{Args, Env, Given, Id};
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

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

impl Form {
    /// The form of that name.
    pub(crate) fn from_name(name: &str) -> Result<Self, Failure> {
        match name {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(Failure::usage(format!("--output expects 'human' or 'json' not '{name}'"))),
        }
    }

    /// What a command is told that has no other option.
    pub(crate) fn only(args: &Args) -> Result<Self, Failure> {
        let mut form = Self::Human;
        for option in args.options() {
            form = Self::from_name(&option?.text())?;
        }
        Ok(form)
    }
}

/// What commands that look at one image are told about it.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    format: Option<String>,
    names: NameForm,
    force_share: bool,
    /// How to print.
    pub(crate) form: Form,
}

impl Subject {
    /// Takes `-f`, `--image-opts`, `-U`, `--output` or `--object`.
    pub(crate) fn take(&mut self, env: &Env<'_>, option: &Given<'_>) -> Result<(), Failure> {
        match option.id {
            Id::Format => self.format = Some(option.text().into_owned()),
            Id::ImageOpts => self.names = NameForm::Options,
            Id::ForceShare => self.force_share = true,
            Id::Output => self.form = Form::from_name(&option.text())?,
            _ => env.objects.define(option.value())?,
        }
        Ok(())
    }

    /// The one image that the operands name.
    pub(crate) fn operand<'a>(&self, args: &'a Args) -> Result<&'a OsStr, Failure> {
        match args.operands() {
            [name] => Ok(name),
            _ => Err(Failure::usage("Expecting one image file name")),
        }
    }

    /// That image's name in full.
    pub(crate) fn name(&self, operand: &OsStr) -> Result<ImageName, Failure> {
        named(operand, self.format.as_deref(), self.names)
    }

    /// How to open it for reading.
    pub(crate) fn flags(&self) -> OpenFlags {
        OpenFlags { force_share: self.force_share, ..OpenFlags::READ }
    }
}
