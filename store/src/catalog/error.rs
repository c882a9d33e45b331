//! What can go wrong with the catalog.

use std::io;
use std::path::PathBuf;

/// Result of the catalog's functions.
pub type Result<T> = std::result::Result<T, CatalogError>;

/// Why the catalog did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The environment names no place for it.
    #[error("There is no catalog: TXIMG_CATALOG is empty, or neither XDG_STATE_HOME nor HOME is set")]
    NoPlace,
    /// Its directory cannot be made, or what waits to be entered cannot be read or written.
    #[error("Could not use the files of the catalog '{}': {}", path.display(), journal::reason(source))]
    Spool {
        /// The catalog.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be opened, read or written.
    #[error("Could not use the catalog '{}': {source}", path.display())]
    Database {
        /// The catalog.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is a database of another program.
    #[error("'{}' is not a catalog of tximg", .0.display())]
    Foreign(PathBuf),
    /// The database is of a later version.
    #[error("The catalog '{}' is of a newer tximg (schema {version})", path.display())]
    TooNew {
        /// The catalog.
        path: PathBuf,
        /// Its schema.
        version: i64,
    },
    /// An image is not in the catalog.
    #[error("'{}' is not in the catalog", .0.display())]
    Unknown(PathBuf),
    /// A directory cannot be read.
    #[error("Could not read '{}': {}", path.display(), journal::reason(source))]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image or a file.
    #[error("{}", .0.report())]
    Image(#[from] formats::Error),
}

impl CatalogError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign(_) => Some("Remove it, or name another file by TXIMG_CATALOG."),
            Self::Database { source, .. } if is_damage(source) => Some(
                "It holds nothing that images do not: remove it, and 'tximg catalog scan' builds it again.",
            ),
            Self::Unknown(_) => Some("'tximg catalog scan DIR' looks for images."),
            _ => None,
        }
    }
}

impl From<journal::Error> for CatalogError {
    fn from(error: journal::Error) -> Self {
        Self::Image(error.into())
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}
