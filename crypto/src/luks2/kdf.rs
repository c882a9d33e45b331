//! Keys from passphrases.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, Hash, Result};

/// The most memory that a passphrase may take, in KiB: what cryptsetup gives it at most by itself.
const MAX_MEMORY: u32 = 1 << 20;
/// The most that is done for a passphrase, in KiB of memory that are gone over.
const MAX_WORK: u64 = 1 << 28;
/// The most lanes (section 3.2.3).
const MAX_LANES: u32 = 64;

/// How a passphrase becomes a key (section 3.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kdf {
    /// RFC 8018.
    Pbkdf2 {
        /// The hash.
        hash: Hash,
        /// How often.
        iterations: u32,
    },
    /// RFC 9106.
    Argon2 {
        /// Which of its variants, as it is stored.
        variant: Variant,
        /// Passes over the memory.
        time: u32,
        /// KiB.
        memory: u32,
        /// What could be done at once.
        lanes: u32,
    },
}

/// A variant of Argon2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Its way through memory does not depend on the passphrase.
    I,
    /// It does, but for the first half of the first pass.
    Id,
}

impl Kdf {
    /// The name as it is stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pbkdf2 { .. } => "pbkdf2",
            Self::Argon2 { variant: Variant::I, .. } => "argon2i",
            Self::Argon2 { variant: Variant::Id, .. } => "argon2id",
        }
    }

    /// Derives a key.
    pub(super) fn derive(&self, passphrase: &[u8], salt: &[u8], key: &mut [u8]) -> Result<()> {
        match *self {
            Self::Pbkdf2 { hash, iterations } => {
                hash.derive(passphrase, salt, iterations, key);
                Ok(())
            }
            Self::Argon2 { variant, time, memory, lanes } => {
                if memory > MAX_MEMORY {
                    return Err(Error::unsupported(format!(
                        "The key slot needs {memory} KiB of memory, and no more than {MAX_MEMORY} KiB are used"
                    )));
                }
                if u64::from(memory) * u64::from(time) > MAX_WORK || lanes > MAX_LANES {
                    return Err(Error::unsupported(format!(
                        "The key slot wants {time} passes over {memory} KiB in {lanes} lanes, which is too much"
                    )));
                }
                let unusable =
                    |error: argon2::Error| Error::corrupt(format!("The key slot cannot be used: {error}"));
                let params = Params::new(memory, time, lanes, None).map_err(unusable)?;
                let algorithm = if variant == Variant::I { Algorithm::Argon2i } else { Algorithm::Argon2id };
                let mut blocks = Memory::new(params.block_count(), memory)?;
                Argon2::new(algorithm, Version::V0x13, params)
                    .hash_password_into_with_memory(passphrase, salt, key, &mut blocks.0)
                    .map_err(unusable)
            }
        }
    }
}

/// What Argon2 works in, wiped when it is dropped.
struct Memory(Vec<Block>);

impl Memory {
    fn new(blocks: usize, kib: u32) -> Result<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(blocks).map_err(|_| {
            Error::unsupported(format!("There are not the {kib} KiB of memory that the key slot needs"))
        })?;
        memory.resize(blocks, Block::default());
        Ok(Self(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// A key that is wiped when it is dropped.
pub(super) fn new_key(len: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_refused_before_it_is_done() {
        let kdf = |memory, time| Kdf::Argon2 { variant: Variant::Id, time, memory, lanes: 4 };
        let derive = |kdf: Kdf| kdf.derive(b"pass", &[7; 32], &mut [0; 64]);
        assert!(derive(kdf(64, 1)).is_ok());
        let refused = |memory, time| derive(kdf(memory, time)).unwrap_err().to_string();
        assert!(refused(MAX_MEMORY + 1, 1).contains("needs 1048577 KiB of memory"));
        assert!(refused(MAX_MEMORY, 1000).contains("too much"));
        assert!(refused(1, 1).contains("cannot be used") && refused(64, 0).contains("cannot be used"));
    }
}
