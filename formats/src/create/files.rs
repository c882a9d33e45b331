//! The files of a new image of a registered format.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Disk, Draft};

use super::{CreateRequest, Preallocation, begin, file_path};
use crate::open::open_new_backing;
use crate::options::name;
use crate::registry::NewFiles;
use crate::{Error, Image, OpenContext, OpenFlags, Result};

/// Drafts of the files, the image's own first.
pub(super) struct Drafts<'a> {
    context: &'a OpenContext<'a>,
    request: &'a CreateRequest<'a>,
    drafts: Vec<Box<dyn Draft>>,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(context: &'a OpenContext<'a>, request: &'a CreateRequest<'a>) -> Self {
        Self { context, request, drafts: Vec::new() }
    }

    /// The drafts in the order in which they are published, the image's own last.
    pub(super) fn into_drafts(mut self) -> Vec<Box<dyn Draft>> {
        if !self.drafts.is_empty() {
            self.drafts.rotate_left(1);
        }
        self.drafts
    }

    fn backing_name(&self) -> Option<OsString> {
        let name = self.request.options.text("backing_file")?;
        Some(name::relative_to(self.request.target.as_os_str(), OsStr::from_bytes(name)))
    }
}

impl NewFiles for Drafts<'_> {
    fn target(&self) -> Result<OsString> {
        file_path(self.request.target.as_os_str()).map(PathBuf::into_os_string)
    }

    fn begin(&mut self, name: &OsStr) -> Result<Arc<dyn Disk>> {
        let draft = begin(self.context, self.request, Path::new(name))?;
        // It is the file that is asked for that, and while it is empty.
        if Preallocation::from_options(self.request.options)? == Preallocation::Metadata {
            return Err(Error::unsupported("Unsupported preallocation mode: metadata"));
        }
        let disk = draft.disk();
        self.drafts.push(draft);
        Ok(disk)
    }

    fn backing(&self) -> Result<Option<Arc<Image>>> {
        if let Some(backing) = &self.request.backing {
            return Ok(Some(Arc::clone(backing)));
        }
        let Some(name) = self.backing_name() else { return Ok(None) };
        let flags = OpenFlags { backing: false, ..OpenFlags::READ };
        open_new_backing(self.context, &name, None, flags).map(|image| Some(Arc::new(image)))
    }
}
