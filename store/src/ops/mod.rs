//! The operations.

pub mod bench;
pub mod bitmap;
pub mod check;
pub mod commit;
pub mod compare;
pub mod convert;
pub mod create;
pub mod dd;
pub mod digest;
pub mod info;
pub mod map;
pub mod measure;
pub mod mv;
pub mod rebase;
pub mod rm;
pub mod snapshot;
