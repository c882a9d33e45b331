//! The one engine that moves guest bytes, for all formats and whole backing chains.
//!
//! ```text
//!   status   what a range is: data, zero, allocated where, at which depth
//!   read     guest bytes through a chain, decompressed
//!   write    any range, aligned to what the format can allocate
//!   zeroes   looking for zeroes at memory speed
//!   ordered  many workers, one order
//! ```

mod ordered;
mod read;
mod status;
mod write;
mod zeroes;

pub use ordered::{Turn, run_ordered};
pub use read::{Reader, read};
pub use status::{Status, layer_status, status, status_above, told_layer_status, told_status};
pub use write::{Write, write};
pub use zeroes::{Run, is_zero, runs};
