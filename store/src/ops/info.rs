//! `info`: what an image is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use formats::options::filter::Filter;
use formats::shown::shown;
use formats::{Below, Child, Error, FileNode, Image, OpenContext, OpenFlags, Result, SnapshotInfo, raw};

use super::snapshot;
use crate::ImageName;

/// Whoever stands on this driver is not told what the files take.
const DEBUGGED: &str = "blkdebug";

/// What there is to tell of an image or of a file under it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// Its name: a file name, or `json:{…}`.
    pub filename: OsString,
    /// The format, or how the file is reached.
    pub format: &'static str,
    /// Size of the virtual disk in bytes; of a file, its length in whole sectors.
    pub virtual_size: u64,
    /// Bytes allocated on the filesystem, if that can be told.
    pub actual_size: Option<u64>,
    /// Cluster size in bytes, for formats that have one.
    pub cluster_size: Option<u64>,
    /// Whether guest data is encrypted.
    pub encrypted: bool,
    /// Whether the image is all compressed.
    pub compressed: bool,
    /// Whether it was not closed cleanly; `None` where the format cannot tell.
    pub dirty: Option<bool>,
    /// The image behind it.
    pub backing: Option<BackingInfo>,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotInfo>,
    /// What only its format has, as `{"type": …, "data": …}`.
    pub specific: Option<serde_json::Value>,
    /// The files and images that hold it.
    pub children: Vec<ChildInfo>,
}

/// The image behind another, as that one names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingInfo {
    /// The name as it stands in the image.
    pub filename: OsString,
    /// The same, relative to nothing.
    pub full_filename: Option<OsString>,
    /// The format, if the image says it.
    pub format: Option<String>,
}

/// A file or an image that holds another.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildInfo {
    /// Its role.
    pub role: Cow<'static, str>,
    /// What it is.
    pub node: NodeInfo,
}

impl NodeInfo {
    /// Whether this is a file, not an image in a file.
    pub fn is_file(&self) -> bool {
        is_file(self.format) || is_made_up(self.format)
    }
}

fn is_file(driver: &str) -> bool {
    matches!(driver, "file" | "host_device")
}

/// Whether it is a disk that is in no file, of which there is nothing more to tell.
fn is_made_up(driver: &str) -> bool {
    matches!(driver, "null-co" | "null-aio" | "vvfat")
}

fn is_filter(driver: &str) -> bool {
    driver == DEBUGGED || Filter::from_name(driver).is_some()
}

/// Tells of one image; what is behind it need not exist.
pub fn info(context: &OpenContext<'_>, name: &ImageName, flags: OpenFlags) -> Result<NodeInfo> {
    let image = name.open(context, metadata_only(flags))?;
    image_info(&image)
}

/// Tells of an image and of everything behind it, the top first.
pub fn chain(context: &OpenContext<'_>, name: &ImageName, flags: OpenFlags) -> Result<Vec<NodeInfo>> {
    let mut names = HashSet::new();
    let mut next = Some(name.clone());
    let mut chain = Vec::new();
    while let Some(name) = next {
        if !names.insert(name.text().clone()) {
            let shown = shown(name.text());
            return Err(Error::corrupt(format!("Backing file '{shown}' creates an infinite loop.")));
        }
        let node = info(context, &name, flags)?;
        next = node.backing.as_ref().and_then(|backing| {
            let name = backing.full_filename.clone()?;
            Some(ImageName::File { name, format: backing.format.clone() })
        });
        chain.push(node);
    }
    Ok(chain)
}

fn metadata_only(flags: OpenFlags) -> OpenFlags {
    OpenFlags { backing: false, data: false, ..flags }
}

fn image_info(image: &Image) -> Result<NodeInfo> {
    let details = image.driver().details()?;
    let is_bare_file = image.children().is_empty() && is_file(image.driver_name());
    let is_on_nothing = is_made_up(lowest_driver(image)) || image.driver_name() == "quorum";
    // What there are many of comes first, the last one before the others.
    let is_numbered = |child: &&Child| child.role.contains('.');
    let numbered = image.children().iter().rev().filter(is_numbered);
    let children = numbered
        .chain(image.children().iter().filter(|child| !is_numbered(child)))
        .map(|child| Ok(ChildInfo { role: child.role.clone(), node: below_info(&child.below)? }))
        .collect::<Result<Vec<_>>>()?;
    let (actual_size, cluster_size) = (actual_size(image, &children), cluster_size_below(image, &children));
    // Of a filter that is its child's.
    let behind = image.backing().filter(|_| !is_filter(image.driver_name()));
    let behind = behind.map(|behind| image_info(behind)).transpose()?;
    let behind = behind.map(|node| ChildInfo { role: "backing".into(), node });
    Ok(NodeInfo {
        filename: image.name().display(),
        format: image.driver_name(),
        virtual_size: image.virtual_size(),
        actual_size,
        cluster_size: details.cluster_size.or(cluster_size),
        encrypted: details.encrypted,
        compressed: details.compressed,
        dirty: details.dirty.filter(|_| !is_on_nothing),
        backing: backing_info(image),
        snapshots: snapshot::list(image).to_vec(),
        specific: details.specific.or_else(|| is_bare_file.then(file_specific)),
        children: behind.into_iter().chain(children).collect(),
    })
}

/// The driver that a raw image passes questions on to.
fn lowest_driver(image: &Image) -> &'static str {
    match image.children().first().map(|child| &child.below) {
        Some(Below::File(file)) if image.format() == formats::Format::Raw => file.driver,
        Some(Below::Image(below)) if below.driver_name() == "vvfat" => below.driver_name(),
        Some(Below::Image(below)) if below.driver_name() == DEBUGGED => lowest_driver(below),
        _ => image.driver_name(),
    }
}

fn below_info(below: &Below) -> Result<NodeInfo> {
    match below {
        Below::Image(image) => image_info(image),
        Below::File(file) => file_info(file),
    }
}

fn file_info(file: &FileNode) -> Result<NodeInfo> {
    Ok(NodeInfo {
        filename: file.name.display(),
        format: file.driver,
        virtual_size: raw::sectors(file.disk.len()?),
        actual_size: file.disk.status().ok().map(|status| status.allocated),
        cluster_size: None,
        encrypted: false,
        compressed: false,
        dirty: is_file(file.driver).then_some(false),
        backing: None,
        snapshots: Vec::new(),
        specific: is_file(file.driver).then(file_specific),
        children: Vec::new(),
    })
}

/// What is special of a file: nothing.
fn file_specific() -> serde_json::Value {
    serde_json::json!({ "type": "file", "data": {} })
}

/// What the files take on the filesystem, as far as they have been opened.
fn actual_size(image: &Image, children: &[ChildInfo]) -> Option<u64> {
    if image.driver_name() == DEBUGGED {
        return None;
    }
    if children.is_empty() {
        let files = image.driver().files();
        return files.first().and_then(|file| file.disk.status().ok()).map(|status| status.allocated);
    }
    children.iter().map(|child| child.node.actual_size).sum()
}

/// Raw images have the clusters of what they lie in.
fn cluster_size_below(image: &Image, children: &[ChildInfo]) -> Option<u64> {
    let child = children
        .first()
        .filter(|child| image.format() == formats::Format::Raw && matches!(&*child.role, "file" | "image"))?;
    child.node.cluster_size
}

fn backing_info(image: &Image) -> Option<BackingInfo> {
    let backing = image.driver().backing()?;
    Some(BackingInfo {
        filename: OsStr::from_bytes(&backing.name).to_owned(),
        full_filename: image.full_backing_name().map(OsStr::to_owned),
        format: backing.format.clone(),
    })
}
