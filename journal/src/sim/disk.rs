//! A handle on a simulated file.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::fault::{Call, Fault};
use super::log::{CachedPages, Event, FileId};
use super::world::World;
use crate::{Access, Allocate, Claim, Disk, DiskStatus, Error, ErrorKind, Extent, Held, Result, Zeroing};

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// An open simulated file.
#[derive(Debug)]
pub(super) struct SimDisk {
    world: Arc<Mutex<World>>,
    id: FileId,
    handle: u64,
    path: PathBuf,
    access: Access,
    latched: AtomicBool,
}

impl SimDisk {
    pub(super) fn new(
        shared: &Arc<Mutex<World>>,
        world: &mut World,
        id: FileId,
        path: &Path,
        access: Access,
    ) -> Self {
        let handle = world.new_handle();
        let latched = AtomicBool::new(false);
        Self { world: shared.clone(), id, handle, path: path.to_owned(), access, latched }
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Changes what the handle claims, in a world that is held already.
    pub(super) fn claim_in(&self, world: &mut World, claim: Claim) -> Result<()> {
        world.claim(self.id, self.handle, &self.path, claim)
    }

    /// Syncs, in a world that is held already.
    pub(super) fn sync_in(&self, world: &mut World) -> Result<()> {
        if let Some(fault) = world.faults.next() {
            self.latched.store(true, Ordering::SeqCst);
            let pages = match fault {
                Fault::Reverting => CachedPages::Reverted,
                _ => CachedPages::Kept,
            };
            world.fail_sync(self.id, pages);
            return Err(fault.error(Call::new("sync", &self.path)));
        }
        world.happen(Event::Sync { file: self.id });
        Ok(())
    }

    /// The world, unless this handle is latched.
    fn usable(&self, call: Call<'_>) -> Result<MutexGuard<'_, World>> {
        if self.latched.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Latched, call.op, &self.path, call.offset));
        }
        Ok(super::lock(&self.world))
    }

    /// The world, for a call that can fail.
    fn begin(&self, call: Call<'_>) -> Result<MutexGuard<'_, World>> {
        let mut world = self.usable(call)?;
        world.faults.check(call)?;
        Ok(world)
    }

    /// The world, for a call that changes the file.
    fn change(&self, call: Call<'_>) -> Result<MutexGuard<'_, World>> {
        let world = self.begin(call)?;
        self.require_writable(call).map(|()| world)
    }

    fn require_writable(&self, call: Call<'_>) -> Result<()> {
        if self.access == Access::Write {
            return Ok(());
        }
        let refusal = io::Error::from_raw_os_error(libc::EBADF);
        Err(Error::os(call.op, &self.path, call.offset, refusal))
    }

    fn call(&self, op: &'static str) -> Call<'_> {
        Call::new(op, &self.path)
    }

    fn call_at(&self, op: &'static str, offset: u64) -> Call<'_> {
        Call::at(op, &self.path, offset)
    }
}

impl Disk for SimDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.usable(self.call("get the length of"))?.content(self.id).len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let world = self.begin(self.call_at("read", offset))?;
        Ok(world.content(self.id).read(offset, buf))
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? < buf.len() {
            return Err(Error::new(ErrorKind::UnexpectedEnd, "read", &self.path, Some(offset)));
        }
        Ok(())
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let call = self.call_at("write", offset);
        let mut world = self.usable(call)?;
        self.require_writable(call)?;
        let mut data: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let fault = world.faults.next();
        match fault {
            None => {}
            Some(Fault::Short(done)) => data.truncate(done),
            Some(Fault::Half) => {
                let end = (offset + data.len() as u64 / 2) / SECTOR * SECTOR;
                data.truncate(end.saturating_sub(offset) as usize);
            }
            Some(_) => data.clear(),
        }
        if !data.is_empty() {
            world.happen(Event::Write { file: self.id, offset, data: data.into() });
        }
        fault.map_or(Ok(()), |fault| Err(fault.error(call)))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut world = self.change(self.call("resize"))?;
        world.happen(Event::SetLen { file: self.id, len });
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut world = self.usable(self.call("sync"))?;
        self.sync_in(&mut world)
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        let mut world = self.change(self.call_at("allocate space in", range.start))?;
        if how == Allocate::Grow && !range.is_empty() && range.end > world.content(self.id).len() {
            world.happen(Event::SetLen { file: self.id, len: range.end });
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>, _how: Zeroing) -> Result<()> {
        let mut world = self.change(self.call_at("write zeroes to", range.start))?;
        let len = world.content(self.id).len();
        let inside = range.start..range.end.min(len);
        if !inside.is_empty() {
            world.happen(Event::Zero { file: self.id, range: inside });
        }
        if !range.is_empty() && range.end > len {
            world.happen(Event::SetLen { file: self.id, len: range.end });
        }
        Ok(())
    }

    fn copy_from(&self, offset: u64, _source: &dyn Disk, _source_offset: u64, _len: u64) -> Result<u64> {
        Err(Error::new(ErrorKind::Unsupported, "copy into", &self.path, Some(offset)))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let world = self.begin(self.call_at("find holes in", offset))?;
        Ok(world.content(self.id).extent_at(offset))
    }

    fn status(&self) -> Result<DiskStatus> {
        Ok(self.usable(self.call("get the status of"))?.status(self.id))
    }

    fn hold(&self) -> Result<Held> {
        let mut world = self.begin(self.call("hold"))?;
        Ok(world.hold(self.id, self.handle))
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        let mut world = self.begin(self.call("lock"))?;
        self.claim_in(&mut world, claim)
    }
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        super::lock(&self.world).close(self.id, self.handle);
    }
}
