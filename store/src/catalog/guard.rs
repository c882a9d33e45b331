//! Who would be harmed if an image changed.
//!
//! The catalog says who may depend on an image, and the command itself knows what it has made; each of them is
//! looked at before it counts, so a catalog that is out of date refuses nothing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use formats::{OpenContext, PermissiveGate};
use journal::{Fs, Transaction};

use super::images::{by_identity, by_path};
use super::observe::{self, Mark, Observation, Reading, Role};
use super::{Catalog, CatalogError, Place, Result, Unrecorded};

/// An image that depends on another, as its own header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Where it is.
    pub path: PathBuf,
    /// What it needs the other for.
    pub role: Role,
    /// The image that it names: the one that was asked for, or one that depends on it.
    pub base: PathBuf,
    /// How it names that.
    pub name: std::ffi::OsString,
    /// Where the name leads: another one of the base's, if it has several.
    pub via: PathBuf,
    /// Its format.
    pub format: String,
}

/// Images that a change does not harm although they depend on what is changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spared<'a> {
    /// These and everything that stands on them.
    pub with_overlays: &'a [PathBuf],
    /// These, but not what else stands on them.
    pub alone: &'a [PathBuf],
}

/// The images that are known to depend on the one at `path`, directly or through others: by the
/// catalog that the environment names, if there is one that can be used, and by what the transaction
/// itself has done so far.
pub fn known_dependents(
    transaction: &Transaction,
    unrecorded: &mut Unrecorded,
    path: &Path,
    spared: Spared<'_>,
) -> Vec<Dependent> {
    let context = OpenContext { fs: transaction, gate: &PermissiveGate, secrets: None };
    let catalog = Place::from_environment().filter(Place::exists).and_then(|place| {
        let opened = Catalog::open(&place).and_then(|mut catalog| {
            catalog.absorb(&context)?;
            Ok(catalog)
        });
        opened.map_err(|error| not_asked(&place, &error)).ok()
    });
    unrecorded.look(transaction);
    let found = search(&context, path, spared, |base| {
        let fresh = unrecorded.overlays_of(base).map(|path| Candidate::probed(path.clone()));
        let known = catalog.as_ref().map_or(Ok(Vec::new()), |catalog| candidates(catalog, transaction, base));
        Ok(fresh.chain(known?).collect())
    });
    found.unwrap_or_else(|error| {
        tracing::warn!(image = %path.display(), %error, "It is not known who depends on the image.");
        Vec::new()
    })
}

fn not_asked(place: &Place, error: &CatalogError) {
    tracing::warn!(catalog = %place.path().display(), %error, "The catalog cannot be asked for dependents.");
}

/// The same, by a catalog that is open.
pub fn dependents(
    catalog: &Catalog,
    context: &OpenContext<'_>,
    path: &Path,
    spared: Spared<'_>,
) -> Result<Vec<Dependent>> {
    search(context, path, spared, |base| candidates(catalog, context.fs, base))
}

/// An image that may depend on another.
struct Candidate {
    path: PathBuf,
    reading: Reading,
}

impl Candidate {
    fn probed(path: PathBuf) -> Self {
        Self { path, reading: Reading::Probed }
    }
}

/// Looks for dependents among those that may be some.
fn search(
    context: &OpenContext<'_>,
    path: &Path,
    spared: Spared<'_>,
    candidates: impl Fn(&Path) -> Result<Vec<Candidate>>,
) -> Result<Vec<Dependent>> {
    let path = observe::resolve(context.fs, path)?;
    let resolved = |paths: &[PathBuf]| -> HashSet<PathBuf> {
        paths.iter().filter_map(|path| observe::resolve(context.fs, path).ok()).collect()
    };
    let alone = resolved(spared.alone);
    let mut met = resolved(spared.with_overlays);
    met.insert(path.clone());
    let mut found = Vec::new();
    let mut bases = vec![path];
    while let Some(base) = bases.pop() {
        for candidate in candidates(&base)? {
            if met.contains(&candidate.path) {
                continue;
            }
            if let Some(dependent) = confirm(context, &candidate, &base) {
                met.insert(candidate.path.clone());
                if !alone.contains(&candidate.path) {
                    found.push(dependent);
                }
                bases.push(candidate.path);
            }
        }
    }
    Ok(found)
}

/// Images that were seen to name the file at `base`, by whatever name it had.
fn candidates(catalog: &Catalog, fs: &dyn Fs, base: &Path) -> Result<Vec<Candidate>> {
    let identity = Mark::of(fs, base).ok().flatten().map(|mark| mark.identity);
    let rows = catalog.run(|db| {
        let mut rows: Vec<i64> = by_path(db, base)?.into_iter().map(|entry| entry.id).collect();
        if let Some(identity) = identity {
            rows.extend(by_identity(db, identity)?.into_iter().map(|entry| entry.id));
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    })?;
    let mut all = Vec::new();
    for id in rows {
        all.extend(catalog.overlays(id)?.into_iter().map(|entry| match entry.format.as_deref() {
            Some("raw") => Candidate { path: entry.path, reading: Reading::Raw },
            _ => Candidate::probed(entry.path),
        }));
    }
    Ok(all)
}

/// Looks into the header of an image for the name of `base`.
fn confirm(context: &OpenContext<'_>, candidate: &Candidate, base: &Path) -> Option<Dependent> {
    let found: Observation = observe::observe(context, &candidate.path, candidate.reading).ok().flatten()?;
    let need = found.needs.into_iter().find(|need| is_same(context.fs, &need.path, base))?;
    Some(Dependent {
        path: found.path,
        role: need.role,
        base: base.to_owned(),
        name: need.name,
        via: need.path,
        format: found.mark.format.name().to_owned(),
    })
}

/// Whether two resolved paths lead to one file. Where nothing is, the names decide.
fn is_same(fs: &dyn Fs, one: &Path, two: &Path) -> bool {
    let identity = |path: &Path| fs.status(path).ok().flatten().map(|status| status.identity);
    one == two || identity(one).is_some_and(|one| identity(two) == Some(one))
}
