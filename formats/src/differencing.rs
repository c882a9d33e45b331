//! Differencing disks of Hyper-V's formats: what a new one and a changed one have to know of their parent.

use crate::create::CreateOptions;
use crate::registry::NewFiles;
use crate::windows_name::WindowsName;
use crate::{BackingReference, DiskIdentity, Driver, Error, Format, Result};

/// The disk that a new one is to stand on.
#[derive(Debug)]
pub(crate) struct NewParent {
    /// Its name.
    pub(crate) name: WindowsName,
    /// What is remembered of it.
    pub(crate) identity: DiskIdentity,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl NewParent {
    /// What the options name as the parent of an image of that format, if they do.
    pub(crate) fn find(
        format: Format,
        options: &CreateOptions,
        files: &dyn NewFiles,
    ) -> Result<Option<Self>> {
        if !options.is_given("backing_file") {
            return Ok(None);
        }
        let name = WindowsName::new(options.text("backing_file").unwrap_or_default())?;
        let image = files.backing()?.filter(|image| image.format() == format);
        let image = image.ok_or_else(|| of_other_format(format))?;
        let identity = image.driver().identity()?.ok_or_else(|| of_other_format(format))?;
        Ok(Some(Self { name, identity, size: image.virtual_size() }))
    }

    /// What `info` tells of it.
    pub(crate) fn reference(&self, format: Format) -> BackingReference {
        reference(&self.name, format)
    }
}

/// What becomes of the parent at the next commit.
#[derive(Debug, Default)]
pub(crate) struct ParentChange {
    /// Its new name.
    pub(crate) name: Option<WindowsName>,
    /// What is to be remembered of it.
    pub(crate) identity: Option<DiskIdentity>,
}

impl ParentChange {
    /// Takes note of another name.
    pub(crate) fn rename(&mut self, format: Format, reference: Option<&BackingReference>) -> Result<()> {
        // What it does not hold it could only hold by being copied.
        let reference = reference.ok_or_else(|| Error::unsupported("Operation not supported"))?;
        if reference.format.as_deref() != Some(format.name()) {
            return Err(of_other_format(format));
        }
        self.name = Some(WindowsName::new(&reference.name)?);
        Ok(())
    }
}

/// Refuses what stands behind a disk if it can be told that the disk was not put on that.
pub(crate) fn require_parent(backing: &dyn Driver, is_it: impl FnOnce(&DiskIdentity) -> bool) -> Result<()> {
    match backing.identity()? {
        Some(identity) if !is_it(&identity) => {
            let error = Error::corrupt("The parent is not the disk that this one was made from");
            Err(error.with_hint(
                "It is another disk, or was written since. To take it for the right one all the same, use \
                 'rebase -u'.",
            ))
        }
        _ => Ok(()),
    }
}

fn reference(name: &WindowsName, format: Format) -> BackingReference {
    BackingReference { name: name.here().into_bytes(), format: Some(format.name().to_owned()) }
}

fn of_other_format(format: Format) -> Error {
    Error::invalid(format!("What a differencing disk stands on must be of its own format, {format}"))
}
