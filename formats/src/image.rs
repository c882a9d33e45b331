//! An opened image: a driver over its files, and the images behind it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use journal::Disk;
use serde_json::{Map, Value};

use crate::options::Scalar;
use crate::shown::shown;
use crate::{Driver, Format, blkdebug, json};

/// An opened image and its backing chain.
#[derive(Debug)]
pub struct Image {
    filename: String,
    name: NodeName,
    driver_name: &'static str,
    driver: Box<dyn Driver>,
    children: Vec<Child>,
    backing_name: Option<OsString>,
    backing: Option<Arc<Image>>,
    probed: bool,
}

/// What an image consists of, as [`crate::open`] has put it together.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: NodeName,
    pub(crate) driver_name: &'static str,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) children: Vec<Child>,
    pub(crate) backing_name: Option<OsString>,
    pub(crate) backing: Option<Arc<Image>>,
    pub(crate) probed: bool,
}

impl Image {
    /// An image over a driver, with what stands behind it.
    pub fn new(filename: String, driver: Box<dyn Driver>, backing: Option<Arc<Image>>) -> Self {
        let name = NodeName::file(driver.format().name(), OsStr::new(&filename));
        let driver_name = driver.format().name();
        let (children, backing_name) = (Vec::new(), None);
        Self::from_parts(Parts { name, driver_name, driver, children, backing_name, backing, probed: false })
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { name, driver_name, driver, children, backing_name, backing, probed } = parts;
        let filename = shown(&name.display());
        Self { filename, name, driver_name, driver, children, backing_name, backing, probed }
    }

    /// The image as a person is told of it.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Its name, byte for byte.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// What its driver is called; for a file that was opened without a format, the protocol.
    pub fn driver_name(&self) -> &'static str {
        self.driver_name
    }

    /// The driver.
    pub fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.driver.format()
    }

    /// Whether the format was found by looking at the file.
    pub fn is_probed(&self) -> bool {
        self.probed
    }

    /// Size of the virtual disk in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.driver.virtual_size()
    }

    /// The files and images that hold it, without the one behind it.
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// The image behind this one, if it has one and it was opened.
    pub fn backing(&self) -> Option<&Arc<Image>> {
        self.backing.as_ref()
    }

    /// The name of the image behind this one, relative to nothing, whether it was opened or not.
    pub fn full_backing_name(&self) -> Option<&OsStr> {
        self.backing_name.as_deref()
    }

    /// The name of what holds these bytes, one of the children, or of theirs.
    pub fn name_of(&self, disk: &Arc<dyn Disk>) -> &NodeName {
        self.find_name(disk).unwrap_or(&self.name)
    }

    fn find_name(&self, disk: &Arc<dyn Disk>) -> Option<&NodeName> {
        let own = self.children.iter().find(|child| Arc::ptr_eq(&child.disk, disk));
        let own = own.map(|child| child.below.name());
        own.or_else(|| {
            self.children.iter().find_map(|child| match &child.below {
                Below::Image(image) => image.find_name(disk),
                Below::File(_) => None,
            })
        })
    }

    /// The file that this image lies in.
    pub(crate) fn primary_file(&self) -> Option<&FileNode> {
        primary_file(&self.children)
    }
}

fn primary_file(children: &[Child]) -> Option<&FileNode> {
    match children.first().map(|child| &child.below)? {
        Below::File(file) => Some(file),
        Below::Image(image) => image.primary_file(),
    }
}

/// The name of the file that an image over these children lies in.
pub(crate) fn primary_name(children: &[Child]) -> Option<&OsStr> {
    primary_file(children)?.name.exact()
}

/// A file or an image that holds (part of) an image.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its role: `file`, `data-file`, `header`, `extent`, `extents.0`.
    pub role: Cow<'static, str>,
    /// What it is.
    pub below: Below,
    /// Its bytes: of a file as they are, of an image as a guest sees them.
    pub disk: Arc<dyn Disk>,
}

impl Child {
    /// Whether it has an extent of the image.
    pub fn is_extent(&self) -> bool {
        self.role.starts_with("extent")
    }
}

/// What holds an image.
#[derive(Debug, Clone)]
pub enum Below {
    /// A file.
    File(FileNode),
    /// Another image: its virtual disk is the file.
    Image(Arc<Image>),
}

impl Below {
    /// Its name.
    pub fn name(&self) -> &NodeName {
        match self {
            Self::File(file) => &file.name,
            Self::Image(image) => &image.name,
        }
    }

    /// Whether its name alone tells how it is reached.
    fn is_protocol(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Image(image) => image.driver_name == blkdebug::DRIVER,
        }
    }
}

/// An opened file.
#[derive(Debug, Clone)]
pub struct FileNode {
    /// `file`, `host_device`, `null-co` or `null-aio`.
    pub driver: &'static str,
    /// Its name.
    pub name: NodeName,
    /// Its bytes.
    pub disk: Arc<dyn Disk>,
}

/// How a node is named: by a file name if opening that gives the same tree, else by its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    exact: Option<OsString>,
    options: Map<String, Value>,
}

impl NodeName {
    /// The name of a file.
    pub(crate) fn file(driver: &str, filename: &OsStr) -> Self {
        let mut options = Map::new();
        options.insert("driver".to_owned(), driver.into());
        options.insert("filename".to_owned(), json::text(filename.as_bytes()).into());
        Self { exact: Some(filename.to_owned()), options }
    }

    /// The name of a disk that is in no file; without options it has one that is typed.
    pub(crate) fn without_file(driver: &str, own: Vec<(&'static str, Value)>) -> Self {
        let exact = own.is_empty().then(|| format!("{driver}://").into());
        let mut options = Map::new();
        options.insert("driver".to_owned(), driver.into());
        options.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Self { exact, options }
    }

    /// The name of a filter: a file's name alone does not tell of it.
    pub(crate) fn of_filter(driver: &str, own: Vec<(&'static str, Value)>, children: &[Child]) -> Self {
        Self { exact: None, ..Self::over(driver, own, children) }
    }

    /// The name of a `blkdebug` node: with a file of rules only, or with none, there is one that is typed.
    pub(crate) fn of_blkdebug(config: Option<&OsStr>, own: &[(String, Scalar)], child: &Child) -> Self {
        let mut options = Map::new();
        options.extend(own.iter().map(|(key, value)| (key.clone(), value.into())));
        options.insert("driver".to_owned(), blkdebug::DRIVER.into());
        options.insert(child.role.clone().into_owned(), Value::Object(child.below.name().options.clone()));
        let is_plain = own.iter().all(|(key, _)| key == "config");
        let exact = child.below.name().exact().filter(|_| is_plain).map(|image| {
            let mut name = OsString::from(blkdebug::DRIVER);
            name.push(":");
            name.push(config.unwrap_or_default());
            name.push(":");
            name.push(image);
            name
        });
        Self { exact, options }
    }

    /// The name of an image over a list of others.
    pub(crate) fn of_list(driver: &str, own: Vec<(&'static str, Value)>, children: &[Child]) -> Self {
        let mut options = Map::new();
        options.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        options.insert("driver".to_owned(), driver.into());
        let names = children.iter().map(|child| Value::Object(child.below.name().options.clone()));
        options.insert("children".to_owned(), names.collect());
        Self { exact: None, options }
    }

    /// The name of an image with options of its own over its files.
    pub(crate) fn over(driver: &str, own: Vec<(&'static str, Value)>, children: &[Child]) -> Self {
        let mut options = Map::new();
        let plain = own.is_empty();
        options.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
        options.insert("driver".to_owned(), driver.into());
        // Extents are always those that the image names.
        for child in children.iter().filter(|child| !child.is_extent()) {
            options
                .insert(child.role.clone().into_owned(), Value::Object(child.below.name().options.clone()));
        }
        let exact = match children.first().map(|child| &child.below) {
            Some(below) if plain && below.is_protocol() => below.name().exact.clone(),
            _ => None,
        };
        Self { exact, options }
    }

    /// The file name, if there is one.
    pub fn exact(&self) -> Option<&OsStr> {
        self.exact.as_deref()
    }

    /// The file name, or the options as `json:{…}`.
    pub fn display(&self) -> OsString {
        match &self.exact {
            Some(name) => name.clone(),
            None => format!("json:{}", json::compact(&Value::Object(self.options.clone()))).into(),
        }
    }
}
