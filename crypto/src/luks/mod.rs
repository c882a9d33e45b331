//! LUKS version 1 (LUKS On-Disk Format Specification 1.2.3).
//!
//! ```text
//!   header · slot 0 … 7 ──► key material, split in stripes, encrypted with a passphrase
//!                                 │
//!   payload ◄── SectorCipher ◄── master key
//! ```
//!
//! Offsets are bytes from the header's first. Nothing here reads or writes files: callers hand in bytes.

mod header;
mod keys;
mod volume;

pub(crate) use self::header::scheme;
pub use self::header::{Header, Payload, SLOTS, Slot};
pub use self::keys::MasterKey;
pub use self::volume::{Material, NewVolume, SlotChange};
