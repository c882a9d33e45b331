//! How new images are to be encrypted.

use std::sync::Arc;

use crypto::luks::NewVolume;
use crypto::{CipherKind, Hash, IvKind, Mode, Scheme, Secret};

use crate::create::CreateOptions;
use crate::{Error, OpenContext, Result};

/// Milliseconds that trying a passphrase takes if nothing else is said.
pub(super) const DEFAULT_ITER_TIME: u64 = 2000;

/// Options of one format, all of which begin the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefixed<'a> {
    /// The options.
    pub(crate) options: &'a CreateOptions,
    /// What they begin with.
    pub(crate) prefix: &'static str,
}

impl Prefixed<'_> {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.options
            .text(&format!("{}{name}", self.prefix))
            .map(|text| String::from_utf8_lossy(text).into_owned())
    }

    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.options.is_given(&format!("{}{name}", self.prefix))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.options.number(&format!("{}{name}", self.prefix))
    }

    /// What an option's value names, or nothing if it is not given.
    pub(crate) fn choice<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(&text)
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("Parameter '{name}' does not accept value '{text}'")))
    }

    /// The LUKS volume that they describe.
    pub(crate) fn volume(&self) -> Result<NewVolume> {
        let cipher = self.text("cipher-alg").map(|name| CipherKind::from_name(&name)).transpose()?;
        let mode = self.choice("cipher-mode", Mode::from_name)?;
        let iv = self.choice("ivgen-alg", IvKind::from_name)?.unwrap_or(IvKind::Plain64);
        let iv_hash = self.choice("ivgen-hash-alg", Hash::from_name)?;
        let hash = self.choice("hash-alg", Hash::from_name)?;
        let scheme = Scheme {
            cipher: cipher.unwrap_or(CipherKind::Aes256),
            mode: mode.unwrap_or(Mode::Xts),
            iv,
            iv_hash: iv_hash.or((iv == IvKind::Essiv).then_some(Hash::Sha256)),
        };
        let iter_time = self.number("iter-time").unwrap_or(DEFAULT_ITER_TIME);
        Ok(NewVolume { scheme, hash: hash.unwrap_or(Hash::Sha256), iter_time })
    }

    /// Whether key slots are to be active.
    pub(super) fn state(&self) -> Result<Option<bool>> {
        self.choice("state", |name| match name {
            "active" => Some(true),
            "inactive" => Some(false),
            _ => None,
        })
    }

    /// The passphrase that they name.
    pub(crate) fn passphrase(&self, context: &OpenContext<'_>) -> Result<Arc<Secret>> {
        passphrase(context, self.text("key-secret").as_deref(), self.prefix)
    }
}

/// The passphrase that an option refers to, which there must be.
pub(crate) fn passphrase(
    context: &OpenContext<'_>,
    key_secret: Option<&str>,
    prefix: &str,
) -> Result<Arc<Secret>> {
    let Some(id) = key_secret else {
        return Err(Error::invalid(format!("Parameter '{prefix}key-secret' is required for cipher")));
    };
    context.passphrase(id.as_bytes())
}
