//! Opening filters.

use std::sync::Arc;

use journal::{Access, Disk};

use super::claim::Need;
use super::file::Opened;
use super::image::Opener;
use crate::filter::{Effect, Filtered};
use crate::image::{Below, Child, FileNode, NodeName, Parts};
use crate::layered::ImageDisk;
use crate::options::FilterNode;
use crate::options::filter::Filter;
use crate::throttle::{ThrottleGroup, ThrottledDisk};
use crate::{Error, Format, Image, OpenFlags, Result};

impl Opener<'_> {
    /// A filter over an image, or over a file.
    pub(super) fn open_filter(&self, node: FilterNode, need: Need) -> Result<Image> {
        let image = Arc::new(self.under_filter(&node)?.open(*node.file.clone(), need)?);
        filtered(&node, image, self.group(&node))
    }

    /// A filter under an image. Over a file it is that file, which is not locked yet.
    pub(super) fn open_filter_below(&self, node: FilterNode, need: Need) -> Result<Opened> {
        let opener = self.under_filter(&node)?;
        let under = opener.open_below(*node.file.clone(), need)?;
        let image = match &under.below {
            Below::File(file) => Arc::new(opener.bare(file)?),
            Below::Image(image) => Arc::clone(image),
        };
        let group = self.group(&node);
        let image = filtered(&node, image, group.clone())?;
        match (node.filter, group) {
            (Filter::Compress, _) => Ok(Opened::of_image(image)),
            (_, Some(group)) => {
                let behind = |disk| Arc::new(ThrottledDisk::new(disk, Arc::clone(&group))) as Arc<dyn Disk>;
                let under_raw = under.under_raw.map(behind);
                let disk = behind(under.disk);
                Ok(Opened { below: Below::Image(Arc::new(image)), disk, under_raw, locking: under.locking })
            }
            _ => Ok(Opened { below: Below::Image(Arc::new(image)), ..under }),
        }
    }

    /// The group of a filter, if it has one that limits anything.
    fn group(&self, node: &FilterNode) -> Option<Arc<ThrottleGroup>> {
        let id = node.group.as_deref()?.as_bytes();
        self.context.secrets?.other::<ThrottleGroup>(id).filter(|group| !group.is_unlimited())
    }

    /// The opener of what the filter is over.
    fn under_filter(&self, node: &FilterNode) -> Result<Self> {
        let opener = self.with_switches(&node.generic)?;
        if node.filter == Filter::CopyOnRead && opener.flags.access == Access::Read {
            return Err(Error::invalid("Block node is read-only"));
        }
        if let Some(group) = &node.group
            && !self.context.secrets.is_some_and(|objects| objects.contains(group.as_bytes()))
        {
            return Err(Error::invalid(format!("Throttle group '{group}' does not exist")));
        }
        let flags = OpenFlags { backing: true, ..opener.flags };
        Ok(Self { flags, ..opener })
    }
}

/// The filter over that image.
fn filtered(node: &FilterNode, image: Arc<Image>, group: Option<Arc<ThrottleGroup>>) -> Result<Image> {
    let driver_name = node.filter.name();
    if node.filter == Filter::Compress {
        check_compression(&image)?;
    }
    if let Some(key) = node.unknown.first_key() {
        let text = format!("Block format '{driver_name}' does not support the option '{key}'");
        return Err(Error::invalid(text));
    }
    let children = vec![child(&image)];
    let own = node.spelled.iter().map(|(key, value)| (*key, value.into())).collect();
    let name = NodeName::of_filter(driver_name, own, &children);
    let backing = image.backing().cloned();
    let effect = match (node.filter, group) {
        (Filter::Compress, _) => Effect::Compressed,
        (_, Some(group)) => Effect::Throttled(group),
        _ => Effect::None,
    };
    let driver = Box::new(Filtered::new(image, effect));
    let (backing_name, probed) = (None, false);
    Ok(Image::from_parts(Parts { name, driver_name, driver, children, backing_name, backing, probed }))
}

/// What a filter is over.
fn child(image: &Arc<Image>) -> Child {
    let file = image.driver().files().into_iter().next().filter(|_| image.children().is_empty());
    let (below, disk) = match file {
        Some(file) => {
            let node = FileNode {
                driver: image.driver_name(),
                name: image.name().clone(),
                disk: Arc::clone(&file.disk),
            };
            (Below::File(node), file.disk)
        }
        None => {
            (Below::Image(Arc::clone(image)), Arc::new(ImageDisk::new(Arc::clone(image))) as Arc<dyn Disk>)
        }
    };
    Child { role: "file".into(), below, disk }
}

/// Refuses to compress where that is not possible.
fn check_compression(image: &Image) -> Result<()> {
    let name = image.driver_name();
    let can_compress = Filter::from_name(name).is_some_and(Filter::passes_compression)
        || matches!(Format::from_name(name), Some(Format::Qcow2 | Format::Qcow | Format::Vmdk));
    if !can_compress {
        let text = format!("Compression is not supported for underlying format: {name}");
        return Err(Error::unsupported(text));
    }
    Ok(())
}
