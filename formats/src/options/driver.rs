//! The drivers' names, and what each can be told.

use super::dict::{Dict, Scalar};
use super::filter::Filter;
use super::luks::LuksOptions;
use super::parallels::ParallelsOptions;
use super::qcow::QcowOptions;
use super::qcow2::Qcow2Options;
use super::take;
use super::vpc::VpcOptions;
use crate::{Error, Format, Result, registry};

/// A driver that a name can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverName {
    /// An image format.
    Format(Format),
    /// A regular file.
    File,
    /// A block or character device.
    HostDevice,
    /// A disk that keeps nothing: `null-co` or `null-aio`.
    Null(&'static str),
    /// A directory as a disk.
    Vvfat,
    /// A file or an image whose requests fail as rules say.
    Blkdebug,
    /// Several images that are to be the same.
    Quorum,
    /// A filter over another node.
    Filter(Filter),
    /// A driver that QEMU has and tximg does not have yet.
    Unsupported(&'static str),
}

/// Drivers of QEMU without a counterpart here yet.
const UNSUPPORTED: [&str; 12] = [
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "copy-before-write",
    "host_cdrom",
    "http",
    "https",
    "nbd",
    "nvme",
    "replication",
    "snapshot-access",
    "ssh",
];

/// Protocols of file names that QEMU knows, with their drivers.
const PROTOCOLS: [(&str, DriverName); 27] = [
    ("file", DriverName::File),
    ("host_device", DriverName::HostDevice),
    ("host_cdrom", DriverName::Unsupported("host_cdrom")),
    ("nbd", DriverName::Unsupported("nbd")),
    ("nbd+tcp", DriverName::Unsupported("nbd")),
    ("nbd+unix", DriverName::Unsupported("nbd")),
    ("nbd+vsock", DriverName::Unsupported("nbd")),
    ("http", DriverName::Unsupported("http")),
    ("https", DriverName::Unsupported("https")),
    ("ftp", DriverName::Unsupported("ftp")),
    ("ftps", DriverName::Unsupported("ftps")),
    ("ssh", DriverName::Unsupported("ssh")),
    ("iscsi", DriverName::Unsupported("iscsi")),
    ("iser", DriverName::Unsupported("iser")),
    ("nfs", DriverName::Unsupported("nfs")),
    ("rbd", DriverName::Unsupported("rbd")),
    ("gluster", DriverName::Unsupported("gluster")),
    ("gluster+tcp", DriverName::Unsupported("gluster")),
    ("gluster+unix", DriverName::Unsupported("gluster")),
    ("fat", DriverName::Vvfat),
    ("null-co", DriverName::Null("null-co")),
    ("null-aio", DriverName::Null("null-aio")),
    ("nvme", DriverName::Unsupported("nvme")),
    ("blkdebug", DriverName::Blkdebug),
    ("blkverify", DriverName::Unsupported("blkverify")),
    ("blkreplay", DriverName::Unsupported("blkreplay")),
    ("blklogwrites", DriverName::Unsupported("blklogwrites")),
];

impl DriverName {
    /// The driver that `driver=` names.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = match name {
            "file" => Some(Self::File),
            "host_device" => Some(Self::HostDevice),
            "null-co" => Some(Self::Null("null-co")),
            "null-aio" => Some(Self::Null("null-aio")),
            "vvfat" => Some(Self::Vvfat),
            "blkdebug" => Some(Self::Blkdebug),
            "quorum" => Some(Self::Quorum),
            _ => Format::from_name(name)
                .map(Self::Format)
                .or_else(|| Filter::from_name(name).map(Self::Filter))
                .or_else(|| UNSUPPORTED.into_iter().find(|known| *known == name).map(Self::Unsupported)),
        };
        found.ok_or_else(|| Error::new(crate::ErrorKind::NotFound, format!("Unknown driver '{name}'")))
    }

    /// The driver that a protocol in a file name names.
    pub fn from_protocol(protocol: &[u8]) -> Result<Self> {
        PROTOCOLS
            .iter()
            .find(|(known, _)| known.as_bytes() == protocol)
            .map(|(_, driver)| *driver)
            .ok_or_else(|| {
                let protocol = crate::shown::shown_bytes(protocol);
                Error::new(crate::ErrorKind::NotFound, format!("Unknown protocol '{protocol}'"))
            })
    }
}

/// The refusal of a driver that tximg does not have yet.
pub(crate) fn not_supported(driver: &str) -> Error {
    Error::unsupported(format!("The driver '{driver}' is not supported yet"))
}

/// Options that every node has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenericOptions {
    /// What the node is called.
    pub node_name: Option<String>,
    /// Never write.
    pub read_only: Option<bool>,
    /// Take no locks that deny others.
    pub force_share: Option<bool>,
    /// Past the page cache.
    pub direct: Option<bool>,
    /// Flushes are ignored.
    pub no_flush: Option<bool>,
}

impl GenericOptions {
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let node_name = options.take("node-name").and_then(|name| name.spelled());
        if let Some(name) = &node_name {
            check_node_name(name)?;
        }
        let read_only = take::switch(options, "read-only")?;
        take::switch(options, "auto-read-only")?;
        let force_share = take::switch(options, "force-share")?;
        let discard = take_discard(options)?;
        let zeroes = [("off", false), ("on", false), ("unmap", true)];
        if take::choice(options, "detect-zeroes", &zeroes)? == Some(true) && !discard {
            return Err(Error::invalid(
                "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
            ));
        }
        let direct = take::switch(options, "cache.direct")?;
        let no_flush = take::switch(options, "cache.no-flush")?;
        Ok(Self { node_name, read_only, force_share, direct, no_flush })
    }
}

/// Longer names QEMU could not keep.
const MAX_NODE_NAME: usize = 31;

fn check_node_name(name: &str) -> Result<()> {
    if !super::image_opts::is_identifier(name.as_bytes()) {
        return Err(Error::invalid(format!("Invalid node-name: '{name}'")));
    }
    if name.len() > MAX_NODE_NAME {
        return Err(Error::invalid("Node name too long"));
    }
    Ok(())
}

/// Takes `discard`; whether it is passed on.
fn take_discard(options: &mut Dict) -> Result<bool> {
    match options.take("discard").and_then(|value| value.spelled()).as_deref() {
        None | Some("ignore" | "off") => Ok(false),
        Some("unmap" | "on") => Ok(true),
        Some(_) => Err(Error::invalid("Invalid discard option")),
    }
}

/// What a file or a device can be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileOptions {
    /// The name.
    pub filename: std::ffi::OsString,
    /// Whether QEMU's byte locks are taken; they are where this says nothing.
    pub locking: Option<bool>,
}

impl FileOptions {
    /// Takes what the driver knows. A name that is missing is refused when the file is opened.
    pub(super) fn take(options: &mut Dict, direct: bool) -> Result<Self> {
        let filename = options.take_text("filename").unwrap_or_default();
        let locking =
            take::choice(options, "locking", &[("auto", None), ("on", Some(true)), ("off", Some(false))])?
                .flatten();
        let native =
            take::choice(options, "aio", &[("threads", false), ("native", true), ("io_uring", false)])?;
        if native == Some(true) && !direct {
            return Err(Error::invalid(
                "aio=native was specified, but it requires cache.direct=on, which was not specified.",
            ));
        }
        take::number(options, "aio-max-batch")?;
        take::switch(options, "drop-cache")?;
        take::switch(options, "x-check-cache-dropped")?;
        if let Some(manager) = options.take("pr-manager").and_then(|value| value.spelled()) {
            return Err(Error::invalid(format!("No persistent reservation manager with id '{manager}'")));
        }
        Ok(Self { filename, locking })
    }
}

/// What a format driver can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum FormatOptions {
    /// Nobody said which format it is: the options stay untyped until the file has been looked at.
    Probe,
    /// Raw.
    Raw(RawOptions),
    /// qcow.
    Qcow(QcowOptions),
    /// qcow2.
    Qcow2(Qcow2Options),
    /// LUKS.
    Luks(LuksOptions),
    /// VPC.
    Vpc(VpcOptions),
    /// Parallels.
    Parallels(ParallelsOptions),
    /// A Parallels bundle, which can be told nothing.
    PrlXml,
    /// A format of the registry, which can be told nothing.
    Plain(Format),
    /// A format without a driver yet.
    Unsupported(Format),
}

impl FormatOptions {
    /// Takes what the driver of `format` knows.
    pub(super) fn take(format: Format, options: &mut Dict) -> Result<Self> {
        match format {
            Format::Raw => RawOptions::take(options).map(Self::Raw),
            Format::Qcow => Ok(Self::Qcow(QcowOptions::take(options))),
            Format::Qcow2 => Qcow2Options::take(options).map(Self::Qcow2),
            Format::Luks => LuksOptions::take(options).map(Self::Luks),
            Format::Vpc => VpcOptions::take(options).map(Self::Vpc),
            Format::PrlXml => Ok(Self::PrlXml),
            Format::Parallels => ParallelsOptions::take(options).map(Self::Parallels),
            other if registry::find(other).is_some() => Ok(Self::Plain(other)),
            other => Ok(Self::Unsupported(other)),
        }
    }
}

impl FormatOptions {
    /// The format, if somebody said which.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Probe => None,
            Self::Raw(_) => Some(Format::Raw),
            Self::Qcow(_) => Some(Format::Qcow),
            Self::Qcow2(_) => Some(Format::Qcow2),
            Self::Luks(_) => Some(Format::Luks),
            Self::Vpc(_) => Some(Format::Vpc),
            Self::Parallels(_) => Some(Format::Parallels),
            Self::PrlXml => Some(Format::PrlXml),
            Self::Plain(format) | Self::Unsupported(format) => Some(*format),
        }
    }

    /// The options that change what a guest sees, as they were spelled.
    pub(crate) fn spelled(&self) -> &[(&'static str, Scalar)] {
        match self {
            Self::Raw(raw) => &raw.spelled,
            Self::Qcow(qcow) => &qcow.spelled,
            Self::Qcow2(qcow2) => &qcow2.spelled,
            Self::Luks(luks) => &luks.spelled,
            Self::Vpc(vpc) => &vpc.spelled,
            Self::Probe | Self::Parallels(_) | Self::PrlXml | Self::Plain(_) | Self::Unsupported(_) => &[],
        }
    }
}

/// What raw can be told: which part of the file is the disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawOptions {
    /// Where the disk starts in the file.
    pub offset: u64,
    /// How long it is; to the end of the file if not said.
    pub size: Option<u64>,
    /// The options as they were spelled, for the image's `json:{…}` name.
    pub spelled: Vec<(&'static str, Scalar)>,
}

impl RawOptions {
    fn take(options: &mut Dict) -> Result<Self> {
        let spelled = options.spelled(&["offset", "size"]);
        let offset = take::size(options, "offset")?.unwrap_or(0);
        let size = take::size(options, "size")?;
        Ok(Self { offset, size, spelled })
    }

    /// Whether the disk is the whole file.
    pub fn is_whole_file(&self) -> bool {
        self.offset == 0 && self.size.is_none()
    }
}
