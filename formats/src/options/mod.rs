//! Block options: every way to say which image is meant becomes one typed tree before anything is
//! opened.
//!
//! ```text
//!   file name ─┐
//!   json:{…} ──┼──► Dict (flat, dotted keys) ──► NodeOptions ──► open
//!   image-opts ┘                                   ├─ file: NodeOptions
//!                                                  ├─ data-file: Dict, completed by the header
//!                                                  └─ backing: Dict, completed by the header
//! ```
//!
//! * [`json`], [`image_opts`]: the two notations. Pure functions of untrusted text.
//! * [`name`]: protocols in file names, and names relative to other names.
//! * [`node`]: the tree. [`driver`], [`qcow2`], [`vpc`]: what each driver can be told.
//!
//! A key that no driver knows is refused when its node has been opened, as QEMU does it: only then is it
//! certain which driver a probed image has.

pub mod blkdebug;
pub mod dict;
pub mod driver;
pub mod filter;
pub mod image_opts;
pub mod json;
mod json_lexer;
pub mod luks;
pub mod name;
pub mod node;
pub mod null;
pub mod parallels;
pub mod qcow;
pub mod qcow2;
pub mod quorum;
mod take;
pub mod vpc;
pub mod vvfat;

pub use blkdebug::BlkdebugNode;
pub use dict::{Dict, Scalar};
pub use driver::{DriverName, FileOptions, FormatOptions, GenericOptions, RawOptions};
pub use filter::FilterNode;
pub use luks::LuksOptions;
pub use node::{Backing, FormatNode, ImageOptions, NodeOptions, ParsedNode, ProtocolNode, Slot};
pub use null::NullNode;
pub use parallels::ParallelsOptions;
pub use qcow::QcowOptions;
pub use qcow2::Qcow2Options;
pub use quorum::QuorumNode;
pub use vpc::VpcOptions;
pub use vvfat::VvfatNode;
