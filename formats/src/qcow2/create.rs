//! New images: from options to a header and the session that fills the file.

use std::sync::Arc;

use crypto::Secret;

use super::encryption::NewEncryption;
use super::extension::Extensions;
use super::feature::{Autoclear, Compatible, Incompatible, standard_names};
use super::geometry::{MAX_CLUSTER_BITS, MIN_CLUSTER_BITS, SUBCLUSTERS, Version};
use super::header::{Header, MAX_BACKING_NAME, TableLocation};
use super::refcount::RefcountWidth;
use super::session::{Files, Layout, Session};
use crate::create::{CreateOptions, Preallocation, fill, grow};
use crate::error::ResultExt;
use crate::options::DriverName;
use crate::{Codec, Error, Result};

/// What a new image is to be, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Version of the format.
    pub version: Version,
    /// Logarithm of the cluster size.
    pub cluster_bits: u32,
    /// Whether clusters have subclusters.
    pub extended_l2: bool,
    /// Width of reference counts.
    pub refcounts: RefcountWidth,
    /// Whether writers may postpone refcount updates.
    pub lazy_refcounts: bool,
    /// What is allocated from the start.
    pub preallocation: Preallocation,
    /// How compressed clusters are compressed.
    pub compression: Codec,
    /// Size of the virtual disk in bytes, a multiple of 512.
    pub size: u64,
    /// Name of the backing file.
    pub backing_name: Option<Vec<u8>>,
    /// Format of the backing file.
    pub backing_format: Option<String>,
    /// Name of the external data file.
    pub data_file: Option<Vec<u8>>,
    /// Whether the external data file must stay valid as a raw image.
    pub data_file_raw: bool,
    /// How guest data is to be encrypted.
    pub encryption: Option<NewEncryption>,
}

impl Parameters {
    /// Reads and checks the options. What is wrong is found in qemu-img's order: values first, then
    /// what does not go together.
    pub fn from_options(options: &CreateOptions) -> Result<Self> {
        let version = parse_version(options)?;
        let backing_format = parse_backing_format(options)?;
        let encryption = NewEncryption::from_options(options)?;
        let preallocation = parse_preallocation(options)?;
        check_refcount_bits(options)?;
        let compression = parse_compression(options)?;
        let extended_l2 = options.flag("extended_l2");
        if extended_l2 && version == Version::V2 {
            return Err(Error::invalid(
                "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            ));
        }
        let cluster_bits = parse_cluster_size(options, extended_l2)?;
        let text = |name: &str| options.text(name).map(<[u8]>::to_vec);
        let parameters = Self {
            version,
            cluster_bits,
            extended_l2,
            refcounts: RefcountWidth::DEFAULT,
            lazy_refcounts: options.flag("lazy_refcounts"),
            preallocation,
            compression,
            size: round_size(options.size().unwrap_or(0))?,
            backing_name: text("backing_file").filter(|name| !name.is_empty()),
            backing_format,
            data_file: text("data_file"),
            data_file_raw: options.flag("data_file_raw"),
            encryption,
        };
        parameters.check_combinations(options)
    }

    fn check_combinations(mut self, options: &CreateOptions) -> Result<Self> {
        let old = self.version == Version::V2;
        let refuse = |text: &str| Err(Error::invalid(text));
        if self.backing_format.is_some() && self.backing_name.is_none() {
            return refuse("Backing format cannot be used without backing file");
        }
        if self.preallocation != Preallocation::Off && self.backing_name.is_some() && !self.extended_l2 {
            return refuse(
                "Backing file and preallocation can only be used at the same time if extended_l2 is on",
            );
        }
        if old && self.lazy_refcounts {
            return refuse(
                "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            );
        }
        self.refcounts = parse_refcount_bits(options)?;
        if old && self.refcounts != RefcountWidth::DEFAULT {
            return refuse(
                "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
            );
        }
        if self.data_file_raw && self.data_file.is_none() {
            return refuse("data-file-raw requires data-file");
        }
        if self.data_file_raw && self.backing_name.is_some() {
            return refuse("Backing file and data-file-raw cannot be used at the same time");
        }
        if old && self.data_file.is_some() {
            return refuse(
                "External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            );
        }
        if old && self.compression != Codec::Deflate {
            return refuse(
                "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)",
            );
        }
        if self.data_file_raw && self.preallocation == Preallocation::Off {
            // A raw file has no place to say that something is unallocated.
            self.preallocation = Preallocation::Metadata;
        }
        Ok(self)
    }

    /// The header, but for the places of the tables.
    pub fn header(&self) -> Header {
        let mut incompatible = Incompatible::empty();
        incompatible.set(Incompatible::DATA_FILE, self.data_file.is_some());
        incompatible.set(Incompatible::COMPRESSION, self.compression != Codec::Deflate);
        incompatible.set(Incompatible::EXTENDED_L2, self.extended_l2);
        let mut compatible = Compatible::empty();
        compatible.set(Compatible::LAZY_REFCOUNTS, self.lazy_refcounts);
        let mut autoclear = Autoclear::empty();
        autoclear.set(Autoclear::RAW_DATA, self.data_file_raw);
        Header {
            version: self.version,
            cluster_bits: self.cluster_bits,
            size: self.size,
            encryption: self.encryption.map(NewEncryption::method),
            l1: TableLocation::default(),
            refcount_table: TableLocation::default(),
            snapshots: TableLocation::default(),
            incompatible,
            compatible,
            autoclear,
            refcount_order: self.refcounts.order(),
            compression: self.compression,
            unknown_fields: Vec::new(),
            extensions: Extensions {
                backing_format: self.backing_format.as_ref().map(|format| format.as_bytes().to_vec()),
                data_file: self.data_file.clone(),
                // Small clusters keep their room for what matters.
                feature_names: if self.cluster_bits < 13 { Vec::new() } else { standard_names() },
                ..Extensions::default()
            },
            backing_name: self.backing_name.clone(),
        }
    }
}

/// Lays out a new image in empty files and preallocates what is asked for.
pub fn lay_out(
    parameters: &Parameters,
    files: Files,
    find_passphrase: impl FnOnce() -> Result<Arc<Secret>>,
) -> Result<Session> {
    let header = parameters.header();
    check_room(parameters, &header)?;
    let mut session = Session::create(files.clone(), header)?;
    if let Some(encryption) = parameters.encryption {
        session.encrypt(encryption, find_passphrase()?)?;
    }
    let layout = match parameters.preallocation {
        Preallocation::Off => None,
        Preallocation::Metadata => Some(Layout::Interleaved),
        Preallocation::Falloc | Preallocation::Full => Some(Layout::Contiguous),
    };
    let range = match layout {
        Some(layout) => session.preallocate(layout)?,
        None => 0..0,
    };
    match files.data {
        Some(data) => grow(&*data, parameters.size, parameters.preallocation),
        None => fill(&*files.main, range, parameters.preallocation),
    }
    .context(|| "Could not preallocate data".to_owned())?;
    Ok(session)
}

/// Whether the backing file's name may be so long, and fits into the first cluster.
fn check_room(parameters: &Parameters, header: &Header) -> Result<()> {
    let Some(name) = &parameters.backing_name else { return Ok(()) };
    let reason = if name.len() as u64 > MAX_BACKING_NAME {
        "Invalid argument"
    } else if header.serialize().is_err() {
        "No space left on device"
    } else {
        return Ok(());
    };
    let with =
        parameters.backing_format.as_ref().map_or(String::new(), |format| format!(" with format '{format}'"));
    Err(Error::invalid(reason).context(format!("Could not assign backing file '{}'{with}", shown(name))))
}

pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn parse_version(options: &CreateOptions) -> Result<Version> {
    match options.text("compat") {
        None | Some(b"v3" | b"1.1") => Ok(Version::V3),
        Some(b"v2" | b"0.10") => Ok(Version::V2),
        Some(other) => {
            Err(Error::invalid(format!("Parameter 'version' does not accept value '{}'", shown(other))))
        }
    }
}

/// The name of a driver that could stand behind the image, of a format or of a protocol.
fn parse_backing_format(options: &CreateOptions) -> Result<Option<String>> {
    let Some(name) = options.text("backing_fmt").map(shown) else { return Ok(None) };
    match DriverName::from_name(&name) {
        Ok(_) => Ok(Some(name)),
        Err(_) => Err(Error::invalid(format!("Parameter 'backing-fmt' does not accept value '{name}'"))),
    }
}

fn parse_preallocation(options: &CreateOptions) -> Result<Preallocation> {
    let Some(text) = options.text("preallocation") else { return Ok(Preallocation::Off) };
    Preallocation::from_name(text).ok_or_else(|| {
        Error::invalid(format!("Parameter 'preallocation' does not accept value '{}'", shown(text)))
    })
}

/// The width of reference counts.
pub(super) fn parse_refcount_bits(options: &CreateOptions) -> Result<RefcountWidth> {
    options
        .number("refcount_bits")
        .and_then(RefcountWidth::from_bits)
        .ok_or_else(|| Error::invalid("Refcount width must be a power of two and may not exceed 64 bits"))
}

/// A number that no signed integer can hold is wrong before it means anything.
fn check_refcount_bits(options: &CreateOptions) -> Result<()> {
    let negative = options.text("refcount_bits").is_some_and(|text| text.starts_with(b"-"));
    match options.number("refcount_bits") {
        Some(bits) if bits > i64::MAX as u64 && !negative => {
            Err(Error::invalid("Parameter 'refcount-bits' expects integer"))
        }
        _ => Ok(()),
    }
}

fn parse_compression(options: &CreateOptions) -> Result<Codec> {
    match options.text("compression_type") {
        None | Some(b"zlib") => Ok(Codec::Deflate),
        Some(b"zstd") => Ok(Codec::Zstd),
        Some(other) => Err(Error::invalid(format!(
            "Parameter 'compression-type' does not accept value '{}'",
            shown(other)
        ))),
    }
}

/// The logarithm of the cluster size.
pub(super) fn parse_cluster_size(options: &CreateOptions, extended_l2: bool) -> Result<u32> {
    let size = options.number("cluster_size").unwrap_or(0);
    let bits = size.trailing_zeros();
    if !size.is_power_of_two() || !(MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS).contains(&bits) {
        return Err(Error::invalid("Cluster size must be a power of two between 512 and 2048k"));
    }
    let least = u64::from(SUBCLUSTERS) << MIN_CLUSTER_BITS;
    if extended_l2 && size < least {
        return Err(Error::invalid(format!(
            "Extended L2 entries are only supported with cluster sizes of at least {least} bytes"
        )));
    }
    Ok(bits)
}

/// Disks are whole sectors.
fn round_size(size: u64) -> Result<u64> {
    size.checked_next_multiple_of(512)
        .filter(|&size| size <= i64::MAX as u64)
        .ok_or_else(|| Error::invalid("Image size cannot be negative").context("Could not resize image"))
}
