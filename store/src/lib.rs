//! Operations on images, one file per operation.
//!
//! An operation takes a typed request and returns a typed result. It prints nothing and parses no
//! arguments.

pub mod catalog;
mod chain;
mod copy;
mod journals;
mod name;
pub mod ops;
mod progress;
mod select;
mod side;
mod target;
mod workers;

pub use journals::journals_below;
pub use name::ImageName;
pub use progress::{NoProgress, Progress};
pub use select::SnapshotSelector;
pub use target::NewTarget;
