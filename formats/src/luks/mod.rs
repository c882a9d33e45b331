//! LUKS: Linux's disk encryption.
//!
//! A header with key slots, and the guest's bytes behind it, or in another file, encrypted. Without
//! that it is raw, and raw's driver does the rest.

mod create;
mod header;
mod version2;
mod writer;

use std::sync::Arc;

use crypto::Secret;
use journal::{Access, Disk};
use serde_json::json;

pub(crate) use self::create::{lay_out, measure};
use self::header::HeaderFile;
use self::version2::Version2;
use crate::encryption::details::{Placed, luks};
use crate::encryption::{self, Encryption, Numbering};
use crate::options::RawOptions;
use crate::options::luks::LuksOptions;
use crate::raw::{Raw, sectors};
use crate::{
    Driver, Error, ErrorKind, Format, FormatDetails, GuestOffset, ImageFile, Mapping, OpenContext, OpenFlags,
    Result, Writer,
};

/// A LUKS volume.
#[derive(Debug)]
pub struct Luks {
    header: AnyHeader,
    /// The encrypted bytes.
    raw: Raw,
    /// Nothing if the image was opened without its data.
    encryption: Option<Encryption>,
    /// What opens it, for changes of its key slots.
    passphrase: Option<Arc<Secret>>,
    access: Access,
}

/// A header of either version.
#[derive(Debug)]
enum AnyHeader {
    /// Version 1, whose key slots can be changed.
    One(Box<HeaderFile>),
    /// Version 2.
    Two(Version2),
}

impl Luks {
    /// A volume in a file, whose header may be in another one.
    pub fn open(
        disk: Arc<dyn Disk>,
        header_disk: Option<Arc<dyn Disk>>,
        options: &LuksOptions,
        context: &OpenContext<'_>,
        flags: &OpenFlags,
    ) -> Result<Self> {
        let passphrase = match flags.data {
            true => Some(encryption::options::passphrase(context, options.key_secret.as_deref(), "")?),
            false => None,
        };
        let placed = if header_disk.is_some() { Placed::Detached } else { Placed::Attached };
        let header_disk = header_disk.unwrap_or_else(|| Arc::clone(&disk));
        let in_place = header_disk.in_place().unwrap_or_else(|| Arc::clone(&header_disk));
        if let Some(header) = version2::find(&*in_place, placed)? {
            let cipher = passphrase.as_ref().map(|secret| header.unlock(&*in_place, secret)).transpose()?;
            let (offset, size) = header.payload(disk.len()?)?;
            let options = RawOptions { offset, size: Some(size), ..RawOptions::default() };
            let raw = Raw::open(disk, &options, flags.access)?;
            let encryption = cipher.map(|cipher| Encryption::new(cipher, Numbering::Guest));
            return Ok(Self {
                header: AnyHeader::Two(header),
                raw,
                encryption,
                passphrase,
                access: flags.access,
            });
        }
        let header = HeaderFile::open(header_disk, placed)?;
        let cipher = passphrase.as_ref().map(|passphrase| header.unlock(passphrase)).transpose()?;
        let offset = header.payload_in_image();
        if offset > sectors(disk.len()?) {
            let reason = Error::new(ErrorKind::Io, "Input/output error");
            return Err(reason.context("Could not refresh total sector count"));
        }
        let raw = Raw::open(disk, &RawOptions { offset, ..RawOptions::default() }, flags.access)?;
        let encryption = cipher.map(|cipher| Encryption::new(cipher, Numbering::Guest));
        Ok(Self {
            header: AnyHeader::One(Box::new(header)),
            raw,
            encryption,
            passphrase,
            access: flags.access,
        })
    }

    fn encryption(&self) -> Result<&Encryption> {
        self.encryption.as_ref().ok_or_else(|| Error::invalid("The image was opened without its key"))
    }
}

impl Driver for Luks {
    fn format(&self) -> Format {
        Format::Luks
    }

    fn virtual_size(&self) -> u64 {
        self.raw.virtual_size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        Ok(self.encryption()?.decrypted(self.raw.map(at, len)?, at))
    }

    fn details(&self) -> Result<FormatDetails> {
        let data = match &self.header {
            AnyHeader::One(header) => luks(&header.header(), None, header.placed()),
            AnyHeader::Two(header) => header.details(),
        };
        Ok(FormatDetails {
            encrypted: true,
            dirty: Some(false),
            specific: Some(json!({ "type": "luks", "data": data })),
            ..FormatDetails::default()
        })
    }

    fn files(&self) -> Vec<ImageFile> {
        self.raw.files()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == Access::Write && self.encryption.is_some()).then_some(self as _)
    }
}
