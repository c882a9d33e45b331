//! Where the journals stand.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::fs::directory_of;

/// What follows after an image's name in that of its journal.
pub const SUFFIX: &str = ".tximg-journal";
/// The longest file name of every usual filesystem.
const MAX_NAME: usize = 255;

/// Where the journal of the image at `path` (symbolic links resolved) is looked for.
///
/// A name that would be too long is cut, with a hash that keeps it apart from others.
pub(crate) fn journal_of(path: &Path) -> PathBuf {
    beside(path, "", SUFFIX)
}

/// The name that what replaces the file at `path` has between nameless and replaced.
pub(crate) fn replacement_of(path: &Path) -> PathBuf {
    beside(path, ".", ".tximg-new")
}

fn beside(path: &Path, prefix: &str, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let full = [prefix.as_bytes(), name, suffix.as_bytes()].concat();
    if full.len() <= MAX_NAME {
        return path.with_file_name(OsString::from_vec(full));
    }
    let hash = blake3::hash(name).to_hex();
    let hash = &hash.as_bytes()[..16];
    let kept = MAX_NAME - prefix.len() - suffix.len() - 1 - hash.len();
    let cut = [prefix.as_bytes(), &name[..kept], b"-", hash, suffix.as_bytes()].concat();
    path.with_file_name(OsString::from_vec(cut))
}

/// How a journal names a file: relative to its own directory where the file stands in or below it,
/// so that the directory can be moved.
pub(crate) fn named_from(journal: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(directory_of(journal)).unwrap_or(path).to_owned()
}

/// The file that a journal names; `None` for a name that leads out by `..`.
pub(crate) fn resolve_from(journal: &Path, name: &Path) -> Option<PathBuf> {
    let climbs = name.components().any(|part| part == Component::ParentDir);
    (!climbs && name.file_name().is_some()).then(|| directory_of(journal).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_stand_beside_their_images() {
        assert_eq!(journal_of(Path::new("/d/a.qcow2")), Path::new("/d/a.qcow2.tximg-journal"));
        let long = PathBuf::from("/d").join("x".repeat(255));
        let other = PathBuf::from("/d").join("x".repeat(254));
        assert_eq!(journal_of(&long).file_name().unwrap().len(), MAX_NAME);
        assert_ne!(journal_of(&long), journal_of(&other));
        assert_eq!(replacement_of(&long).file_name().unwrap().len(), MAX_NAME);
    }

    #[test]
    fn names_are_relative_where_they_can_be() {
        let journal = Path::new("/d/a.tximg-journal");
        for path in ["/d/a", "/d/e/b", "/f/c"] {
            let name = named_from(journal, Path::new(path));
            assert_eq!(name.is_absolute(), path == "/f/c");
            assert_eq!(resolve_from(journal, &name).as_deref(), Some(Path::new(path)));
        }
        assert_eq!(resolve_from(journal, Path::new("../etc/passwd")), None);
    }
}
