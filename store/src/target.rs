//! New images that a copy goes into.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::create::{
    CreateOptions, CreateRequest, NewImage, OptionList, OptionTable, creatable, create, file_path,
};
use formats::error::ResultExt;
use formats::open::open_backing;
use formats::options::DriverName;
use formats::{Durability, Error, Format, OpenContext, OpenFlags, Result};
use journal::DiskKind;

use crate::name::file_of_name;

/// An image to be made, as a person asks for it.
#[derive(Debug, Clone)]
pub struct NewTarget {
    /// Where it shall stand.
    pub filename: OsString,
    /// The name of its format.
    pub format: String,
    /// Its options.
    pub options: OptionList,
    /// Its backing file.
    pub backing: Option<OsString>,
    /// The backing file's format.
    pub backing_format: Option<OsString>,
}

/// The same, understood.
#[derive(Debug)]
pub(crate) struct TargetPlan<'a> {
    target: &'a NewTarget,
    /// Its format.
    pub(crate) format: Format,
    /// Its options, the size among them.
    pub(crate) options: CreateOptions,
}

impl NewTarget {
    /// The file that it shall be, found by looking at the name alone.
    pub fn file(&self) -> Option<PathBuf> {
        file_of_name(&self.filename)
    }

    /// Finds out what the request means for an image of that many bytes.
    pub(crate) fn plan(&self, size: u64) -> Result<TargetPlan<'_>> {
        let format = creatable(&self.format)?;
        file_path(&self.filename)?;
        let mut options = OptionTable::for_file(format).parse(&self.options)?;
        options.set_size(size)?;
        options.set_backing(self.backing.as_deref(), self.backing_format.as_deref())?;
        if options.is_given("backing_file") && !options.is_given("backing_fmt") {
            return Err(Error::invalid("Use of backing file requires explicit backing format"));
        }
        Ok(TargetPlan { target: self, format, options })
    }
}

impl TargetPlan<'_> {
    /// Whether it stands on a backing file.
    pub(crate) fn has_backing(&self) -> bool {
        self.options.is_given("backing_file")
    }

    /// Begins to make it.
    ///
    /// `attempt` is what a failure is told to have happened to: `error while …`.
    pub(crate) fn begin(&self, context: &OpenContext<'_>, attempt: &str) -> Result<NewImage> {
        let name = Path::new(&self.target.filename);
        let format = self.options.text("backing_fmt").map(String::from_utf8_lossy);
        // A format that does not exist is refused where the options are.
        let known = format.as_deref().is_none_or(|name| DriverName::from_name(name).is_ok());
        let backing = match self.options.text("backing_file").filter(|_| known) {
            Some(backing) => {
                let backing = OsStr::from_bytes(backing);
                let image =
                    open_backing(context, name.as_os_str(), backing, format.as_deref(), OpenFlags::READ)?;
                Some(Arc::new(image))
            }
            None => None,
        };
        let request = CreateRequest {
            target: Path::new(&self.target.filename),
            format: self.format,
            options: &self.options,
            backing,
            durability: Durability::Durable,
        };
        create(context, request).context(|| format!("{}: {attempt}", formats::shown::shown(name.as_ref())))
    }
}

/// Whether what is not written of a new image reads as zeroes: that is not so on a device.
pub(crate) fn starts_zeroed(new: &NewImage) -> Result<bool> {
    if new.image().driver().writer().is_some_and(|writer| writer.unwritten_is_noise()) {
        return Ok(false);
    }
    for file in new.image().driver().files() {
        if file.disk.status()?.kind != DiskKind::Regular {
            return Ok(false);
        }
    }
    Ok(true)
}
