//! Looking for journals that interrupted commands left.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use formats::{Error, Result};

/// How deep directories may lie in one another.
const MAX_DEPTH: usize = 128;

/// Every journal in a directory and below it, in order. Symbolic links are not followed.
pub fn journals_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        let failed = |error: std::io::Error| {
            let name = formats::shown::shown(directory.as_os_str());
            Error::invalid(format!("Could not look into '{name}': {}", journal::reason(&error)))
        };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && depth < MAX_DEPTH {
                waiting.push((entry.path(), depth + 1));
            } else if kind.is_file() && entry.file_name().as_bytes().ends_with(journal::SUFFIX.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
