//! The drivers' names, and what each can be told.

use super::dict::{Dict, Scalar};
use super::take;
use crate::{Error, Format, Result};

/// A driver that a name can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverName {
    /// An image format.
    Format(Format),
    /// A regular file.
    File,
    /// A block or character device.
    HostDevice,
    /// A driver that QEMU has and tximg does not have yet.
    Unsupported(&'static str),
}

/// Drivers of QEMU without a counterpart here yet.
const UNSUPPORTED: [&str; 21] = [
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "compress",
    "copy-before-write",
    "copy-on-read",
    "host_cdrom",
    "http",
    "https",
    "nbd",
    "null-aio",
    "null-co",
    "nvme",
    "preallocate",
    "quorum",
    "replication",
    "snapshot-access",
    "ssh",
    "throttle",
    "vvfat",
];

/// Protocols of file names that QEMU knows, with their drivers.
const PROTOCOLS: [(&str, DriverName); 29] = [
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
    ("fat", DriverName::Unsupported("vvfat")),
    ("null-co", DriverName::Unsupported("null-co")),
    ("null-aio", DriverName::Unsupported("null-aio")),
    ("nvme", DriverName::Unsupported("nvme")),
    ("blkdebug", DriverName::Unsupported("blkdebug")),
    ("blkverify", DriverName::Unsupported("blkverify")),
    ("blkreplay", DriverName::Unsupported("blkreplay")),
    ("blklogwrites", DriverName::Unsupported("blklogwrites")),
    ("copy-on-read", DriverName::Unsupported("copy-on-read")),
    ("preallocate", DriverName::Unsupported("preallocate")),
];

impl DriverName {
    /// The driver that `driver=` names.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = match name {
            "file" => Some(Self::File),
            "host_device" => Some(Self::HostDevice),
            _ => Format::from_name(name)
                .map(Self::Format)
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
                let protocol = String::from_utf8_lossy(protocol);
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
        if let Some(name) = options.take_text("node-name") {
            check_node_name(&name.to_string_lossy())?;
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
        Ok(Self { read_only, force_share, direct, no_flush })
    }
}

fn check_node_name(name: &str) -> Result<()> {
    if name.is_empty() || super::image_opts::is_identifier(name.as_bytes()) {
        return Ok(());
    }
    Err(Error::invalid(format!("Invalid node-name: '{name}'")))
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
    /// qcow2: all its options are hints about memory and maintenance that a single command does not
    /// need, so nothing remains but that they were well-formed.
    Qcow2,
    /// A format without a driver yet.
    Unsupported(Format),
}

impl FormatOptions {
    /// Takes what the driver of `format` knows.
    pub(super) fn take(format: Format, options: &mut Dict) -> Result<Self> {
        match format {
            Format::Raw => RawOptions::take(options).map(Self::Raw),
            Format::Qcow2 => take_qcow2(options).map(|()| Self::Qcow2),
            other => Ok(Self::Unsupported(other)),
        }
    }
}

impl FormatOptions {
    /// The options that change what a guest sees, as they were spelled.
    pub(crate) fn spelled(&self) -> &[(&'static str, Scalar)] {
        match self {
            Self::Raw(raw) => &raw.spelled,
            Self::Probe | Self::Qcow2 | Self::Unsupported(_) => &[],
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
        let spelled = ["offset", "size"]
            .into_iter()
            .filter_map(|key| options.get(key).map(|value| (key, value.clone())))
            .collect();
        let offset = take::size(options, "offset")?.unwrap_or(0);
        let size = take::size(options, "size")?;
        Ok(Self { offset, size, spelled })
    }

    /// Whether the disk is the whole file.
    pub fn is_whole_file(&self) -> bool {
        self.offset == 0 && self.size.is_none()
    }
}

const QCOW2_SWITCHES: [&str; 14] = [
    "lazy-refcounts",
    "pass-discard-request",
    "pass-discard-snapshot",
    "pass-discard-other",
    "discard-no-unref",
    "overlap-check.main-header",
    "overlap-check.active-l1",
    "overlap-check.active-l2",
    "overlap-check.refcount-table",
    "overlap-check.refcount-block",
    "overlap-check.snapshot-table",
    "overlap-check.inactive-l1",
    "overlap-check.inactive-l2",
    "overlap-check.bitmap-directory",
];

fn take_qcow2(options: &mut Dict) -> Result<()> {
    if let Some(format) = options.get("encrypt.format").and_then(Scalar::spelled) {
        return Err(Error::invalid(format!(
            "No encryption in image header, but options specified format '{format}'"
        )));
    }
    options.take_subtree("encrypt");
    for key in QCOW2_SWITCHES {
        take::switch(options, key)?;
    }
    take_overlap_check(options)?;
    let total = take::size(options, "cache-size")?;
    let l2 = take::size(options, "l2-cache-size")?;
    let refcount = take::size(options, "refcount-cache-size")?;
    take::size(options, "l2-cache-entry-size")?;
    take::number(options, "cache-clean-interval")?;
    check_cache_sizes(total, l2, refcount)
}

fn take_overlap_check(options: &mut Dict) -> Result<()> {
    for key in ["overlap-check", "overlap-check.template"] {
        let Some(level) = options.take(key).and_then(|value| value.spelled()) else { continue };
        if !["none", "constant", "cached", "all"].contains(&level.as_str()) {
            return Err(Error::invalid(format!(
                "Unsupported value '{level}' for qcow2 option 'overlap-check'. \
                 Allowed are any of the following: none, constant, cached, all"
            )));
        }
    }
    Ok(())
}

fn check_cache_sizes(total: Option<u64>, l2: Option<u64>, refcount: Option<u64>) -> Result<()> {
    let Some(total) = total else { return Ok(()) };
    match (l2, refcount) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time",
        )),
        (Some(l2), _) if l2 > total => Err(Error::invalid("l2-cache-size may not exceed cache-size")),
        (_, Some(refcount)) if refcount > total => {
            Err(Error::invalid("refcount-cache-size may not exceed cache-size"))
        }
        _ => Ok(()),
    }
}
