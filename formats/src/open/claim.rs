//! What an image in a chain claims of its files.

use journal::{Access, Claim, Disk, Permissions};

use crate::options::FormatOptions;
use crate::{OpenFlags, Result};

/// What a parent needs of a node: permissions in use, and permissions that nobody else may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    using: Permissions,
    denying: Permissions,
}

/// Whether a file's locks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// All of them.
    On,
    /// Only those that deny nothing to others.
    Sharing,
    /// None.
    Off,
}

impl Need {
    /// What a command needs of the image it names.
    pub(super) fn of(flags: &OpenFlags) -> Self {
        let reading = if flags.data { Permissions::CONSISTENT_READ } else { Permissions::NONE };
        let using = if flags.access == Access::Write { reading | Permissions::WRITE } else { reading };
        let denying = if flags.deny_writers { Claim::reader().denying } else { Permissions::NONE };
        Self { using, denying }
    }

    /// What an image needs of its file: raw passes on what is needed of it, while other formats
    /// bear no writer beside them.
    pub(super) fn of_file(self, format: &FormatOptions) -> Self {
        match format {
            FormatOptions::Raw(raw) if raw.is_whole_file() => self,
            FormatOptions::Raw(_) => Self { denying: self.denying | Permissions::RESIZE, ..self },
            _ => self.of_metadata_file(),
        }
    }

    /// What an image needs of a file with metadata of its own: no writer beside it.
    pub(super) fn of_metadata_file(self) -> Self {
        match self.using {
            using if using.contains(Permissions::WRITE) => {
                Self { using: using | Permissions::RESIZE, denying: Claim::writer().denying }
            }
            _ => Self { denying: Claim::reader().denying, ..self },
        }
    }

    /// What an image needs of its external data file.
    pub(super) fn of_data_file(self) -> Self {
        Self { denying: self.denying | Permissions::RESIZE, ..self }
    }

    /// What an image needs of the one behind it: to read it, or to be the only one that writes it.
    pub(super) fn of_backing(self, access: Access) -> Self {
        match access {
            Access::Read => Self { using: Permissions::CONSISTENT_READ, ..self },
            Access::Write => {
                Self { using: Claim::writer().using, denying: self.denying | Claim::writer().denying }
            }
        }
    }

    /// Takes the locks of a file.
    pub(super) fn claim(self, disk: &dyn Disk, locking: Locking) -> Result<()> {
        let claim = match locking {
            Locking::Off => return Ok(()),
            Locking::Sharing => Claim { using: self.using, denying: Permissions::NONE },
            Locking::On => Claim { using: self.using, denying: self.denying },
        };
        if claim != Claim::none() {
            disk.lock(claim)?;
        }
        Ok(())
    }
}
