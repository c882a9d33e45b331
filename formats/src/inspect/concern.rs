//! What can be against an image.

use std::fmt;

use crate::shown::shown_bytes;
use crate::{Error, ErrorKind};

/// How much an image's maker is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// As oneself: what the image names is wanted.
    #[default]
    Own,
    /// Not at all.
    Stranger,
}

/// Something against an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// What, for programs.
    pub code: Code,
    /// What exactly, for people.
    pub detail: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// Kinds of concerns. Their names do not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The name as it is printed and typed.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// It looks like several formats.
    SeveralFormats = "several-formats",
    /// It is not what it was said to be.
    OtherFormat = "other-format",
    /// It names an image behind it.
    BackingFile = "backing-file",
    /// It names a file that its data is in.
    DataFile = "data-file",
    /// It names a file that a part of it is in.
    ExtentFile = "extent-file",
    /// It contradicts itself, or breaks a limit of its format.
    Damaged = "damaged",
    /// It is marked as corrupt.
    MarkedCorrupt = "marked-corrupt",
    /// It has what tximg does not know.
    Unsupported = "unsupported",
    /// The disk is larger than wanted.
    TooLarge = "too-large",
    /// It has subclusters.
    ExtendedL2 = "extended-l2",
    /// Its format is one that others refuse.
    UnsafeFormat = "unsafe-format",
    /// It is a VMDK image of a kind that is not one file by itself.
    VmdkType = "vmdk-type",
    /// A VMDK image's header and footer disagree.
    VmdkFooter = "vmdk-footer",
    /// A LUKS volume of another version than 1.
    LuksVersion = "luks-version",
    /// A LUKS volume whose keys take too long.
    LuksIterations = "luks-iterations",
    /// A partition table that contradicts itself.
    PartitionTable = "partition-table",
}

impl Code {
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether an image with it is refused.
    pub fn counts(self, policy: Policy) -> bool {
        let always = matches!(
            self,
            Self::SeveralFormats
                | Self::OtherFormat
                | Self::Damaged
                | Self::MarkedCorrupt
                | Self::Unsupported
                | Self::TooLarge
                | Self::VmdkFooter
        );
        always || policy == Policy::Stranger
    }

    /// Whether it is a danger for whoever reads the image by itself, and not only what other programs refuse.
    pub(super) fn is_danger(self) -> bool {
        !matches!(self, Self::ExtendedL2 | Self::UnsafeFormat | Self::PartitionTable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Concern {
    /// A concern, and what exactly it is.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// What it means that an image cannot be opened.
    pub(super) fn of_failure(error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Unsupported => Code::Unsupported,
            _ => Code::Damaged,
        };
        Self::new(code, error.report())
    }
}

/// A file that an image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What for.
    pub role: Role,
    /// The name as it stands in the image.
    pub name: Vec<u8>,
}

/// What an image names a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The image behind it.
    Backing,
    /// Where its data is.
    DataFile,
    /// Where a part of it is.
    Extent,
}

impl Role {
    /// The name as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backing => "backing",
            Self::DataFile => "data-file",
            Self::Extent => "extent",
        }
    }
}

impl Reference {
    pub(super) fn concern(&self) -> Concern {
        let name = shown_bytes(&self.name);
        match self.role {
            Role::Backing => Concern::new(Code::BackingFile, format!("The image stands on '{name}'")),
            Role::DataFile => Concern::new(Code::DataFile, format!("The image's data is in '{name}'")),
            Role::Extent => Concern::new(Code::ExtentFile, format!("A part of the image is in '{name}'")),
        }
    }
}
