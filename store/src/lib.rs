//! Operations on images, one file per operation.
//!
//! An operation takes a typed request and returns a typed result. It prints nothing and parses no
//! arguments.

#[cfg_attr(not(test), expect(dead_code, reason = "used by convert and dd"))]
mod copy;
mod name;
pub mod ops;
mod progress;
mod select;

pub use name::ImageName;
pub use progress::{NoProgress, Progress};
pub use select::SnapshotSelector;
