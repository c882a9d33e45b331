//! A simulated tree of files, for tests of what survives.
//!
//! Everything happens in memory and is deterministic. Each write, change of length, name and sync
//! goes to a log; [`SimFs::crash_states`] lists what a power cut could have left at any moment of
//! that log, and [`SimFs::fail_at`] makes a chosen call fail.
//!
//! ```text
//!   SimFs ──► World { files, names, locks }      how things are now
//!     │         │
//!     │         └─ log: Vec<Event> over a durable base
//!     └──► crash_states: base + what was synced + a choice of the rest
//!            choice  which of the rest, and its name      crash  the tree that it makes
//! ```
//!
//! A copy of a tree shares its pages with the original, so a state costs what it changes.

mod choice;
mod content;
mod crash;
mod disk;
mod draft;
mod fault;
mod frozen;
mod log;
mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Access, Disk, DiskStatus, Draft, DraftOptions, Error, ErrorKind, Fs, OpenOptions, Result};

pub use choice::{CrashId, CrashPlan};
pub use crash::{CrashState, CrashStates};
pub use fault::{Fault, Lasting};
pub use frozen::Frozen;
pub use log::{CachedPages, Event, FileId};

use disk::SimDisk;
use fault::Call;
use world::World;

/// A simulated tree of files. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimFs {
    world: Arc<Mutex<World>>,
}

impl SimFs {
    /// An empty tree, in which only the root directory exists.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file where it is safe from every crash, with the directories above it.
    pub fn add_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        self.world().add_file(path.as_ref(), bytes);
    }

    /// Makes a directory, and those above it.
    pub fn add_directory(&self, path: impl AsRef<Path>) {
        self.world().add_directory(path.as_ref());
    }

    /// Gives an existing file another name that is safe from every crash.
    pub fn add_hard_link(&self, existing: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        self.world().add_hard_link(existing.as_ref(), path.as_ref())
    }

    /// Makes a symbolic link that is safe from every crash.
    pub fn add_symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) {
        self.world().add_symlink(target.as_ref(), path.as_ref());
    }

    /// The bytes of a file as a running program sees them, or `None` if there is none.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let world = self.world();
        let id = world.find(path.as_ref()).ok()??;
        Some(world.content(id).to_vec())
    }

    /// Every name of a file, in order.
    pub fn names(&self) -> Vec<PathBuf> {
        self.world().names()
    }

    /// What has happened since the tree was made or [`SimFs::settle`] was called.
    pub fn log(&self) -> Vec<Event> {
        self.world().log().to_vec()
    }

    /// Everything as it is now, unchanging.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(self.world().tree().clone())
    }

    /// Makes everything durable, and begins an empty log.
    pub fn settle(&self) {
        self.world().settle();
    }

    /// How many calls that can fail were made since the tree was made or settled.
    pub fn calls(&self) -> u64 {
        self.world().faults.calls()
    }

    /// Makes the call with that number (from 0, see [`SimFs::calls`]) fail.
    pub fn fail_at(&self, call: u64, fault: Fault, lasting: Lasting) {
        self.world().faults.plan(call, fault, lasting);
    }

    /// What a power cut could have left, at every moment of the log.
    pub fn crash_states(&self, plan: CrashPlan) -> CrashStates {
        CrashStates::new(self.world().history(), plan)
    }

    /// The one state of that name.
    pub fn crash_state(&self, id: &CrashId) -> Option<CrashState> {
        crash::replay(&self.world().history(), id)
    }

    fn from_world(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fs for SimFs {
    fn open(&self, path: &Path, options: OpenOptions) -> Result<Arc<dyn Disk>> {
        let mut world = self.world();
        world.faults.check(Call::new("open", path))?;
        let id = world.find(path)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "open", path, None))?;
        Ok(Arc::new(SimDisk::new(&self.world, &mut world, id, path, options.access)))
    }

    fn status(&self, path: &Path) -> Result<Option<DiskStatus>> {
        let mut world = self.world();
        world.faults.check(Call::new("get the status of", path))?;
        Ok(world.find(path)?.map(|id| world.status(id)))
    }

    fn draft(&self, target: &Path, options: DraftOptions) -> Result<Box<dyn Draft>> {
        draft::begin(&self.world, target, options)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn Disk>> {
        let mut world = self.world();
        world.faults.check(Call::new("create", path))?;
        let id = world.create(path)?;
        Ok(Arc::new(writable(&self.world, &mut world, id, path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.check(Call::new("rename", from))?;
        world.rename(from, to)
    }

    fn link(&self, existing: &Path, name: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.check(Call::new("link", name))?;
        world.link(existing, name)
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.check(Call::new("remove", path))?;
        world.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.check(Call::new("sync the directory", directory))?;
        world.sync_directory(directory);
        Ok(())
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        self.world().resolve(path)
    }
}

/// A handle for writing, as drafts use it.
fn writable(shared: &Arc<Mutex<World>>, world: &mut World, id: FileId, path: &Path) -> SimDisk {
    SimDisk::new(shared, world, id, path, Access::Write)
}
