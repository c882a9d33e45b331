//! Oracles and builders.
//!
//! The suites under `tests/tests/` compare tximg with the installed `qemu-img`. Both are started
//! as processes, in the same way and under the same name, so that nothing but their behaviour can
//! differ.
//!
//! ```text
//!   Shape ──► fixture directory ──► Case: one command line
//!                                      ├─ qemu-img ─► Outcome ┐
//!                                      └─ tximg ────► Outcome ┴─► compare ─► Difference
//! ```
//!
//! Environment: `TXIMG_BIN` names the program under test (default: built from this workspace),
//! `TXIMG_CASE` a case or a glob of cases, `TXIMG_TMP` the directory for scratch files.

// The kit makes damaged and foreign files on purpose; none of them has to survive.
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

pub mod case;
pub mod cataloged;
pub mod compare;
pub mod content;
pub mod effects;
pub mod encrypted;
pub mod exercise;
pub mod foreign;
pub mod glob;
pub mod inside;
pub mod judge;
pub mod known;
pub mod mutate;
pub mod need;
pub mod oracle;
pub mod parallels;
pub mod qcow2;
pub mod run;
pub mod scene;
pub mod script;
pub mod shapes;
pub mod sparse;
pub mod start;
pub mod suite;
pub mod tximg;
pub mod vhdx;
pub mod vmdk;
pub mod words;
