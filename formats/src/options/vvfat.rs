//! What `vvfat` can be told: a directory that is shown as a disk.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::dict::{Dict, Scalar};
use super::driver::GenericOptions;
use super::take;
use crate::vvfat::Medium;
use crate::{Error, Result};

/// A directory as a disk.
#[derive(Debug, Clone, PartialEq)]
pub struct VvfatNode {
    /// The directory.
    pub directory: OsString,
    /// Bits of an entry of the file allocation table; 0 leaves the choice.
    pub fat_bits: u64,
    /// What the disk is.
    pub medium: Medium,
    /// What the disk is called, with spaces behind it.
    pub label: [u8; 11],
    /// Whether what is written to the disk changes the directory.
    pub writable: bool,
    /// The options by which it is named, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

impl VvfatNode {
    /// Takes what the driver knows.
    pub(super) fn take(filename: Option<&OsStr>, generic: GenericOptions, mut options: Dict) -> Result<Self> {
        if let Some(filename) = filename {
            put_name(filename, &mut options)?;
        }
        let spelled = options.spelled(&["fat-type", "dir", "floppy", "label", "rw"]);
        let fat_bits = take::number(&mut options, "fat-type")?.unwrap_or(0);
        let medium = if take::switch(&mut options, "floppy")? == Some(true) {
            Medium::Floppy
        } else {
            Medium::HardDisk
        };
        let writable = take::switch(&mut options, "rw")? == Some(true);
        let label = options.take_text("label");
        let directory = options.take_text("dir");
        let directory =
            directory.ok_or_else(|| Error::invalid("vvfat block driver requires a 'dir' option"))?;
        let label = padded(label.as_deref().unwrap_or(OsStr::new("QEMU VVFAT")))?;
        Ok(Self { directory, fat_bits, medium, label, writable, spelled, generic, unknown: options })
    }
}

fn padded(label: &OsStr) -> Result<[u8; 11]> {
    let mut padded = [b' '; 11];
    let place = padded.get_mut(..label.len());
    let place = place.ok_or_else(|| Error::invalid("vvfat label cannot be longer than 11 bytes"))?;
    place.copy_from_slice(label.as_bytes());
    Ok(padded)
}

/// Puts what `fat:[WORD:…]DIR` says among the options. A word that means nothing is passed over.
fn put_name(filename: &OsStr, options: &mut Dict) -> Result<()> {
    let name = filename.as_bytes();
    if !name.starts_with(b"fat:") {
        return Err(Error::invalid("File name string must start with 'fat:'"));
    }
    let has = |word: &[u8]| name.windows(word.len()).any(|part| part == word);
    let words: [(&[u8], i64); 3] = [(b":32:", 32), (b":16:", 16), (b":12:", 12)];
    let bits = words.into_iter().find(|(word, _)| has(word)).map_or(0, |(_, bits)| bits);
    let colon = name.iter().rposition(|byte| *byte == b':').unwrap_or_default();
    // A single letter before the last colon is a drive of another system.
    let start = match name.get(colon.wrapping_sub(2)..colon) {
        Some([b':', letter]) if letter.is_ascii_alphabetic() => colon - 1,
        _ => colon + 1,
    };
    options.put("dir", Scalar::text(name.get(start..).unwrap_or_default()));
    options.put("fat-type", Scalar::Integer(bits));
    options.put("floppy", Scalar::Bool(has(b":floppy:")));
    options.put("rw", Scalar::Bool(has(b":rw:")));
    Ok(())
}
