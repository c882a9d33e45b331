//! Initialisation vectors from sector numbers.

use crate::cipher::Blocks;
use crate::mode::Iv;
use crate::{CipherKind, Hash, Result};

/// How a sector's number becomes its initialisation vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IvKind {
    /// The low 32 bits of the number.
    Plain,
    /// The number.
    Plain64,
    /// The number, encrypted with a digest of the key.
    Essiv,
}

impl IvKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Plain64, Self::Essiv];

    /// The name as it is typed and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Plain64 => "plain64",
            Self::Essiv => "essiv",
        }
    }

    /// The generator of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A generator of initialisation vectors.
#[derive(Debug)]
pub(crate) enum IvGenerator {
    /// See [`IvKind::Plain`].
    Plain,
    /// See [`IvKind::Plain64`].
    Plain64,
    /// See [`IvKind::Essiv`], with the cipher that encrypts the number and its block.
    Essiv(Box<dyn Blocks>, usize),
}

impl IvGenerator {
    /// A generator for a cipher with a key.
    pub(crate) fn new(kind: IvKind, hash: Option<Hash>, cipher: CipherKind, key: &[u8]) -> Result<Self> {
        match kind {
            IvKind::Plain => Ok(Self::Plain),
            IvKind::Plain64 => Ok(Self::Plain64),
            IvKind::Essiv => {
                let hash = hash.unwrap_or(Hash::Sha256);
                let salted = cipher.for_digest(hash.digest_len())?;
                Ok(Self::Essiv(salted.keyed(&hash.digest(&[key]))?, salted.block_len()))
            }
        }
    }

    /// The vector of a sector.
    pub(crate) fn vector(&self, sector: u64) -> Iv {
        let mut iv = Iv::default();
        match self {
            Self::Plain => iv[..4].copy_from_slice(&(sector as u32).to_le_bytes()),
            Self::Plain64 => iv[..8].copy_from_slice(&sector.to_le_bytes()),
            Self::Essiv(cipher, block) => {
                iv[..8].copy_from_slice(&sector.to_le_bytes());
                cipher.encrypt(&mut iv[..*block]);
            }
        }
        iv
    }
}
