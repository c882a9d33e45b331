//! Where the catalog is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file name within the state directory.
const NAME: &str = "catalog.sqlite";

/// The state directory of the whole machine.
const SYSTEM: &str = "/var/lib/tximg";

/// The place of a catalog, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// A catalog at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The place that the environment names; `None` if it wants no catalog or has no place for one.
    ///
    /// `TXIMG_CATALOG` is the file itself, and none if it is empty. Without it the catalog is in
    /// `$XDG_STATE_HOME/tximg`, root's in `/var/lib/tximg`, and everyone else's in
    /// `~/.local/state/tximg`.
    pub fn from_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name);
        let path = choose(variable, rustix::process::geteuid().is_root())?;
        Some(Self::at(std::path::absolute(path).ok()?))
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything was ever entered.
    pub(super) fn exists(&self) -> bool {
        [self.path.clone(), self.spool(), self.absorbing()].iter().any(|path| path.exists())
    }

    /// Where events wait to be absorbed.
    pub(super) fn spool(&self) -> PathBuf {
        self.beside("-spool")
    }

    /// The spool while it is being absorbed.
    pub(super) fn absorbing(&self) -> PathBuf {
        self.beside("-absorbing")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// Makes the directory; only its owner may look into it, because command lines are in there.
    pub(super) fn make_directory(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        match self.path.parent() {
            Some(parent) if !parent.is_dir() => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)
            }
            _ => Ok(()),
        }
    }
}

fn choose(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    if let Some(path) = variable("TXIMG_CATALOG") {
        return (!path.is_empty()).then(|| path.into());
    }
    let directory = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = directory("XDG_STATE_HOME") {
        return Some(state.join("tximg").join(NAME));
    }
    if is_root {
        return Some(Path::new(SYSTEM).join(NAME));
    }
    Some(directory("HOME")?.join(".local/state/tximg").join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], is_root: bool) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        choose(variable, is_root).map(|path| path.display().to_string())
    }

    #[test]
    fn the_environment_names_the_place() {
        let home = ("HOME", "/home/a");
        let state = ("XDG_STATE_HOME", "/s");
        assert_eq!(chosen(&[home], false).unwrap(), "/home/a/.local/state/tximg/catalog.sqlite");
        assert_eq!(chosen(&[home], true).unwrap(), "/var/lib/tximg/catalog.sqlite");
        assert_eq!(chosen(&[home, state], true).unwrap(), "/s/tximg/catalog.sqlite");
        assert_eq!(chosen(&[home, state, ("TXIMG_CATALOG", "x")], false).unwrap(), "x");
        assert_eq!(chosen(&[home, state, ("TXIMG_CATALOG", "")], true), None);
        assert_eq!(chosen(&[], false), None);
        assert_eq!(chosen(&[("HOME", "relative")], false), None);
    }
}
