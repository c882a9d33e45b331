//! Files that an image names besides the one that it is opened from.

use std::cell::RefCell;
use std::sync::Arc;

use super::claim::Need;
use super::image::{Opener, full_name};
use crate::Result;
use crate::image::Child;
use crate::options::{Dict, ParsedNode, Slot};
use crate::registry::{FileContent, FurtherFile, FurtherFiles, OpenedFile};
use crate::shown::shown;

/// Opens them for a driver, and keeps them.
pub(super) struct Further<'a> {
    opener: Opener<'a>,
    /// The file that the image is opened from.
    children: &'a [Child],
    need: Need,
    opened: RefCell<Vec<Child>>,
}

impl<'a> Further<'a> {
    pub(super) fn new(opener: Opener<'a>, children: &'a [Child], need: Need) -> Self {
        Self { opener, children, need, opened: RefCell::default() }
    }

    /// What was opened, in that order.
    pub(super) fn into_children(self) -> Vec<Child> {
        self.opened.into_inner()
    }
}

impl FurtherFiles for Further<'_> {
    fn open(&self, file: FurtherFile<'_>) -> Result<OpenedFile> {
        self.opener.pass_gate(self.children, "extent", file.name)?;
        let name = full_name(self.children, file.name);
        let node = ParsedNode::new(Some(&name), Dict::default(), Slot::File)?.node;
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
