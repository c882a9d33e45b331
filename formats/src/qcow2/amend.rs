//! What `amend` can change of an image.

use super::create::{parse_refcount_bits, shown};
use super::encryption::PREFIX;
use super::feature::{Autoclear, Compatible, Incompatible};
use super::geometry::Version;
use super::header::{Encryption, Header};
use super::refcount::RefcountWidth;
use crate::amend::AmendRequest;
use crate::create::CreateOptions;
use crate::encryption::amend::SlotRequest;
use crate::encryption::options::Prefixed;
use crate::{Amendment, Error, Result};

/// The features that an image is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Version of the format.
    pub version: Version,
    /// Width of reference counts.
    pub refcounts: RefcountWidth,
    /// Whether writers may postpone refcount updates.
    pub lazy_refcounts: bool,
    /// Name of the external data file, if it has one.
    pub data_file: Option<Vec<u8>>,
    /// Whether the external data file must stay valid as a raw image.
    pub data_file_raw: bool,
    /// Whether the options name another backing image than the one that the image has.
    pub names_other_backing: bool,
}

impl Features {
    /// The features that an image has.
    pub fn of(header: &Header) -> Self {
        Self {
            version: header.version,
            refcounts: RefcountWidth::from_order(header.refcount_order).unwrap_or(RefcountWidth::DEFAULT),
            lazy_refcounts: header.compatible.contains(Compatible::LAZY_REFCOUNTS),
            data_file: header.extensions.data_file.clone(),
            data_file_raw: header.autoclear.contains(Autoclear::RAW_DATA),
            names_other_backing: false,
        }
    }
}

/// The features that the image of that header is to have. What is wrong is found in qemu-img's
/// order.
pub fn plan(header: &Header, request: &AmendRequest<'_>) -> Result<Amendment> {
    let options = request.options;
    let mut features = Features::of(header);
    let slots = plan_slots(header, request)?;
    if let Some(compat) = options.text("compat") {
        features.version = parse_version(compat)?;
    }
    if options.is_given("data_file") {
        if !header.incompatible.contains(Incompatible::DATA_FILE) {
            let text = "data-file can only be set for images that use an external data file";
            return Err(Error::invalid(text));
        }
        features.data_file = options.text("data_file").filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
    }
    if options.is_given("data_file_raw") {
        let raw = options.flag("data_file_raw");
        if raw && !features.data_file_raw {
            return Err(Error::invalid("data-file-raw cannot be set on existing images"));
        }
        features.data_file_raw = raw;
    }
    if options.is_given("lazy_refcounts") {
        features.lazy_refcounts = options.flag("lazy_refcounts");
    }
    if options.is_given("refcount_bits") {
        features.refcounts = parse_refcount_bits(options)?;
    }
    features.names_other_backing = names_other_backing(header, options);
    // Zero stands for no size.
    Ok(Amendment { size: options.size().filter(|&size| size > 0), features: Some(features), slots })
}

/// The change of key slots, if one is asked for.
fn plan_slots(header: &Header, request: &AmendRequest<'_>) -> Result<Option<SlotRequest>> {
    let options = Prefixed { options: request.options, prefix: PREFIX };
    if !SlotRequest::is_in(options) {
        return Ok(None);
    }
    match header.encryption {
        None => Err(Error::invalid("Can't amend encryption options - encryption not present")),
        Some(Encryption::Aes) => Err(Error::invalid("Only LUKS encryption options can be amended")),
        Some(Encryption::Luks) => SlotRequest::new(options, request).map(Some),
    }
}

fn parse_version(compat: &[u8]) -> Result<Version> {
    match compat {
        b"0.10" | b"v2" => Ok(Version::V2),
        b"1.1" | b"v3" => Ok(Version::V3),
        other => Err(Error::invalid(format!("Unknown compatibility level {}", shown(other)))),
    }
}

fn names_other_backing(header: &Header, options: &CreateOptions) -> bool {
    let given = [options.text("backing_file"), options.text("backing_fmt")];
    let stored = [header.backing_name.as_deref(), header.extensions.backing_format.as_deref()];
    given.iter().any(Option::is_some) && given != stored
}
