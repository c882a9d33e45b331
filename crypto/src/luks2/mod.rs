//! LUKS version 2 (LUKS2 On-Disk Format Specification 1.1.3): volumes that others have made.
//!
//! ```text
//!   two binary headers, each with a JSON area ──► the newer one that is whole
//!      keyslots ──► key material, encrypted with a key that Argon2 or PBKDF2 makes of a passphrase
//!      digests  ──► whether that was the volume's key
//!      segments ──► where the payload is, and how it is encrypted
//! ```
//!
//! Offsets are bytes from the header's first. Nothing here reads files: callers hand in bytes.

mod header;
mod kdf;
mod keys;
mod metadata;
#[cfg(test)]
mod tests;

pub use self::header::Header;
pub use self::kdf::{Kdf, Variant};
pub use self::metadata::{Metadata, Segment, Slot};
