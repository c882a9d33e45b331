//! The operations.

pub mod compare;
