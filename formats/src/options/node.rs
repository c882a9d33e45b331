//! The typed tree.

use std::ffi::{OsStr, OsString};

use super::blkdebug::{self, BlkdebugNode};
use super::dict::{Dict, Scalar};
use super::driver::{DriverName, FileOptions, FormatOptions, GenericOptions, not_supported};
use super::filter::{Filter, FilterNode};
use super::json::{self, JsonError};
use super::name;
use super::null::NullNode;
use super::quorum::{self, QuorumNode, Voting};
use super::vvfat::VvfatNode;
use crate::shown::shown;
use crate::{Error, Format, Result};

/// A node: what is to be opened, and how.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeOptions {
    /// An image in some format.
    Format(FormatNode),
    /// A file.
    Protocol(ProtocolNode),
    /// A disk that keeps nothing.
    Null(NullNode),
    /// A directory as a disk.
    Vvfat(VvfatNode),
    /// A file or an image whose requests fail as rules say.
    Blkdebug(BlkdebugNode),
    /// Several images that are to be the same.
    Quorum(QuorumNode),
    /// A filter over another node.
    Filter(FilterNode),
}

impl NodeOptions {
    /// Whether it, or what holds it, is to be read only.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Format(node) => node.image.generic.read_only == Some(true) || node.file.is_read_only(),
            Self::Protocol(node) => node.generic.read_only == Some(true),
            Self::Null(node) => node.generic.read_only == Some(true),
            Self::Vvfat(node) => node.generic.read_only == Some(true),
            Self::Blkdebug(node) => node.generic.read_only == Some(true) || node.image.is_read_only(),
            Self::Quorum(node) => {
                node.generic.read_only == Some(true) || node.children.iter().any(Self::is_read_only)
            }
            Self::Filter(node) => node.generic.read_only == Some(true) || node.file.is_read_only(),
        }
    }
}

/// An image in some format.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatNode {
    /// The file that holds it.
    pub file: Box<NodeOptions>,
    /// The image in it.
    pub image: ImageOptions,
}

/// How an image in a file is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageOptions {
    /// What the format's driver is told.
    pub format: FormatOptions,
    /// What every node is told.
    pub generic: GenericOptions,
    /// An external data file, where it is not the one that the header names.
    pub data_file: Dict,
    /// What is behind it.
    pub backing: Backing,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

/// What is behind an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Backing {
    /// Nothing, whatever its header says.
    None,
    /// What its header says, changed by these options.
    Header(Dict),
}

/// A file.
#[derive(Debug, Clone, PartialEq)]
pub struct ProtocolNode {
    /// The driver; if not said, the file's kind decides.
    pub driver: Option<DriverName>,
    /// What it is told.
    pub options: FileOptions,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

/// The place of a node in its parent, which decides what is meant where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// An image of its own, or a backing image: a format, probed.
    Image,
    /// The file behind an image: a protocol.
    File,
}

/// A tree, and what the reader should be warned of.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedNode {
    /// The tree.
    pub node: NodeOptions,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl ParsedNode {
    /// The tree for a file name and options; each may say what the other does not.
    pub fn new(filename: Option<&OsStr>, options: Dict, slot: Slot) -> Result<Self> {
        let mut said = Said::default();
        let node = parse(filename, options, slot, &mut said)?;
        Ok(Self { node, warnings: said.warnings })
    }
}

/// What was met on the way through a tree.
#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    node_names: Vec<String>,
    /// How many names were met that name another node.
    names_of_names: usize,
}

/// A name may go on with another one so many times.
const MAX_NAMES_OF_NAMES: usize = 256;

impl Said {
    /// Takes a node's generic options; its name must be its own.
    fn generic(&mut self, options: &mut Dict) -> Result<GenericOptions> {
        let generic = GenericOptions::take(options)?;
        if let Some(name) = &generic.node_name {
            if self.node_names.contains(name) {
                return Err(Error::invalid(format!("Duplicate nodes with node-name='{name}'")));
            }
            self.node_names.push(name.clone());
        }
        Ok(generic)
    }
}

fn parse(filename: Option<&OsStr>, mut options: Dict, slot: Slot, said: &mut Said) -> Result<NodeOptions> {
    let filename = match filename {
        Some(filename) => match name::json(filename) {
            Some(text) => {
                options.join(parse_json(text)?);
                None
            }
            None => Some(filename),
        },
        None => None,
    };
    // A driver that is no text is as good as none.
    let driver = match options.take("driver") {
        Some(Scalar::Text(name)) => Some(DriverName::from_name(&shown(&name))?),
        _ => None,
    };
    match (driver, slot) {
        (Some(DriverName::Unsupported(driver)), _) => Err(not_supported(driver)),
        (Some(DriverName::Format(format)), _) => parse_format(Some(format), filename, options, said),
        (Some(DriverName::Filter(filter)), _) => parse_filter(filter, filename, options, said),
        (Some(DriverName::Quorum), _) => parse_quorum(options, said),
        (None, Slot::Image) => parse_format(None, filename, options, said),
        (driver, _) => parse_protocol(driver, filename, options, said),
    }
}

fn parse_json(text: &[u8]) -> Result<Dict> {
    json::parse_options(text).map_err(|error| match error {
        JsonError::Syntax(complaint) => Error::invalid(complaint).context("Could not parse the JSON options"),
        JsonError::NotAnObject => Error::invalid("Invalid JSON object given"),
    })
}

fn parse_protocol(
    mut driver: Option<DriverName>,
    filename: Option<&OsStr>,
    mut options: Dict,
    said: &mut Said,
) -> Result<NodeOptions> {
    match driver.or_else(|| DriverName::from_protocol(name::protocol(filename?)?).ok()) {
        Some(DriverName::Null(null)) => {
            let generic = said.generic(&mut options)?;
            return NullNode::take(null, filename, generic, options).map(NodeOptions::Null);
        }
        Some(DriverName::Blkdebug) => return parse_blkdebug(filename, options, said),
        Some(DriverName::Vvfat) => {
            let generic = said.generic(&mut options)?;
            return VvfatNode::take(filename, generic, options).map(NodeOptions::Vvfat);
        }
        _ => {}
    }
    if let Some(filename) = filename {
        if options.has("filename") {
            return Err(Error::invalid("Can't specify 'file' and 'filename' options at the same time"));
        }
        let (named, plain) = split_protocol(driver, filename)?;
        options.put("filename", Scalar::Text(plain));
        driver = driver.or(named);
    }
    if driver.is_none() && options.get("filename").and_then(Scalar::as_text).is_none() {
        return Err(Error::invalid("Must specify either driver or file"));
    }
    let generic = said.generic(&mut options)?;
    let file = FileOptions::take(&mut options, generic.direct == Some(true))?;
    Ok(NodeOptions::Protocol(ProtocolNode { driver, options: file, generic, unknown: options }))
}

/// The driver that a file name names, and the name without that. An explicit driver knows only
/// its own protocol, and `file:` leaves open whether the file is a device.
fn split_protocol(driver: Option<DriverName>, filename: &OsStr) -> Result<(Option<DriverName>, OsString)> {
    let Some(protocol) = name::protocol(filename) else { return Ok((None, filename.to_owned())) };
    match (driver, DriverName::from_protocol(protocol)) {
        (Some(driver), Ok(named)) if driver == named => Ok((Some(named), name::without_protocol(filename))),
        (Some(_), _) => Ok((None, filename.to_owned())),
        (None, Ok(DriverName::Unsupported(driver))) => Err(not_supported(driver)),
        (None, Ok(DriverName::File)) => Ok((None, name::without_protocol(filename))),
        (None, Ok(named)) => Ok((Some(named), name::without_protocol(filename))),
        (None, Err(error)) => Err(error),
    }
}

fn parse_format(
    format: Option<Format>,
    filename: Option<&OsStr>,
    mut options: Dict,
    said: &mut Said,
) -> Result<NodeOptions> {
    let backing = take_backing(&mut options, said);
    let named = if format.is_some() { Named::Yes } else { Named::No };
    let file = parse_child("file", named, filename, &mut options, said)?;
    let data_file = take_child(&mut options, "data-file");
    let generic = said.generic(&mut options)?;
    let format = match format {
        Some(format) => FormatOptions::take(format, &mut options)?,
        None => FormatOptions::Probe,
    };
    let image = ImageOptions { format, generic, data_file, backing, unknown: options };
    Ok(NodeOptions::Format(FormatNode { file: Box::new(file), image }))
}

fn parse_filter(
    filter: Filter,
    filename: Option<&OsStr>,
    mut options: Dict,
    said: &mut Said,
) -> Result<NodeOptions> {
    let file = Box::new(parse_child("file", Named::Yes, filename, &mut options, said)?);
    let generic = said.generic(&mut options)?;
    let spelled = options.spelled(&["throttle-group"]);
    let group = filter.take(&mut options)?;
    Ok(NodeOptions::Filter(FilterNode { filter, group, spelled, file, generic, unknown: options }))
}

fn parse_blkdebug(filename: Option<&OsStr>, mut options: Dict, said: &mut Said) -> Result<NodeOptions> {
    if let Some(filename) = filename {
        if options.has("filename") {
            return Err(Error::invalid("Can't specify 'file' and 'filename' options at the same time"));
        }
        said.names_of_names += 1;
        if said.names_of_names > MAX_NAMES_OF_NAMES {
            return Err(Error::invalid("Too many nodes are one over another"));
        }
        blkdebug::put_name(filename, &mut options)?;
    }
    let generic = said.generic(&mut options)?;
    let own = blkdebug::Own::take(&mut options)?;
    let image = parse_child("image", Named::Yes, own.filename.as_deref(), &mut options, said)?;
    Ok(NodeOptions::Blkdebug(own.over(image, generic, options)))
}

fn parse_quorum(mut options: Dict, said: &mut Said) -> Result<NodeOptions> {
    let generic = said.generic(&mut options)?;
    let children = quorum::take_children(&mut options)?;
    let spelled = options.spelled(quorum::SPELLED);
    let voting = Voting::take(&mut options, children.len())?;
    let child = |mut child: Dict| {
        refuse_reference(&mut child)?;
        parse(None, child, Slot::Image, said)
    };
    let children = children.into_iter().map(child).collect::<Result<_>>()?;
    Ok(NodeOptions::Quorum(QuorumNode { children, voting, spelled, generic, unknown: options }))
}

impl ImageOptions {
    /// The same image, now that its format is known.
    pub fn with_format(mut self, format: Format) -> Result<Self> {
        self.format = FormatOptions::take(format, &mut self.unknown)?;
        Ok(self)
    }
}

/// Whether a node's driver was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

/// The node that another one is over, in that role.
fn parse_child(
    role: &str,
    driver: Named,
    filename: Option<&OsStr>,
    options: &mut Dict,
    said: &mut Said,
) -> Result<NodeOptions> {
    let mut below = options.take_subtree(role);
    let reference = options.take_text(role);
    match (reference, filename.is_some() || !below.is_empty()) {
        (Some(_), true) => Err(ambiguous_reference()),
        (Some(reference), false) => Err(no_such_node(&reference)),
        (None, false) => Err(Error::invalid(match driver {
            Named::Yes => format!("A block device must be specified for \"{role}\""),
            Named::No => "Must specify either driver or file".to_owned(),
        })),
        (None, true) => {
            if let (Some(direct), false) = (options.get("cache.direct"), below.has("cache.direct")) {
                below.put("cache.direct", direct.clone());
            }
            parse(filename, below, Slot::File, said)
        }
    }
}

/// Nodes cannot be named: there is only ever the one tree.
fn no_such_node(reference: &OsStr) -> Error {
    let reference = shown(reference);
    Error::new(
        crate::ErrorKind::NotFound,
        format!("Cannot find device='{reference}' nor node-name='{reference}'"),
    )
}

/// The refusal of a node's name where the node is told otherwise already.
pub(crate) fn ambiguous_reference() -> Error {
    Error::invalid("Cannot reference an existing block device with additional options or a new filename")
}

fn take_backing(options: &mut Dict, said: &mut Said) -> Backing {
    let none = match options.get("backing") {
        Some(Scalar::Null) => true,
        Some(Scalar::Text(name)) if name.is_empty() => {
            let warning = "Use of \"backing\": \"\" is deprecated; use \"backing\": null instead";
            said.warnings.push(warning.to_owned());
            true
        }
        _ => false,
    };
    if none {
        options.take("backing");
        return Backing::None;
    }
    Backing::Header(take_child(options, "backing"))
}

/// Options for a child that the header names; a reference stays as it is, under the empty key.
pub(super) fn take_child(options: &mut Dict, name: &str) -> Dict {
    let mut child = options.take_subtree(name);
    if let Some(reference) = options.take_text(name) {
        child.put("", Scalar::Text(reference));
    }
    child
}

/// Refuses options of a child that name a node, which there is none of.
pub(crate) fn refuse_reference(child: &mut Dict) -> Result<()> {
    match child.take_text("") {
        Some(_) if !child.is_empty() => Err(ambiguous_reference()),
        Some(reference) => Err(no_such_node(&reference)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
