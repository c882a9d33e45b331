//! Simulated files in the making.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::disk::SimDisk;
use super::fault::Call;
use super::log::Event;
use super::world::World;
use crate::fs::directory_of;
use crate::{Claim, Disk, Draft, DraftOptions, Error, ErrorKind, Result, StageNames, StagedFile};

/// Begins a file that will stand at `target`.
pub(super) fn begin(
    shared: &Arc<Mutex<World>>,
    target: &Path,
    options: DraftOptions,
) -> Result<Box<dyn Draft>> {
    let mut guard = super::lock(shared);
    let world = &mut *guard;
    world.faults.check(Call::new("create", target))?;
    let path = world.end_of_links(target)?;
    if !world.has_directory_of(&path) {
        return Err(Error::new(ErrorKind::NotFound, "create", target, None));
    }
    let existing = world.find(target)?;
    let old = existing.map(|id| super::writable(shared, world, id, target));
    // A handle takes the world when it is dropped, so it must not be dropped while it is held.
    let locked = old.as_ref().map_or(Ok(()), |old| old.claim_in(world, Claim::writer()));
    if let Err(error) = locked {
        drop(guard);
        return Err(error);
    }
    let (disk, old) = match (old, existing) {
        (Some(old), Some(id)) if world.links(id) > 1 => {
            world.happen(Event::SetLen { file: id, len: 0 });
            (old, None)
        }
        (old, _) => {
            let id = world.new_file();
            (super::writable(shared, world, id, target), Some(old))
        }
    };
    let route = old.map_or(Route::InPlace, |old| Route::ByName { path, old });
    let draft =
        SimDraft { world: shared.clone(), target: target.to_owned(), disk: Arc::new(disk), route, options };
    Ok(Box::new(draft))
}

#[derive(Debug)]
struct SimDraft {
    world: Arc<Mutex<World>>,
    target: PathBuf,
    disk: Arc<SimDisk>,
    route: Route,
    options: DraftOptions,
}

/// How the bytes get under the target's name.
#[derive(Debug)]
enum Route {
    /// They are written there.
    InPlace,
    /// By a change of names. The replaced file stays open for its locks.
    ByName { path: PathBuf, old: Option<SimDisk> },
}

impl Draft for SimDraft {
    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn target(&self) -> &Path {
        &self.target
    }

    fn is_atomic(&self) -> bool {
        matches!(self.route, Route::ByName { .. })
    }

    fn stage_names(&self) -> Option<StageNames> {
        let Route::ByName { path, .. } = &self.route else { return None };
        let hidden = super::lock(&self.world).free_hidden_name(path, self.disk.id());
        Some(StageNames { hidden, target: path.clone() })
    }

    fn stage(self: Box<Self>, names: &StageNames) -> Result<StagedFile> {
        let Self { world, target, disk, route, .. } = *self;
        let Route::ByName { old, .. } = route else {
            return Err(Error::new(ErrorKind::Unsupported, "stage", &target, None));
        };
        disk.sync()?;
        let mut guard = super::lock(&world);
        let named = guard.faults.check(Call::new("create", &target));
        if named.is_ok() {
            guard.happen(Event::Name { path: names.hidden.clone(), file: disk.id() });
        }
        drop(guard);
        named.map(|()| StagedFile { disk, old: old.map(|old| Arc::new(old) as _) })
    }

    fn publish(self: Box<Self>) -> Result<()> {
        if !self.options.volatile {
            self.disk.sync()?;
        }
        let Route::ByName { path, old } = self.route else { return Ok(()) };
        let published = name(&self.world, &self.target, path, &self.disk, self.options);
        drop(old);
        published
    }
}

/// Gives the file its name, durably unless the caller does not care.
fn name(
    shared: &Mutex<World>,
    target: &Path,
    path: PathBuf,
    disk: &SimDisk,
    options: DraftOptions,
) -> Result<()> {
    let mut world = super::lock(shared);
    world.faults.check(Call::new("create", target))?;
    world.happen(Event::Name { path: path.clone(), file: disk.id() });
    if !options.volatile {
        world.faults.check(Call::new("create", target))?;
        world.sync_directory(directory_of(&path));
    }
    Ok(())
}
