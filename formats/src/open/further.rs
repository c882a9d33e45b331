//! Files that an image names besides the one that it is opened from.

use std::cell::RefCell;
use std::sync::Arc;

use super::claim::Need;
use super::image::{Opener, full_name};
use crate::Result;
use crate::image::Child;
use crate::options::node::ambiguous_reference;
use crate::options::{Dict, ParsedNode, Slot};
use crate::registry::{FileContent, FurtherFile, FurtherFiles, OpenedFile};
use crate::shown::shown;

/// Opens them for a driver, and keeps them.
pub(super) struct Further<'a> {
    opener: Opener<'a>,
    /// The file that the image is opened from.
    children: &'a [Child],
    need: Need,
    /// What the image's driver does not know: among it, how the files are to be opened.
    options: RefCell<Dict>,
    opened: RefCell<Vec<Child>>,
}

impl<'a> Further<'a> {
    pub(super) fn new(opener: Opener<'a>, children: &'a [Child], need: Need, options: Dict) -> Self {
        Self { opener, children, need, options: RefCell::new(options), opened: RefCell::default() }
    }

    /// What was opened, in that order, and the options that nobody has taken.
    pub(super) fn into_parts(self) -> (Vec<Child>, Dict) {
        (self.opened.into_inner(), self.options.into_inner())
    }
}

impl Further<'_> {
    /// How a file is to be opened. Which one it is, the image says.
    fn take_options(&self, role: &str) -> Result<Dict> {
        let mut options = self.options.borrow_mut();
        match options.take(role) {
            Some(_) => Err(ambiguous_reference()),
            None => Ok(options.take_subtree(role)),
        }
    }
}

impl FurtherFiles for Further<'_> {
    fn open(&self, file: FurtherFile<'_>) -> Result<OpenedFile> {
        self.opener.pass_gate(self.children, "extent", file.name)?;
        let name = full_name(self.children, file.name);
        let options = self.take_options(&file.role)?;
        let node = ParsedNode::new(Some(&name), options, Slot::File)?.node;
        let opened = self.opener.open_below(node, self.need)?;
        let need = match file.content {
            FileContent::Data => self.need.of_data_file(),
            FileContent::Metadata => self.need.of_metadata_file(),
        };
        need.claim(&*opened.disk, opened.locking)?;
        let found =
            OpenedFile { disk: Arc::clone(&opened.disk), name: shown(&opened.below.name().display()) };
        self.opened.borrow_mut().push(opened.into_child(file.role));
        Ok(found)
    }
}
