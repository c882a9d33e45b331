//! Block ciphers.

use std::fmt;

use aes::{Aes128, Aes192, Aes256};
use cast5::Cast5;
use cipher::array::Array;
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use serpent::Serpent;
use twofish::Twofish;

use crate::{Error, Result};

/// An algorithm and its key size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherKind {
    /// AES with a key of 16 bytes.
    Aes128,
    /// AES with a key of 24 bytes.
    Aes192,
    /// AES with a key of 32 bytes.
    Aes256,
    /// CAST-128, whose blocks have 8 bytes.
    Cast5,
    /// Serpent with a key of 16 bytes.
    Serpent128,
    /// Serpent with a key of 24 bytes.
    Serpent192,
    /// Serpent with a key of 32 bytes.
    Serpent256,
    /// Twofish with a key of 16 bytes.
    Twofish128,
    /// Twofish with a key of 24 bytes.
    Twofish192,
    /// Twofish with a key of 32 bytes.
    Twofish256,
}

/// Names of ciphers that exist, but not here; nor does stock have them as it is built.
const ELSEWHERE: [&str; 3] = ["des", "3des", "sm4"];

impl CipherKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Aes128,
        Self::Aes192,
        Self::Aes256,
        Self::Cast5,
        Self::Serpent128,
        Self::Serpent192,
        Self::Serpent256,
        Self::Twofish128,
        Self::Twofish192,
        Self::Twofish256,
    ];

    /// The name as it is typed and printed: `aes-256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes-128",
            Self::Aes192 => "aes-192",
            Self::Aes256 => "aes-256",
            Self::Cast5 => "cast5-128",
            Self::Serpent128 => "serpent-128",
            Self::Serpent192 => "serpent-192",
            Self::Serpent256 => "serpent-256",
            Self::Twofish128 => "twofish-128",
            Self::Twofish192 => "twofish-192",
            Self::Twofish256 => "twofish-256",
        }
    }

    /// The cipher that a person names.
    pub fn from_name(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok(kind),
            None if ELSEWHERE.contains(&name) => {
                Err(Error::unsupported(format!("Algorithm '{name}' not supported")))
            }
            None => Err(Error::invalid(format!("Parameter 'cipher-alg' does not accept value '{name}'"))),
        }
    }

    /// The name of the algorithm as LUKS stores it: `aes`.
    pub fn algorithm(self) -> &'static str {
        let name = self.name();
        name.split_once('-').map_or(name, |(algorithm, _)| algorithm)
    }

    /// The algorithm as sentences name it.
    fn spoken(self) -> &'static str {
        match self.algorithm() {
            "aes" => "AES",
            "serpent" => "Serpent",
            "twofish" => "Twofish",
            other => other,
        }
    }

    /// The cipher of that algorithm with keys of that many bytes.
    pub(crate) fn with_key_len(algorithm: &str, len: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.algorithm() == algorithm && kind.key_len() == len)
    }

    /// The cipher of the same algorithm for keys that are digests of that many bytes.
    pub(crate) fn for_digest(self, len: usize) -> Result<Self> {
        if self == Self::Cast5 && len != self.key_len() {
            return Err(Error::unsupported(format!("Cipher {} not supported with essiv", self.name())));
        }
        Self::with_key_len(self.algorithm(), len).ok_or_else(|| {
            Error::unsupported(format!("No {} cipher with key size {len} available", self.spoken()))
        })
    }

    /// Bytes of a key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128 | Self::Cast5 | Self::Serpent128 | Self::Twofish128 => 16,
            Self::Aes192 | Self::Serpent192 | Self::Twofish192 => 24,
            Self::Aes256 | Self::Serpent256 | Self::Twofish256 => 32,
        }
    }

    /// Bytes of a block.
    pub fn block_len(self) -> usize {
        if self == Self::Cast5 { 8 } else { 16 }
    }

    /// The cipher with a key.
    pub(crate) fn keyed(self, key: &[u8]) -> Result<Box<dyn Blocks>> {
        match self {
            Self::Aes128 => keyed::<Aes128>(key),
            Self::Aes192 => keyed::<Aes192>(key),
            Self::Aes256 => keyed::<Aes256>(key),
            Self::Cast5 => keyed::<Cast5>(key),
            Self::Serpent128 | Self::Serpent192 | Self::Serpent256 => keyed::<Serpent>(key),
            Self::Twofish128 | Self::Twofish192 | Self::Twofish256 => keyed::<Twofish>(key),
        }
    }
}

fn keyed<C>(key: &[u8]) -> Result<Box<dyn Blocks>>
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync + 'static,
{
    let cipher = C::new_from_slice(key)
        .map_err(|_| Error::unsupported(format!("A key of {} bytes does not fit its cipher", key.len())))?;
    Ok(Box::new(Keyed(cipher)))
}

/// A cipher with its key, which encrypts each block of a buffer by itself.
pub(crate) trait Blocks: Send + Sync {
    /// Encrypts whole blocks; what is behind the last whole one stays.
    fn encrypt(&self, bytes: &mut [u8]);
    /// Decrypts whole blocks; what is behind the last whole one stays.
    fn decrypt(&self, bytes: &mut [u8]);
}

impl fmt::Debug for dyn Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocks")
    }
}

/// The `zeroize` features of the ciphers' crates wipe their key schedules on drop.
struct Keyed<C>(C);

impl<C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser + Send + Sync> Blocks for Keyed<C> {
    fn encrypt(&self, bytes: &mut [u8]) {
        self.0.encrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
    }

    fn decrypt(&self, bytes: &mut [u8]) {
        self.0.decrypt_blocks(Array::slice_as_chunks_mut(bytes).0);
    }
}
