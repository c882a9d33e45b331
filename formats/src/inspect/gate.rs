//! Gates for images that are not trusted.

use std::ffi::OsStr;

use journal::{Disk, Following};

use super::Looked;
use crate::context::{Gate, ImplicitFile};
use crate::options::name;
use crate::shown::shown;
use crate::{Error, ErrorKind, Format, Result};

/// For images from strangers: nothing is opened but what the person names, as a plain file, in the format that the person
/// says, and only if it is that and nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct StrictGate;

impl Gate for StrictGate {
    fn check(&self, file: ImplicitFile<'_>) -> Result<()> {
        refuse_file(file)
    }

    fn admit_name(&self, filename: &OsStr) -> Result<()> {
        refuse_protocol(filename)
    }

    fn admit(&self, disk: &dyn Disk, said: Option<Format>) -> Result<()> {
        let Some(said) = said else {
            let text = "The format of an image that is not trusted has to be said";
            return Err(Error::new(ErrorKind::Refused, text));
        };
        let looked = Looked::at(disk, Some(said))?;
        let named = looked.references.iter().map(super::Reference::concern);
        match looked.concerns.into_iter().chain(named).find(|concern| concern.code.is_danger()) {
            None => Ok(()),
            Some(concern) => Err(refused(concern.detail)),
        }
    }

    fn following(&self) -> Following {
        Following::Nothing
    }
}

/// For looking at one file: nothing that it names is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedGate;

impl Gate for ClosedGate {
    fn check(&self, file: ImplicitFile<'_>) -> Result<()> {
        refuse_file(file)
    }

    fn admit_name(&self, filename: &OsStr) -> Result<()> {
        refuse_protocol(filename)
    }

    fn following(&self) -> Following {
        Following::Nothing
    }
}

fn refuse_file(file: ImplicitFile<'_>) -> Result<()> {
    let ImplicitFile { named_by, role, name } = file;
    Err(refused(format!("'{named_by}' names '{name}' ({role}), which is not opened")))
}

fn refused(detail: String) -> Error {
    Error::new(ErrorKind::Refused, detail).context("The image is not trusted")
}

/// Refuses a name that is more than a path.
pub(super) fn refuse_protocol(filename: &OsStr) -> Result<()> {
    match name::protocol(filename) {
        None => Ok(()),
        Some(_) => {
            let text = format!("'{}' is no plain name of a file (./ in front makes it one)", shown(filename));
            Err(Error::new(ErrorKind::Refused, text))
        }
    }
}
