//! The operations.

pub mod bench;
pub mod compare;
