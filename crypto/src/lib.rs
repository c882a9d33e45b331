//! What encrypted disk images are made of, without any file.
//!
//! ```text
//!   secret    --object secret: passphrases and keys, decoded, wiped from memory
//!   hash      digests and PBKDF2
//!   cipher    algorithms ──► mode ──► iv ──► sectors: disk sectors there and back
//!   split     anti-forensic splitting of keys
//!   luks      LUKS version 1: header, key slots, new volumes
//!   luks2     LUKS version 2: header and key slots, read
//! ```
//!
//! Messages are the ones that qemu-img prints. Whatever is a key or leads to one is wiped when it is
//! dropped.

mod cipher;
mod error;
mod hash;
mod iv;
pub mod luks;
pub mod luks2;
mod mode;
mod random;
mod secret;
mod sectors;
mod split;

pub use self::cipher::CipherKind;
pub use self::error::{Error, Result};
pub use self::hash::Hash;
pub use self::iv::IvKind;
pub use self::mode::Mode;
pub use self::secret::{Encoding, Secret, SecretSource, Secrets};
pub use self::sectors::{SECTOR, Scheme, SectorCipher};
