//! Refuses what would corrupt an image that is known to need another.

use std::path::Path;

use formats::shown::shown;
use journal::Fs;
use store::catalog::{Dependent, Spared, known_dependents};

use crate::command::{Env, Force};
use crate::report::Failure;

/// How many dependents are listed; the rest is counted.
const LISTED: usize = 20;

/// What is done to an image that others may need.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// Another takes its place.
    Replace,
    /// It gets other content.
    Write,
    /// It goes.
    Remove,
}

impl Change {
    fn verb(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Write => "change the content of",
            Self::Remove => "remove",
        }
    }
}

impl Env<'_> {
    /// Fails if images depend on the one at `path`, whose content is about to change; but not under the
    /// name qemu-img, and not if it is forced.
    pub(crate) fn protect(
        &self,
        path: &Path,
        change: Change,
        force: Force,
        spared: Spared<'_>,
    ) -> Result<(), Failure> {
        if self.program.is_stock() || force == Force::On || !matches!(self.fs.status(path), Ok(Some(_))) {
            return Ok(());
        }
        match &self.known_dependents(path, spared)[..] {
            [] => Ok(()),
            dependents => Err(refusal(path, change, dependents)),
        }
    }

    /// The images that are known to need the one at `path`.
    pub(crate) fn known_dependents(&self, path: &Path, spared: Spared<'_>) -> Vec<Dependent> {
        known_dependents(self.fs, &mut self.unrecorded.borrow_mut(), path, spared)
    }
}

fn refusal(path: &Path, change: Change, dependents: &[Dependent]) -> Failure {
    let count = match dependents.len() {
        1 => "1 other image needs it".to_owned(),
        many => format!("{many} other images need it"),
    };
    let name = shown(path.as_os_str());
    let mut list: Vec<String> =
        dependents.iter().take(LISTED).map(|it| format!("  {}", shown(it.path.as_os_str()))).collect();
    if dependents.len() > LISTED {
        list.push(format!("  and {} more", dependents.len() - LISTED));
    }
    list.push("With --force it is done all the same.".to_owned());
    Failure::message(format!("Refusing to {} '{name}': {count}", change.verb())).with_hint(list.join("\n"))
}
