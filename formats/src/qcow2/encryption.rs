//! Encrypted images: opening them with a passphrase, and the LUKS header inside an image.

use std::fmt;
use std::sync::Arc;

use crypto::luks::{Header as LuksHeader, NewVolume, Payload};
use crypto::{Secret, SectorCipher};
use journal::Disk;

use super::extension::EncryptionHeaderLocation;
use super::header::{self, Header};
use crate::create::CreateOptions;
use crate::encryption::amend::Place;
use crate::encryption::options::Prefixed;
use crate::encryption::{Encryption, Numbering};
use crate::error::ResultExt;
use crate::{Error, Result};

/// Finds the passphrase of an image that is encrypted in this way.
pub type FindPassphrase<'a> = dyn Fn(header::Encryption) -> Result<Arc<Secret>> + 'a;

/// What options begin with that are about encryption.
pub(super) const PREFIX: &str = "encrypt.";

/// An encrypted image, as far as it is open.
#[derive(Clone)]
pub(super) struct Encrypted {
    /// The LUKS header, where there is one.
    pub(super) luks: Option<LuksHeader>,
    /// What opens it; nothing if its data is not wanted.
    pub(super) opened: Option<Opened>,
}

/// An encrypted image whose data can be read.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) passphrase: Arc<Secret>,
    pub(super) encryption: Encryption,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").field("luks", &self.luks).finish_non_exhaustive()
    }
}

impl Encrypted {
    /// Reads the LUKS header of an image, and finds its key if there is somebody to ask.
    pub(super) fn open(
        disk: &dyn Disk,
        header: &Header,
        find: Option<&FindPassphrase<'_>>,
    ) -> Result<Option<Self>> {
        let Some(method) = header.encryption else { return Ok(None) };
        let passphrase = find.map(|find| find(method)).transpose()?;
        let location = header.extensions.encryption;
        let luks = location.map(|location| read_luks(disk, location)).transpose()?;
        let opened = passphrase.map(|passphrase| {
            let encryption = match (&luks, location) {
                (Some(luks), Some(location)) => {
                    Encryption::new(place(disk, location).unlock(luks, &passphrase)?, Numbering::Host)
                }
                _ => Encryption::new(SectorCipher::legacy(passphrase.bytes())?, Numbering::Guest),
            };
            Ok::<_, Error>(Opened { passphrase, encryption })
        });
        Ok(Some(Self { luks, opened: opened.transpose()? }))
    }
}

/// The place of a LUKS header inside an image.
pub(super) fn place(disk: &dyn Disk, location: EncryptionHeaderLocation) -> Place<'_> {
    Place { disk, start: location.offset.0, len: Some(location.len) }
}

/// Reads the LUKS header of an image.
fn read_luks(disk: &dyn Disk, location: EncryptionHeaderLocation) -> Result<LuksHeader> {
    let mut bytes = [0; LuksHeader::LEN];
    if location.len < bytes.len() as u64 {
        return Err(Error::corrupt("Request for data outside of extension header"));
    }
    disk.read_padded(location.offset.0, &mut bytes)
        .context(|| "Could not read encryption header".to_owned())?;
    Ok(LuksHeader::parse(&bytes, Payload::Behind)?)
}

/// How a new image is to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewEncryption {
    /// With the passphrase as a key.
    Aes,
    /// With a LUKS header.
    Luks(NewVolume),
}

impl NewEncryption {
    /// Reads the options.
    pub(crate) fn from_options(options: &CreateOptions) -> Result<Option<Self>> {
        let encrypt = Prefixed { options, prefix: PREFIX };
        if options.is_given("encryption") && encrypt.is_given("format") {
            let text = "'encrypt.format' and its alias 'encryption' can't be used at the same time";
            return Err(Error::invalid(text));
        }
        const DETAILS: [&str; 6] =
            ["cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg", "iter-time"];
        let details = DETAILS.into_iter().find(|name| encrypt.is_given(name));
        let format = if options.flag("encryption") { Some("aes".to_owned()) } else { encrypt.text("format") };
        match (format.as_deref(), details) {
            (Some("luks"), _) => Ok(Some(Self::Luks(encrypt.volume()?))),
            (Some("aes"), None) => Ok(Some(Self::Aes)),
            (Some("aes"), Some(name)) => {
                Err(Error::invalid(format!("Parameter '{PREFIX}{name}' is unexpected")))
            }
            (Some(other), _) => {
                Err(Error::invalid(format!("Parameter 'format' does not accept value '{other}'")))
            }
            (None, Some(_)) => Err(Error::invalid(format!("Parameter '{PREFIX}format' is missing"))),
            (None, None) if encrypt.is_given("key-secret") => {
                Err(Error::invalid(format!("Parameter '{PREFIX}format' is missing")))
            }
            (None, None) => Ok(None),
        }
    }

    /// The method as the header names it.
    pub(super) fn method(self) -> header::Encryption {
        match self {
            Self::Aes => header::Encryption::Aes,
            Self::Luks(_) => header::Encryption::Luks,
        }
    }
}
