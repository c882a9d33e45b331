//! The catalog: what no image file can tell, such as who depends on it.
//!
//! ```text
//!   every changing command ──► event ──► spool      one short append
//!                                          │ absorbed by whoever reads the catalog next
//!   scan ──► observe ──► Catalog (SQLite) ◄┘
//!                            │
//!            list, tree, log, verify, the guard of dependents
//! ```
//!
//! It is derived. Losing it loses no image, a scan builds it again, and a command that cannot
//! write it works without it. So nothing here passes the crash-safe floor: SQLite opens its files
//! itself, and the spool is not even synced.
//!
//! What the catalog says about an image is a hint: whoever acts on it looks at the image first.

mod db;
mod error;
mod event;
mod guard;
mod images;
mod log;
mod observe;
mod place;
mod scan;
mod spool;
mod unrecorded;
mod verify;

pub use db::Catalog;
pub use error::{CatalogError, Result};
pub use event::{Ending, Event, record, record_at};
pub use guard::{Dependent, Spared, dependents, known_dependents};
pub use images::{Edge, Entry};
pub use log::{LogEntry, TouchedImage};
pub use observe::{Identity, Role};
pub use place::Place;
pub use scan::ScanReport;
pub use unrecorded::Unrecorded;
pub use verify::{State, state};
