//! Opening one image of a chain, and what is behind it.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use journal::{Access, Caching, Disk};
use serde_json::Value;

use super::claim::{Locking, Need};
use super::file::Opened;
use super::further::Further;
use super::tell;
use crate::error::ResultExt;
use crate::image::{Below, Child, NodeName, Parts, primary_name};
use crate::luks::Luks;
use crate::options::driver::not_supported;
use crate::options::node::refuse_reference;
use crate::options::{
    Backing, Dict, FormatNode, FormatOptions, GenericOptions, ImageOptions, LuksOptions, NodeOptions,
    ParsedNode, Qcow2Options, RawOptions, Scalar, Slot, name,
};
use crate::parallels::{Behind as BehindParallels, Parallels};
use crate::qcow::Qcow;
use crate::qcow2::Qcow2;
use crate::qcow2::header::Encryption;
use crate::qcow2::open::OpenRequest;
use crate::raw::Raw;
use crate::registry::{Registered, Source};
use crate::resizable::Resizable;
use crate::shown::{shown, shown_bytes};
use crate::vpc::Vpc;
use crate::{
    BackingReference, Driver, Error, Format, Image, ImplicitFile, OpenContext, OpenFlags, Result, notice,
    probe, registry, window,
};

/// How many images a chain may have. QEMU has no such limit: it ends when files or memory run out.
const MAX_CHAIN: usize = 512;

/// Opens one image of a chain.
#[derive(Clone, Copy)]
pub(super) struct Opener<'a> {
    pub(super) context: &'a OpenContext<'a>,
    pub(super) flags: OpenFlags,
    /// The image that this one stands behind.
    pub(super) above: Option<&'a Above<'a>>,
}

/// An image whose backing image is being opened, and those above it.
#[derive(Debug)]
pub(super) struct Above<'a> {
    identity: Identity,
    depth: usize,
    above: Option<&'a Above<'a>>,
}

/// A file, and the format in which it is read: the same twice in a chain is a loop.
type Identity = ((u64, u64), Format);

impl Above<'_> {
    fn contains(&self, identity: Identity) -> bool {
        std::iter::successors(Some(self), |image| image.above).any(|image| image.identity == identity)
    }
}

/// What a raw image is of its file.
struct Part {
    disk: Arc<dyn Disk>,
    under_raw: Option<Arc<dyn Disk>>,
    locking: Locking,
}

impl Part {
    fn of(raw: &RawOptions, file: &Opened) -> Self {
        let name = PathBuf::from(file.below.name().display());
        let part = |disk: &Arc<dyn Disk>| window::part(disk, raw.offset, raw.size, &name);
        let under_raw = file.under_raw.as_ref().map(part);
        Self { disk: part(&file.disk), under_raw, locking: file.locking }
    }

    fn into_opened(self, image: Image) -> Opened {
        let Self { disk, under_raw, locking } = self;
        Opened { below: Below::Image(Arc::new(image)), disk, under_raw, locking }
    }
}

/// A driver over its opened files.
struct Driven {
    driver: Box<dyn Driver>,
    children: Vec<Child>,
    identity: Option<Identity>,
}

/// Whoever writes to a raw image can make it look like another format to the next one who looks.
fn warn_of_probing(filename: &str) {
    notice::tell(&format!(
        "WARNING: Image format was not specified for '{filename}' and probing guessed raw.\n         \
         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be \
         restricted.\n         Specify the 'raw' format explicitly to remove the restrictions."
    ));
}

impl Opener<'_> {
    pub(super) fn open(&self, node: NodeOptions, need: Need) -> Result<Image> {
        match node {
            NodeOptions::Protocol(node) => self.open_bare_file(&node, need),
            NodeOptions::Null(node) => self.open_bare_null(&node),
            NodeOptions::Vvfat(node) => self.open_vvfat(&node),
            NodeOptions::Blkdebug(node) => self.open_bare_blkdebug(node, need),
            NodeOptions::Quorum(node) => self.open_quorum(node, need),
            NodeOptions::Filter(node) => self.open_filter(node, need),
            NodeOptions::Format(node) => self.open_format(node, need),
        }
    }

    pub(super) fn open_format(&self, node: FormatNode, need: Need) -> Result<Image> {
        self.open_over(node, need, None)
    }

    /// An image under another one. A raw image is (a part of) its file, which is written as if it were there alone.
    pub(super) fn open_format_below(&self, node: FormatNode, need: Need) -> Result<Opened> {
        let mut part = None;
        let image = self.open_over(node, need, Some(&mut part))?;
        Ok(match part {
            None => Opened::of_image(image),
            Some(part) => part.into_opened(image),
        })
    }

    fn open_over(&self, node: FormatNode, need: Need, part: Option<&mut Option<Part>>) -> Result<Image> {
        let opener = self.with_switches(&node.image.generic)?;
        let file = opener.open_below(*node.file, need)?;
        let probed = node.image.format == FormatOptions::Probe;
        self.context.gate.admit(&*file.disk, node.image.format.format())?;
        let options = if probed { opener.probe(node.image, &file)? } else { node.image };
        need.of_file(&options.format).claim(&*file.disk, file.locking)?;
        if let (FormatOptions::Raw(raw), Some(part)) = (&options.format, part) {
            *part = Some(Part::of(raw, &file));
        }
        let mut options = options;
        let driven = opener.open_driver(&mut options, file, need)?;
        opener.finish(options, driven, need, probed)
    }

    /// The same opener under a node's own switches.
    pub(super) fn with_switches(mut self, generic: &GenericOptions) -> Result<Self> {
        // What is said of an image for its use as a backing image does not bind who merges into it.
        if generic.read_only == Some(true) && self.above.is_none() && self.flags.access == Access::Write {
            return Err(Error::invalid("Block node is read-only"));
        }
        if let Some(direct) = generic.direct {
            self.flags.cache.caching = if direct { Caching::Direct } else { Caching::Cached };
        }
        self.flags.force_share |= generic.force_share == Some(true);
        if self.flags.force_share && self.flags.access == Access::Write {
            return Err(Error::invalid("force-share=on can only be used with read-only images"));
        }
        Ok(self)
    }

    fn probe(&self, options: ImageOptions, file: &Opened) -> Result<ImageOptions> {
        let filename = file.below.name().exact().unwrap_or_default();
        let format = probe::probe(&*file.disk, filename)
            .context(|| "Could not read image for determining its format".to_owned())?;
        tracing::debug!(file = %filename.to_string_lossy(), %format, "Looked for a format.");
        if format == Format::Raw && self.flags.access == Access::Write && self.above.is_none() {
            warn_of_probing(&shown(filename));
        }
        options.with_format(format)
    }

    fn open_driver(&self, options: &mut ImageOptions, file: Opened, need: Need) -> Result<Driven> {
        let disk = Arc::clone(&file.disk);
        let under_raw = file.under_raw.clone();
        let name = shown(&file.below.name().display());
        let identity = disk.status().ok().map(|status| status.identity);
        let children = vec![file.into_child("file")];
        let mut driven = match &options.format {
            FormatOptions::Raw(raw) => {
                let driver = Box::new(Raw::open(under_raw.unwrap_or(disk), raw, self.flags.access)?);
                Driven { driver, children, identity: None }
            }
            FormatOptions::Qcow2(qcow2) => {
                let driven = self.open_qcow2(options, qcow2, disk, children, need)?;
                qcow2.check(&driven.0)?;
                Driven { driver: Box::new(driven.0), children: driven.1, identity: None }
            }
            FormatOptions::Qcow(qcow) => {
                let find = || qcow.encryption.passphrase(Encryption::Aes, self.context);
                let driver = Qcow::open(Source::alone(disk, &self.flags, &name), &find)?;
                qcow.encryption.check_image(driver.is_encrypted().then_some(Encryption::Aes))?;
                Driven { driver: Box::new(driver), children, identity: None }
            }
            FormatOptions::Luks(luks) => self.open_luks(luks, disk, children, need)?,
            FormatOptions::Vpc(vpc) => {
                let driver =
                    Box::new(Resizable::new(Vpc::open(Source::alone(disk, &self.flags, &name), vpc)?));
                Driven { driver, children, identity: None }
            }
            FormatOptions::Parallels(parallels) => {
                let source = Source::alone(disk, &self.flags, &name);
                let driver = Box::new(Resizable::new(Parallels::open(
                    source,
                    parallels,
                    behind_parallels(&options.backing),
                )?));
                Driven { driver, children, identity: None }
            }
            FormatOptions::PrlXml => {
                let mut children = children;
                let driver = Box::new(self.open_prl_xml(disk, &mut children, need)?);
                Driven { driver, children, identity: None }
            }
            FormatOptions::Plain(format) => {
                let registered = registry::find(*format).ok_or_else(|| not_supported(format.name()))?;
                self.open_registered(registered, disk, children, need, &mut options.unknown)?
            }
            FormatOptions::Unsupported(format) => return Err(not_supported(format.name())),
            FormatOptions::Probe => return Err(not_supported(Format::Raw.name())),
        };
        driven.identity = identity.map(|file| (file, driven.driver.format()));
        Ok(driven)
    }

    fn open_registered(
        &self,
        registered: &Registered,
        disk: Arc<dyn Disk>,
        children: Vec<Child>,
        need: Need,
        unknown: &mut Dict,
    ) -> Result<Driven> {
        let name = children.first().map(|child| shown(&child.below.name().display())).unwrap_or_default();
        let further = Further::new(*self, &children, need, std::mem::take(unknown));
        let source = Source { disk, flags: &self.flags, name: &name, further: &further };
        let driver = (registered.open)(source)?;
        let (opened, left) = further.into_parts();
        *unknown = left;
        Ok(Driven { driver, children: children.into_iter().chain(opened).collect(), identity: None })
    }

    fn open_qcow2(
        &self,
        options: &ImageOptions,
        qcow2: &Qcow2Options,
        disk: Arc<dyn Disk>,
        mut children: Vec<Child>,
        need: Need,
    ) -> Result<(Qcow2, Vec<Child>)> {
        let opened = RefCell::new(None);
        let open = |filename: Option<&OsStr>, options: Dict| {
            let node = ParsedNode::new(filename, options, Slot::File)?.node;
            let file = self.open_below(node, need)?;
            need.of_data_file().claim(&*file.disk, file.locking)?;
            let disk = Arc::clone(&file.disk);
            *opened.borrow_mut() = Some(file.into_child("data-file"));
            Ok(disk)
        };
        let given = if options.data_file.is_empty() || !self.flags.data {
            None
        } else {
            let mut data_file = options.data_file.clone();
            refuse_reference(&mut data_file)?;
            Some(open(None, data_file)?)
        };
        let open_data_file = |filename: &[u8]| {
            self.pass_gate(&children, "data-file", filename)?;
            // Unlike that of a backing image, QEMU takes it as it is, wherever the image stands.
            open(Some(OsStr::from_bytes(filename)), Dict::default())
        };
        let request = OpenRequest {
            flags: &self.flags,
            data_file: given.as_ref(),
            open_data_file: &open_data_file,
            find_passphrase: &|method| qcow2.encryption.passphrase(method, self.context),
        };
        let driver = Qcow2::open(disk, &request)?;
        children.extend(opened.take());
        Ok((driver, children))
    }

    fn open_luks(
        &self,
        options: &LuksOptions,
        disk: Arc<dyn Disk>,
        mut children: Vec<Child>,
        need: Need,
    ) -> Result<Driven> {
        let mut header = options.header.clone();
        let header_disk = if header.is_empty() {
            None
        } else {
            refuse_reference(&mut header)?;
            let file = self.open_below(ParsedNode::new(None, header, Slot::File)?.node, need)?;
            need.of_data_file().claim(&*file.disk, file.locking)?;
            let disk = Arc::clone(&file.disk);
            children.push(file.into_child("header"));
            Some(disk)
        };
        let driver = Box::new(Luks::open(disk, header_disk, options, self.context, &self.flags)?);
        Ok(Driven { driver, children, identity: None })
    }

    /// Opens what is behind an image, and puts everything together.
    fn finish(&self, mut options: ImageOptions, driven: Driven, need: Need, probed: bool) -> Result<Image> {
        let Driven { mut driver, children, identity } = driven;
        let driver_name = driver.format().name();
        let backing_name = driver.backing().map(|backing| full_name(&children, &backing.name));
        let backing = match std::mem::replace(&mut options.backing, Backing::None) {
            Backing::None => None,
            Backing::Header(overrides) if self.flags.backing => {
                let behind =
                    Behind { driver: &*driver, children: &children, identity, name: backing_name.as_deref() };
                self.open_backing(&behind, overrides, need)?
            }
            Backing::Header(overrides) => {
                options.unknown.put_subtree("backing", overrides);
                None
            }
        };
        if let Some(backing) = &backing {
            driver.stand_on(backing.driver())?;
        }
        if matches!(
            options.format,
            FormatOptions::Raw(_)
                | FormatOptions::Luks(_)
                | FormatOptions::Qcow(_)
                | FormatOptions::Vpc(_)
                | FormatOptions::Parallels(_)
                | FormatOptions::PrlXml
                | FormatOptions::Plain(_)
        ) {
            options.unknown.put_subtree("data-file", std::mem::take(&mut options.data_file));
        }
        if let Some(key) = options.unknown.first_key() {
            return Err(Error::invalid(format!(
                "Block format '{driver_name}' does not support the option '{key}'"
            )));
        }
        let own = options.format.spelled().iter().map(|(key, value)| (*key, Value::from(value))).collect();
        let name = NodeName::over(driver_name, own, &children);
        Ok(Image::from_parts(Parts { name, driver_name, driver, children, backing_name, backing, probed }))
    }

    fn open_backing(&self, behind: &Behind<'_>, overrides: Dict, need: Need) -> Result<Option<Arc<Image>>> {
        if behind.driver.backing().is_none() && overrides.is_empty() {
            return Ok(None);
        }
        let has_none = !behind.driver.format().bears_backing();
        if has_none && behind.driver.backing().is_none() {
            return Err(Error::invalid("Driver doesn't support backing files"));
        }
        let image =
            self.open_behind(behind, overrides, need).context(|| "Could not open backing file".to_owned())?;
        Ok(Some(Arc::new(image)))
    }

    fn open_behind(&self, behind: &Behind<'_>, mut overrides: Dict, need: Need) -> Result<Image> {
        refuse_reference(&mut overrides)?;
        let filename = if overrides.has("file.filename") { None } else { behind.name };
        let reference = behind.driver.backing();
        if let (Some(BackingReference { name, .. }), Some(_)) = (reference, filename) {
            self.pass_gate(behind.children, "backing", name)?;
        }
        if let Some(format) = reference.and_then(|reference| reference.format.as_deref())
            && !overrides.has("driver")
        {
            overrides.put("driver", Scalar::text(format));
        }
        let parsed = ParsedNode::new(filename, overrides, Slot::Image)?;
        tell(&parsed.warnings);
        let depth = self.above.map_or(0, |above| above.depth) + 1;
        let shown = shown(filename.unwrap_or_default());
        let Some(identity) = behind.identity else {
            return Err(Error::invalid(format!("Backing file '{shown}' is of no known file")));
        };
        let looped = self.above.is_some_and(|above| above.contains(identity));
        if looped || depth >= MAX_CHAIN {
            return Err(Error::corrupt(format!("Backing file '{shown}' creates an infinite loop.")));
        }
        let above = Above { identity, depth, above: self.above };
        let access = if self.flags.writable_backing == Some(depth) { Access::Write } else { Access::Read };
        let flags = OpenFlags { access, ..self.flags };
        Opener { context: self.context, flags, above: Some(&above) }
            .open(parsed.node, need.of_backing(access))
    }

    pub(super) fn pass_gate(&self, children: &[Child], role: &'static str, name: &[u8]) -> Result<()> {
        let named_by = children.first().map(|child| child.below.name().display()).unwrap_or_default();
        self.context.gate.check(ImplicitFile { named_by: &shown(&named_by), role, name: &shown_bytes(name) })
    }
}

/// An image, as far as it is known when what is behind it is opened.
struct Behind<'a> {
    driver: &'a dyn Driver,
    children: &'a [Child],
    identity: Option<Identity>,
    /// The name of the backing image, relative to nothing.
    name: Option<&'a OsStr>,
}

/// Whether options put an image behind a Parallels one, which itself names none.
fn behind_parallels(backing: &Backing) -> BehindParallels {
    match backing {
        Backing::Header(options) if !options.is_empty() => BehindParallels::Image,
        _ => BehindParallels::Nothing,
    }
}

/// What a name in an image over these files means, relative to nothing.
pub(super) fn full_name(children: &[Child], name: &[u8]) -> OsString {
    name::relative_to(primary_name(children).unwrap_or_default(), OsStr::from_bytes(name))
}
