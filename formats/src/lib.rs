//! Disk image formats.
//!
//! A [`Driver`] says *where* guest bytes are; it does not move them. One [`engine`] reads, writes,
//! zeroes, (de)compresses and walks backing chains for all of them.
//!
//! ```text
//!   block options ──► open ──► Image { driver, backing: Option<Arc<Image>> }
//!                                  │
//!              engine: status, read, write over a chain
//!                                  │
//!                 Driver: map │ Writer: prepare → (engine writes) → link → commit
//!                                  │
//!                            journal::Disk
//! ```
//!
//! # Contracts
//!
//! * **Every image is hostile.** A driver validates a header once, at its door; offsets, sizes,
//!   counts and loops are bounded before anything is allocated, and no input panics.
//! * **Mappings are long.** [`Driver::map`] answers with a run as long as the metadata can prove
//!   cheaply, not one cluster at a time.
//! * **Files opened because an image names them** pass [`Gate`].

pub mod amend;
pub mod bitmaps;
mod blkdebug;
mod bochs;
mod cloop;
pub mod codec;
pub mod context;
pub mod create;
mod differencing;
mod dirty_runs;
mod dmg;
pub mod driver;
mod encryption;
pub mod engine;
pub mod error;
mod filter;
pub mod format;
pub mod image;
pub mod inspect;
pub mod json;
mod layered;
mod luks;
mod made_up;
pub mod mapping;
pub mod notice;
mod null;
pub mod numbers;
pub mod open;
pub mod options;
mod overlay;
mod paged_table;
mod parallels;
mod prl_xml;
pub mod probe;
mod qcow;
pub mod qcow2;
mod qed;
mod quorum;
pub mod raw;
mod registry;
pub mod repair;
mod resizable;
pub mod resize;
pub mod secrets;
mod sector_bitmap;
pub mod shown;
pub mod snapshots;
pub mod throttle;
mod two_level;
pub mod units;
mod uuid;
mod vdi;
mod vhdx;
mod vmdk;
pub mod vpc;
pub mod vvfat;
mod window;
mod windows_name;

pub use amend::{Amend, Amendment};
pub use bitmaps::{BitmapWriter, Recording};
pub use context::{CacheMode, Gate, ImplicitFile, OpenContext, OpenFlags, PermissiveGate};
pub use driver::{
    Allocation, BackingReference, BitmapInfo, Bitmaps, CheckReport, Codec, Compressing, Compression, Driver,
    Durability, Finding, FormatDetails, ImageFile, SnapshotInfo, Snapshots, Writer,
};
pub use error::{Error, ErrorKind, Result};
pub use format::Format;
pub use image::{Below, Child, FileNode, Image, NodeName};
pub use mapping::{CompressedRun, Framing, Holes, Mapping, Stream, Target};
pub use open::{open_filename, open_image_opts};
pub use overlay::{DiskIdentity, Overlay};
pub use repair::{Repair, Repaired, Repairer};
pub use resize::{NewSize, Resize};
pub use snapshots::{NewSnapshot, SnapshotWriter};
pub use units::{GuestOffset, HostOffset};
