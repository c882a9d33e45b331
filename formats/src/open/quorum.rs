//! Opening quorums.

use std::sync::Arc;

use journal::Access;

use super::claim::Need;
use super::image::Opener;
use crate::image::{Below, Child, NodeName, Parts};
use crate::layered::ImageDisk;
use crate::options::QuorumNode;
use crate::quorum::Quorum;
use crate::{Error, Image, OpenFlags, Result};

const DRIVER: &str = "quorum";

impl Opener<'_> {
    /// A quorum of images, each with all that is behind it.
    pub(super) fn open_quorum(&self, node: QuorumNode, need: Need) -> Result<Image> {
        let opener = self.with_switches(&node.generic)?;
        let flags = OpenFlags { writable_backing: None, backing: true, ..opener.flags };
        let opener = Self { flags, ..opener };
        let mut images = Vec::new();
        for child in node.children {
            images.push(Arc::new(opener.open(child, need.of_metadata_file())?));
        }
        if node.voting.rewrites && flags.access == Access::Read {
            return Err(Error::invalid("Block node is read-only"));
        }
        let children: Vec<Child> =
            images.iter().enumerate().map(|(index, image)| child(index, image)).collect();
        let driver = Box::new(Quorum::new(images, node.voting, flags.access)?);
        if let Some(key) = node.unknown.first_key() {
            let text = format!("Block format '{DRIVER}' does not support the option '{key}'");
            return Err(Error::invalid(text));
        }
        let own = node.spelled.iter().map(|(key, value)| (*key, value.into())).collect();
        Ok(Image::from_parts(Parts {
            name: NodeName::of_list(DRIVER, own, &children),
            driver_name: DRIVER,
            driver,
            children,
            backing_name: None,
            backing: None,
            probed: false,
        }))
    }
}

fn child(index: usize, image: &Arc<Image>) -> Child {
    Child {
        role: format!("children.{index}").into(),
        below: Below::Image(Arc::clone(image)),
        disk: Arc::new(ImageDisk::new(Arc::clone(image))),
    }
}
