//! The descriptor of a bundle: which files hold which part of the disk.

use std::ops::Range;

use journal::Disk;
use roxmltree::{Document, Node, ParsingOptions};

use crate::raw::SECTOR;
use crate::resize::MAX_DISK_SIZE;
use crate::{Error, Result};

/// Longer descriptors are refused.
const MAX_LEN: u64 = 4 << 20;
/// So are such with more elements and texts.
const MAX_NODES: u32 = 1 << 16;
/// The image that is written, if the descriptor names none.
const TOP: &str = "{5fbaabe3-6958-40ff-92a7-860e329aab41}";
/// The parent of an image that stands on no other one, and of what is not encrypted.
const NOBODY: &str = "{00000000-0000-0000-0000-000000000000}";

/// What a descriptor says (Parallels Disk Format, "Description file").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Bytes of the disk.
    pub(crate) size: u64,
    /// The parts of the disk, ascending.
    pub(crate) storages: Vec<Storage>,
}

/// A part of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Its bytes on the disk.
    pub(crate) range: Range<u64>,
    /// The files that hold it, the one that counts first.
    pub(crate) layers: Vec<Layer>,
}

/// A file of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// What is in it.
    pub(crate) kind: LayerKind,
    /// Its name.
    pub(crate) file: String,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerKind {
    /// The guest's bytes as they are.
    Plain,
    /// A Parallels image.
    Expandable,
}

/// An image of a part, as the descriptor has it.
struct Listed {
    guid: String,
    layer: Layer,
}

impl Descriptor {
    /// Reads a descriptor.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Self> {
        let len = disk.len()?;
        if len > MAX_LEN {
            return Err(Error::corrupt("The disk descriptor is too long"));
        }
        let mut bytes = vec![0; len as usize];
        disk.read_padded(0, &mut bytes)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Error::corrupt("The disk descriptor is not UTF-8"))?;
        // Who writes into the file of a block device leaves zeroes behind.
        Self::parse(text.trim_start_matches('\u{feff}').trim_end_matches('\0'))
    }

    fn parse(text: &str) -> Result<Self> {
        let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| Error::corrupt(format!("The disk descriptor is not sound: {error}")))?;
        let root = document.root_element();
        if root.tag_name().name() != "Parallels_disk_image" {
            return Err(Error::invalid("Image is not a Parallels disk descriptor"));
        }
        let parameters = child(root, "Disk_Parameters")?;
        refuse_features(parameters)?;
        let size = sectors(parameters, "Disk_size")?;
        let order = Order::of(root)?;
        let storages = children(child(root, "StorageData")?, "Storage");
        let mut storages = storages.map(|node| order.storage(node)).collect::<Result<Vec<_>>>()?;
        storages.sort_by_key(|storage| storage.range.start);
        let mut end = 0;
        for Storage { range, .. } in &storages {
            if range.start < end || range.end < range.start || range.end > size {
                return Err(Error::corrupt("The parts of the disk do not fit together"));
            }
            end = range.end;
        }
        Ok(Self { size, storages })
    }
}

/// Which image stands on which.
struct Order {
    top: String,
    /// Images and their parents.
    parents: Vec<(String, String)>,
}

impl Order {
    fn of(root: Node<'_, '_>) -> Result<Self> {
        let Some(snapshots) = children(root, "Snapshots").next() else {
            return Ok(Self { top: TOP.to_owned(), parents: Vec::new() });
        };
        let top = children(snapshots, "TopGUID").next().map_or_else(|| TOP.to_owned(), guid);
        let shot = |node| Ok((guid(child(node, "GUID")?), guid(child(node, "ParentGUID")?)));
        let parents = children(snapshots, "Shot").map(shot).collect::<Result<_>>()?;
        Ok(Self { top, parents })
    }

    /// The image that one stands on.
    fn parent(&self, guid: &str) -> Option<&str> {
        let (_, parent) = self.parents.iter().find(|(child, _)| child == guid)?;
        Some(parent.as_str()).filter(|parent| *parent != NOBODY)
    }

    fn storage(&self, node: Node<'_, '_>) -> Result<Storage> {
        let range = sectors(node, "Start")?..sectors(node, "End")?;
        let images = children(node, "Image").map(listed).collect::<Result<Vec<_>>>()?;
        let mut layers: Vec<Layer> = Vec::new();
        // Where no snapshot was ever taken, the only image may have any name.
        let mut next = match images.as_slice() {
            [only] => Some(only.guid.as_str()),
            _ => Some(self.top.as_str()),
        };
        while let Some(guid) = next {
            let image = images.iter().find(|image| image.guid == guid);
            let image = image.ok_or_else(|| {
                Error::corrupt(format!("The disk descriptor has no image {guid} for a part"))
            })?;
            if layers.len() >= images.len() {
                return Err(Error::corrupt("The disk's snapshots stand on each other"));
            }
            layers.push(image.layer.clone());
            next = self.parent(guid);
            if image.layer.kind == LayerKind::Plain && next.is_some() {
                return Err(Error::corrupt("A plain image stands on another one"));
            }
        }
        Ok(Storage { range, layers })
    }
}

fn listed(node: Node<'_, '_>) -> Result<Listed> {
    let kind = match text(child(node, "Type")?) {
        "Plain" => LayerKind::Plain,
        "Compressed" => LayerKind::Expandable,
        other => return Err(Error::unsupported(format!("Images of type '{other}' are not supported"))),
    };
    let file = text(child(node, "File")?).to_owned();
    Ok(Listed { guid: guid(child(node, "GUID")?), layer: Layer { kind, file } })
}

/// Refuses what is laid out in another way.
fn refuse_features(parameters: Node<'_, '_>) -> Result<()> {
    if children(parameters, "Padding").next().is_some_and(|padding| text(padding) != "0") {
        return Err(Error::unsupported("Disks with padding are not supported"));
    }
    let engine = children(parameters, "Encryption").next().and_then(|it| children(it, "Engine").next());
    if engine.is_some_and(|engine| guid(engine) != NOBODY) {
        return Err(Error::unsupported("Encrypted disks are not supported"));
    }
    Ok(())
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn child<'a>(node: Node<'a, 'a>, name: &'static str) -> Result<Node<'a, 'a>> {
    children(node, name).next().ok_or_else(|| {
        Error::corrupt(format!("The disk descriptor lacks '{name}' in '{}'", node.tag_name().name()))
    })
}

fn text<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or("").trim()
}

fn guid(node: Node<'_, '_>) -> String {
    text(node).to_ascii_lowercase()
}

/// A number of sectors, in bytes.
fn sectors(node: Node<'_, '_>, name: &'static str) -> Result<u64> {
    let count: Option<u64> = text(child(node, name)?).parse().ok();
    let bytes = count.and_then(|count| count.checked_mul(SECTOR)).filter(|&bytes| bytes <= MAX_DISK_SIZE);
    bytes.ok_or_else(|| Error::corrupt(format!("The disk descriptor's '{name}' is no number of sectors")))
}

#[cfg(test)]
#[path = "descriptor_tests.rs"]
mod tests;
