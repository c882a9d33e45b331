//! QEMU copy-on-write, versions 2 and 3.
//!
//! ```text
//!   first cluster            header · extensions · backing file name
//!        │ l1                     │ refcount table      │ snapshots      │ bitmaps
//!        ▼                        ▼                     ▼                ▼
//!   L1 table ──► L2 tables    refcount blocks      table of L1s     directory ──► tables
//!                    │
//!                    ▼
//!              guest clusters: normal · zero · compressed · (32 subclusters each)
//! ```
//!
//! * [`header`], [`feature`], [`extension`], [`entry`]: one door each from bytes to meaning.
//! * [`geometry`]: sizes and index arithmetic.

pub mod entry;
pub mod extension;
pub mod feature;
pub mod geometry;
pub mod header;
