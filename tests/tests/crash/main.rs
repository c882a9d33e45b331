//! What a power cut leaves of images, on a simulated disk.
//!
//! Each operation runs once to its end. Then every state is looked at that a power cut could have
//! left at any moment of its log: any of the writes that were not synced may be lost or torn. A
//! failure prints the state's name, which `SimFs::crash_state` takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod in_place;
mod new_images;
