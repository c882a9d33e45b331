//! What a command knows of images that the catalog learns only when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use formats::{OpenContext, PermissiveGate};
use journal::{Moment, Transaction};

use super::observe::{self, Reading};

/// What the images that a transaction has changed so far need.
///
/// Each is looked at once after it was changed, and only if somebody asks.
#[derive(Debug, Default)]
pub struct Unrecorded {
    looked: Moment,
    needs: BTreeMap<PathBuf, Vec<PathBuf>>,
    overlays: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Unrecorded {
    /// Looks at the images that were changed since it looked last.
    pub(super) fn look(&mut self, transaction: &Transaction) {
        let (paths, now) = transaction.changed_since(self.looked);
        self.looked = now;
        for path in paths {
            self.forget(&path);
            let needs = needs_of(transaction, &path);
            for need in &needs {
                self.overlays.entry(need.clone()).or_default().insert(path.clone());
            }
            self.needs.insert(path, needs);
        }
    }

    /// The images that named the file at `base`, which is resolved, when they were looked at.
    pub(super) fn overlays_of(&self, base: &Path) -> impl Iterator<Item = &PathBuf> {
        self.overlays.get(base).into_iter().flatten()
    }

    fn forget(&mut self, path: &Path) {
        for need in self.needs.remove(path).into_iter().flatten() {
            if let Some(overlays) = self.overlays.get_mut(&need) {
                overlays.remove(path);
            }
        }
    }
}

/// The files that an image names; none if it cannot be read.
fn needs_of(transaction: &Transaction, path: &Path) -> Vec<PathBuf> {
    let context = OpenContext { fs: transaction, gate: &PermissiveGate, secrets: None };
    match observe::observe(&context, path, Reading::Probed) {
        Ok(found) => found.into_iter().flat_map(|found| found.needs).map(|need| need.path).collect(),
        Err(error) => {
            tracing::debug!(image = %path.display(), error = %error.report(), "An image cannot be looked at.");
            Vec::new()
        }
    }
}
