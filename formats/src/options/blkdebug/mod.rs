//! What `blkdebug` can be told: which requests to a file or an image fail.
//!
//! * [`rules`]: the rules among the options.
//! * [`config`]: the same in a file.

pub(crate) mod config;
pub(crate) mod rules;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use journal::Permissions;

use super::dict::{Dict, Scalar};
use super::driver::GenericOptions;
use super::node::NodeOptions;
use super::take;
use crate::{Error, Result};

/// A file or an image whose requests can fail.
#[derive(Debug, Clone, PartialEq)]
pub struct BlkdebugNode {
    /// A file with rules.
    pub config: Option<OsString>,
    /// Rules: what is under `inject-error`.
    pub inject: Dict,
    /// Rules: what is under `set-state`.
    pub set_state: Dict,
    /// Sizes that requests are to have.
    pub limits: Limits,
    /// Permissions that are claimed in addition, as a list.
    pub take_permissions: Dict,
    /// Permissions that are denied to others in addition, as a list.
    pub unshare_permissions: Dict,
    /// The options by which it is named, as they were spelled.
    pub spelled: Vec<(String, Scalar)>,
    /// What it is over.
    pub image: Box<NodeOptions>,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

/// Everything but what it is over.
#[derive(Debug)]
pub(super) struct Own {
    spelled: Vec<(String, Scalar)>,
    config: Option<OsString>,
    limits: Limits,
    /// The name of what it is over.
    pub(super) filename: Option<OsString>,
}

impl Own {
    /// Takes what comes before the image.
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let spelled = options.entries().filter(|(key, _)| names(key));
        let spelled = spelled.map(|(key, value)| (crate::json::text(key), value.clone())).collect();
        let config = take_string(options, "config");
        let filename = take_string(options, "x-image");
        Ok(Self { spelled, config, limits: Limits::take(options)?, filename })
    }

    /// Takes the rest.
    pub(super) fn over(self, image: NodeOptions, generic: GenericOptions, mut options: Dict) -> BlkdebugNode {
        let Self { spelled, config, limits, .. } = self;
        BlkdebugNode {
            config,
            inject: options.take_subtree(rules::INJECT_ERROR),
            set_state: options.take_subtree(rules::SET_STATE),
            limits,
            take_permissions: options.take_subtree("take-child-perms"),
            unshare_permissions: options.take_subtree("unshare-child-perms"),
            spelled,
            image: Box::new(image),
            generic,
            unknown: options,
        }
    }
}

fn take_string(options: &mut Dict, key: &str) -> Option<OsString> {
    match options.take(key)? {
        Scalar::Text(text) => Some(text),
        other => other.spelled().map(OsString::from),
    }
}

/// Whether the option is one by which the node is named.
fn names(key: &[u8]) -> bool {
    let is_rule =
        |section: &str| key.strip_prefix(section.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'.'));
    key == b"config"
        || Limits::KEYS.iter().any(|known| known.as_bytes() == key)
        || is_rule(rules::INJECT_ERROR)
        || is_rule(rules::SET_STATE)
}

/// Puts what `blkdebug:[CONFIG]:IMAGE` says among the options. A name without that is the image's.
pub(super) fn put_name(filename: &OsStr, options: &mut Dict) -> Result<()> {
    let name = filename.as_bytes();
    let Some(rest) = name.strip_prefix(b"blkdebug:") else {
        options.put("x-image", Scalar::text(name));
        return Ok(());
    };
    let colon = rest.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| Error::invalid("blkdebug requires both config file and image path"))?;
    let (config, image) = rest.split_at(colon);
    if !config.is_empty() {
        options.put("config", Scalar::text(config));
    }
    options.put("x-image", Scalar::text(image.strip_prefix(b":").unwrap_or(image)));
    Ok(())
}

/// Sizes that requests are to have, in bytes; 0 where nothing is said. They have to fit to one another,
/// and are not needed otherwise: no request is too large here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// What every request is aligned to.
    pub align: u64,
    /// The most that is read or written at once.
    pub max_transfer: u64,
    /// What writing zeroes should be aligned to.
    pub opt_write_zero: u64,
    /// The most zeroes that are written at once.
    pub max_write_zero: u64,
    /// What giving back space should be aligned to.
    pub opt_discard: u64,
    /// The most space that is given back at once.
    pub max_discard: u64,
}

impl Limits {
    const KEYS: [&str; 6] =
        ["align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"];

    fn take(options: &mut Dict) -> Result<Self> {
        let mut size = |key| Ok::<_, Error>(take::size(options, key)?.unwrap_or(0));
        Ok(Self {
            align: size("align")?,
            max_transfer: size("max-transfer")?,
            opt_write_zero: size("opt-write-zero")?,
            max_write_zero: size("max-write-zero")?,
            opt_discard: size("opt-discard")?,
            max_discard: size("max-discard")?,
        })
    }

    /// Whether they fit to one another, over what is aligned to `below` itself.
    pub(crate) fn check(&self, below: u64) -> Result<()> {
        let refuse = |key, value| Err(Error::invalid(format!("Cannot meet constraints with {key} {value}")));
        const TOO_LARGE: u64 = i32::MAX as u64;
        if self.align != 0 && (self.align >= TOO_LARGE || !self.align.is_power_of_two()) {
            return refuse("align", self.align);
        }
        let align = self.align.max(below).max(1);
        let sizes = [
            ("max-transfer", self.max_transfer, align),
            ("opt-write-zero", self.opt_write_zero, align),
            ("max-write-zero", self.max_write_zero, self.opt_write_zero.max(align)),
            ("opt-discard", self.opt_discard, align),
            ("max-discard", self.max_discard, self.opt_discard.max(align)),
        ];
        match sizes.iter().find(|(_, size, unit)| *size >= TOO_LARGE || size % unit != 0) {
            Some((key, size, _)) => refuse(key, *size),
            None => Ok(()),
        }
    }
}

/// The permissions of a list.
pub(crate) fn permissions(mut list: Dict) -> Result<Permissions> {
    let mut permissions = Permissions::NONE;
    for word in words(&mut list)? {
        let permission = match word.as_str() {
            "consistent-read" => Permissions::CONSISTENT_READ,
            "write" => Permissions::WRITE,
            "write-unchanged" => Permissions::WRITE_UNCHANGED,
            "resize" => Permissions::RESIZE,
            other => {
                return Err(Error::invalid(format!("Parameter 'null' does not accept value '{other}'")));
            }
        };
        permissions = permissions | permission;
    }
    Ok(permissions)
}

/// The words of a list whose keys are its indices.
fn words(list: &mut Dict) -> Result<Vec<String>> {
    let mut indices = Vec::new();
    let mut others = 0_usize;
    for (key, _) in list.entries() {
        let index = key.split(|byte| *byte == b'.').next().unwrap_or_default();
        match std::str::from_utf8(index).ok().and_then(|index| index.parse::<usize>().ok()) {
            Some(index) => indices.push(index),
            None => others += 1,
        }
    }
    indices.sort_unstable();
    indices.dedup();
    let Some(largest) = indices.last() else {
        return if others == 0 { Ok(Vec::new()) } else { Err(wrong_type("<anonymous>", "array")) };
    };
    if others > 0 {
        return Err(Error::invalid("Cannot mix list and non-list keys"));
    }
    if indices.len() != largest + 1 {
        let count = indices.len();
        let text =
            format!("List indices are not contiguous, saw {count} elements but {largest} largest index");
        return Err(Error::invalid(text));
    }
    let word = |index: usize| match list.take(&index.to_string()) {
        Some(Scalar::Text(word)) => Ok(crate::shown::shown(&word)),
        _ => Err(wrong_type(&format!("[{index}]"), "string")),
    };
    indices.into_iter().map(word).collect()
}

fn wrong_type(what: &str, expected: &str) -> Error {
    Error::invalid(format!("Invalid parameter type for '{what}', expected: {expected}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
