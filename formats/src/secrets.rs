//! Passphrases and keys that options refer to by id.

pub use crypto::{Encoding, Secret, SecretSource, Secrets};
