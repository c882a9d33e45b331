//! Files that survive.
//!
//! This crate is the floor of tximg: every byte that must outlive the process passes it, which is
//! what makes a crash simulable. It knows files, durability, locks and names. It does not know
//! what an image is.
//!
//! ```text
//!            Fs                 names: open, draft, publish, remove
//!           /  \
//!       RealFs  SimFs
//!         |       |
//!        Disk    Disk           bytes: read, write, zero, sync, extents, locks
//!       /    \      \
//!  FileDisk  ...   SimDisk
//! ```
//!
//! # Contracts
//!
//! * **Positioned and shared.** Every [`Disk`] method takes `&self` and an offset; a disk may be
//!   used from many threads. Parallelism is threads above the floor, not async inside it.
//! * **Written is not durable.** Only a returned [`Disk::sync`] makes earlier writes of that disk
//!   durable; only a returned [`Draft::publish`] makes a name durable.
//! * **A failed sync is final.** After it the handle refuses everything
//!   ([`ErrorKind::Latched`]): the kernel may have dropped the dirty pages, so a later success
//!   would prove nothing.
//! * **A new file is all or nothing.** A [`Draft`] is invisible under its target's name until it
//!   is published, and gone if it is dropped.

pub mod aio;
mod buffer;
mod clock;
mod disk;
mod error;
mod fs;
mod lock;
mod log;
mod place;
mod ranges;
mod real;
mod recovery;
pub mod sim;
mod transaction;

pub use buffer::{AlignedBuf, PAGE};
pub use clock::LocalTime;
pub use disk::{Allocate, Disk, DiskKind, DiskStatus, Extent, ExtentKind, Held, Zeroing};
pub use error::{Error, ErrorKind, Result, reason};
pub use fs::{Access, Caching, Draft, DraftOptions, Following, Fs, OpenOptions, StageNames, StagedFile};
pub use lock::{Claim, Permissions, RefusedLock};
pub use place::SUFFIX;
pub use ranges::RangeSet;
pub use real::{Holder, HostFile, HostNames, HostStatus, RealFs};
pub use recovery::{Finding, Outcome, Recovery};
pub use sim::SimFs;
pub use transaction::{Change, ChangeKind, Interrupt, Moment, Transaction};
