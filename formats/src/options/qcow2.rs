//! What qcow2 can be told.
//!
//! Nearly all of it is about memory and about maintenance while a guest runs. A single command has no
//! use for that, so what remains is to refuse what cannot be meant.

use std::sync::Arc;

use crypto::Secret;

use super::dict::{Dict, Scalar};
use super::take;
use crate::encryption::options::passphrase;
use crate::qcow2::Qcow2;
use crate::qcow2::geometry::Version;
use crate::qcow2::header::Encryption;
use crate::{Error, OpenContext, Result};

/// What qcow2 can be told, as far as the image must agree with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Qcow2Options {
    /// Refcounts may be written late.
    pub lazy_refcounts: Option<bool>,
    /// Discarded clusters stay referenced.
    pub discard_no_unref: Option<bool>,
    /// How much of an L2 table is loaded at a time.
    pub l2_cache_entry_size: Option<u64>,
    /// The options that change what a guest sees, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
    /// What opens an encrypted image.
    pub encryption: KeyOptions,
}

/// What opens an encrypted image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyOptions {
    /// How it is encrypted, if somebody knows.
    pub format: Option<String>,
    /// The secret.
    pub key_secret: Option<String>,
    /// An option that means nothing.
    pub unknown: Option<String>,
}

impl KeyOptions {
    pub(super) fn take(options: &mut Dict) -> Self {
        let mut options = options.take_subtree("encrypt");
        let mut text = |name: &str| options.take(name).and_then(|value| value.spelled());
        let (format, key_secret) = (text("format"), text("key-secret"));
        Self { format, key_secret, unknown: options.first_key() }
    }

    /// Whether they are meant for this image.
    pub(crate) fn check_image(&self, encryption: Option<Encryption>) -> Result<()> {
        match (encryption, &self.format) {
            (Some(method), _) => self.check(method),
            (None, Some(format)) => Err(Error::invalid(format!(
                "No encryption in image header, but options specified format '{format}'"
            ))),
            (None, None) => Ok(()),
        }
    }

    /// Whether they are meant for an image that is encrypted in this way.
    fn check(&self, method: Encryption) -> Result<()> {
        let name = method.name();
        if let Some(format) = self.format.as_deref().filter(|format| *format != name) {
            let text = format!("Header reported '{name}' encryption format but options specify '{format}'");
            return Err(Error::invalid(text));
        }
        match &self.unknown {
            Some(unknown) => Err(Error::invalid(format!("Parameter '{unknown}' is unexpected"))),
            None => Ok(()),
        }
    }

    /// The passphrase of an image that is encrypted in this way.
    pub(crate) fn passphrase(&self, method: Encryption, context: &OpenContext<'_>) -> Result<Arc<Secret>> {
        self.check(method)?;
        passphrase(context, self.key_secret.as_deref(), "encrypt.")
    }
}

/// Other switches.
const SWITCHES: [&str; 12] = [
    "pass-discard-request",
    "pass-discard-snapshot",
    "pass-discard-other",
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

impl Qcow2Options {
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let spelled = options.spelled(&["encrypt.key-secret"]);
        let encryption = KeyOptions::take(options);
        for key in SWITCHES {
            take::switch(options, key)?;
        }
        take_overlap_check(options)?;
        take_cache_sizes(options)?;
        Ok(Self {
            lazy_refcounts: take::switch(options, "lazy-refcounts")?,
            discard_no_unref: take::switch(options, "discard-no-unref")?,
            l2_cache_entry_size: take::size(options, "l2-cache-entry-size")?,
            spelled,
            encryption,
        })
    }

    /// Refuses what this image cannot do.
    pub(crate) fn check(&self, image: &Qcow2) -> Result<()> {
        let old = image.geometry().version == Version::V2;
        let cluster_size = image.geometry().cluster_size();
        self.encryption.check_image(image.header().encryption)?;
        match self.l2_cache_entry_size {
            Some(size) if !size.is_power_of_two() || !(512..=cluster_size).contains(&size) => {
                Err(Error::invalid(format!(
                    "L2 cache entry size must be a power of two between 512 and the cluster size ({cluster_size})"
                )))
            }
            _ if old && self.lazy_refcounts == Some(true) => Err(Error::invalid(
                "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level",
            )),
            _ if old && self.discard_no_unref == Some(true) => {
                Err(Error::invalid("discard-no-unref is only supported since qcow2 version 3"))
            }
            _ => Ok(()),
        }
    }
}

fn take_overlap_check(options: &mut Dict) -> Result<()> {
    let mut take = |key: &str| options.take(key).and_then(|value| value.spelled());
    let (short, long) = (take("overlap-check"), take("overlap-check.template"));
    if let (Some(short), Some(long)) = (&short, &long)
        && short != long
    {
        return Err(Error::invalid(format!(
            "Conflicting values for qcow2 options 'overlap-check' ('{short}') and 'overlap-check.template' ('{long}')"
        )));
    }
    match short.or(long) {
        Some(level) if !["none", "constant", "cached", "all"].contains(&level.as_str()) => {
            Err(Error::invalid(format!(
                "Unsupported value '{level}' for qcow2 option 'overlap-check'. \
                 Allowed are any of the following: none, constant, cached, all"
            )))
        }
        _ => Ok(()),
    }
}

fn take_cache_sizes(options: &mut Dict) -> Result<()> {
    let total = take::size(options, "cache-size")?;
    let l2 = take::size(options, "l2-cache-size")?;
    let refcount = take::size(options, "refcount-cache-size")?;
    if take::number(options, "cache-clean-interval")?.is_some_and(|interval| interval > u64::from(u32::MAX)) {
        return Err(Error::invalid("Cache clean interval too big"));
    }
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
