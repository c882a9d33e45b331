//! A new image is all or nothing.
//!
//! `convert` and `create` are killed at every system call and at many moments between, meet full
//! disks, input/output errors and missing permissions. Under the target's name there is the old
//! image or a whole new one, never a part of one.
//!
//! Needs `qemu-img` and `strace`. As root it also mounts a small filesystem and drops its
//! privileges; without being root it says what it leaves out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

mod bench;
mod denied;
mod existing;
mod faults;
mod full;
mod killed;
mod streams;
