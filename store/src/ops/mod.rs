//! The operations.

pub mod bench;
pub mod compare;
pub mod convert;
pub mod dd;
