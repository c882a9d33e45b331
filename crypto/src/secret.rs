//! Secrets: passphrases and keys that options refer to by id.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::mode::Moded;
use crate::{CipherKind, Error, Mode, Result};

/// Bytes of the key that other secrets are encrypted with.
const KEY_LEN: usize = 32;
/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// A secret, wiped when it is dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How a secret is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As it is.
    #[default]
    Raw,
    /// In base64.
    Base64,
}

/// A secret as it is given.
#[derive(Debug)]
pub struct SecretSource<'a> {
    /// What it was given, or what its file holds.
    pub bytes: Secret,
    /// How that is written down.
    pub encoding: Encoding,
    /// The secret that this one is encrypted with, and the initialisation vector in base64.
    pub encryption: Option<(&'a [u8], Option<&'a [u8]>)>,
}

/// The objects of a command by their ids. Those that are no secrets are known as such.
#[derive(Debug, Default)]
pub struct Secrets {
    objects: Mutex<BTreeMap<Vec<u8>, Object>>,
}

#[derive(Debug)]
enum Object {
    Secret(Arc<Secret>),
    /// What it is, whoever asks for it knows.
    Other(Arc<dyn Any + Send + Sync>),
}

impl Secrets {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that id is taken.
    pub fn contains(&self, id: &[u8]) -> bool {
        self.objects().contains_key(id)
    }

    /// Keeps an object that is no secret.
    pub fn keep_other(&self, id: &[u8], object: Arc<dyn Any + Send + Sync>) {
        self.objects().insert(id.to_vec(), Object::Other(object));
    }

    /// The object of that id, if it is one of that type and no secret.
    pub fn other<T: Any + Send + Sync>(&self, id: &[u8]) -> Option<Arc<T>> {
        match self.objects().get(id)? {
            Object::Other(object) => Arc::clone(object).downcast().ok(),
            Object::Secret(_) => None,
        }
    }

    /// Keeps a secret.
    pub fn keep(&self, id: &[u8], secret: Secret) {
        self.objects().insert(id.to_vec(), Object::Secret(Arc::new(secret)));
    }

    /// The secret of that id.
    pub fn get(&self, id: &[u8]) -> Result<Arc<Secret>> {
        let shown = || String::from_utf8_lossy(id).into_owned();
        match self.objects().get(id) {
            Some(Object::Secret(secret)) => Ok(Arc::clone(secret)),
            Some(Object::Other(_)) => {
                Err(Error::invalid(format!("Object with id '{}' is not a secret", shown())))
            }
            None => Err(Error::NotFound(format!("No secret with id '{}'", shown()))),
        }
    }

    /// The secret of that id, which must be text.
    pub fn passphrase(&self, id: &[u8]) -> Result<Arc<Secret>> {
        let secret = self.get(id)?;
        if secret.bytes().contains(&0) || std::str::from_utf8(secret.bytes()).is_err() {
            let id = String::from_utf8_lossy(id);
            return Err(Error::invalid(format!("Data from secret {id} is not valid UTF-8")));
        }
        Ok(secret)
    }

    /// Decodes a secret as it is given, and decrypts it with another one.
    pub fn decode(&self, source: &SecretSource<'_>) -> Result<Secret> {
        let decoded = |source: &SecretSource<'_>| match source.encoding {
            Encoding::Raw => Ok(Secret::new(source.bytes.bytes().to_vec())),
            Encoding::Base64 => decode_base64(source.bytes.bytes()),
        };
        let Some((key_id, iv)) = source.encryption else { return decoded(source) };
        let key = self.get(key_id)?;
        if key.bytes().len() != KEY_LEN {
            return Err(Error::invalid(format!("Key should be {KEY_LEN} bytes in length")));
        }
        let iv = iv.ok_or_else(|| Error::invalid("IV is required to decrypt secret"))?;
        let iv = decode_base64(iv)?;
        let iv = <[u8; BLOCK]>::try_from(iv.bytes()).map_err(|_| {
            let len = iv.bytes().len();
            Error::invalid(format!("IV should be {BLOCK} bytes in length not {len}"))
        })?;
        decrypt(key.bytes(), &iv, decoded(source)?)
    }
}

/// Decrypts and takes the padding away.
fn decrypt(key: &[u8], iv: &[u8; BLOCK], mut secret: Secret) -> Result<Secret> {
    let bytes = &mut secret.0;
    let len = bytes.len();
    if !len.is_multiple_of(BLOCK) {
        return Err(Error::invalid(format!("Length {len} must be a multiple of block size {BLOCK}")));
    }
    Moded::new(CipherKind::Aes256, Mode::Cbc, key)?.decrypt(iv, bytes);
    let Some(&padding) = bytes.last() else { return Ok(secret) };
    if usize::from(padding) > BLOCK || usize::from(padding) > len {
        let text = format!("Incorrect number of padding bytes ({padding}) found on decrypted data");
        return Err(Error::invalid(text));
    }
    bytes.truncate(len - usize::from(padding));
    Ok(secret)
}

/// The value of a character of base64; padding counts as zero, line breaks as nothing.
fn sextet(character: u8) -> Result<Option<u32>> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b'=' => 0,
        b'\n' => return Ok(None),
        _ => return Err(Error::invalid("Base64 data contains invalid characters")),
    };
    Ok(Some(value.into()))
}

/// Decodes base64 as GLib does: what is left of an incomplete group is dropped.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let (mut group, mut count, mut padding) = (0_u32, 0, 0);
    for &character in text {
        if character == 0 {
            return Err(Error::invalid("Base64 data contains embedded NUL characters"));
        }
        let Some(value) = sextet(character)? else { continue };
        padding = if character == b'=' { padding + 1 } else { 0 };
        group = (group << 6) | value;
        count += 1;
        if count == 4 {
            let [_, first, second, third] = group.to_be_bytes();
            let kept = 3 - usize::min(padding, 2);
            bytes.extend_from_slice(&[first, second, third][..kept]);
            (group, count) = (0, 0);
        }
    }
    Ok(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(text: &str) -> Result<Vec<u8>> {
        decode_base64(text.as_bytes()).map(|secret| secret.bytes().to_vec())
    }

    #[test]
    fn base64_is_read_as_glib_reads_it() {
        assert_eq!(base64("cGFzcw==").unwrap(), b"pass");
        assert_eq!(base64("cGFz\ncw==\n").unwrap(), b"pass");
        assert_eq!(base64("cGFzcw").unwrap(), b"pas");
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("AAEC").unwrap(), [0, 1, 2]);
        assert!(base64("cGF zcw==").is_err());
    }

    #[test]
    fn a_secret_is_decrypted_with_another() {
        let secrets = Secrets::default();
        secrets.keep(b"key", Secret::new(vec![0; 32]));
        secrets.keep(b"short", Secret::new(vec![0; 16]));
        secrets.keep_other(b"other", Arc::new(()));
        let told = |text: &str, key: &'static str, iv: Option<&str>| {
            let source = SecretSource {
                bytes: Secret::new(text.as_bytes().to_vec()),
                encoding: Encoding::Base64,
                encryption: Some((key.as_bytes(), iv.map(str::as_bytes))),
            };
            match secrets.decode(&source) {
                Ok(secret) => String::from_utf8_lossy(secret.bytes()).into_owned(),
                Err(error) => error.to_string(),
            }
        };
        let zero = Some("AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(told("pxS9xdH2w1nNcA00YmbPEw==", "key", zero), "pass");
        assert_eq!(told("AAAA", "key", zero), "Length 3 must be a multiple of block size 16");
        assert_eq!(told("AAAA", "key", Some("AAAA")), "IV should be 16 bytes in length not 3");
        assert_eq!(told("AAAA", "key", None), "IV is required to decrypt secret");
        assert_eq!(told("AAAA", "short", zero), "Key should be 32 bytes in length");
        assert_eq!(told("AAAA", "other", zero), "Object with id 'other' is not a secret");
        assert_eq!(told("AAAA", "none", zero), "No secret with id 'none'");
    }
}
