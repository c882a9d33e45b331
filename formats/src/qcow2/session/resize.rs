//! Another size of the virtual disk.

use journal::Zeroing;

use super::Session;
use super::preallocate::{Content, Layout};
use super::references::counted_runs;
use crate::create::{Preallocation, extend, fill};
use crate::error::ResultExt;
use crate::qcow2::entry::{ClusterKind, L1Entry, Ownership};
use crate::qcow2::geometry::{TABLE_ENTRY_SIZE, Version};
use crate::qcow2::header::MAX_L1_SIZE;
use crate::resize::{Behind, Fit, NewSize, Remainder};
use crate::{Error, ErrorKind, GuestOffset, HostOffset, Result};

impl Session {
    /// See [`crate::Resize::resize`].
    pub fn resize(&mut self, request: &NewSize) -> Result<Remainder> {
        self.check_resize(request.size)?;
        let old = self.header.virtual_size();
        if self.cannot_hide(old, request) {
            let reason = Error::unsupported("Operation not supported");
            return Err(reason.context("Failed to zero out new clusters"));
        }
        self.release_unlinked()?;
        self.tail = None;
        self.resize_bitmaps(request.size)?;
        // Others may have left something behind the old end, which the disk must not grow over.
        self.drop_from(self.geometry.clusters_for(old.min(request.size)))?;
        self.fit_l1(request.size)?;
        self.header.size = request.size;
        if request.size < old {
            self.cut_data_file(request.size)?;
            return Ok(Remainder::None);
        }
        let remainder = self.remainder(old, request)?;
        self.unrecorded(|session| session.fill_new_part(old, request))?;
        Ok(remainder)
    }

    /// Whether the image can be given that size.
    pub(super) fn check_resize(&self, size: u64) -> Result<()> {
        self.check_size(size)?;
        self.refuse_unusable_bitmaps()
    }

    /// Fails if a bitmap's content cannot be trusted, and so can neither be cut nor continued.
    fn refuse_unusable_bitmaps(&self) -> Result<()> {
        match self.bitmaps.directory.iter().find(|bitmap| bitmap.info.in_use) {
            None => Ok(()),
            Some(bitmap) => {
                let text = format!("Bitmap '{}' is inconsistent and cannot be used", bitmap.info.name);
                Err(Error::invalid(text)
                    .with_hint("Try block-dirty-bitmap-remove to delete this bitmap from disk"))
            }
        }
    }

    /// Whether the disk may have that size.
    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        NewSize::plain(size, Fit::Exact).check_range()?;
        if !size.is_multiple_of(512) {
            return Err(Error::invalid("The new size must be a multiple of 512"));
        }
        if self.geometry.version < Version::V3 && self.header.snapshots.count > 0 {
            return Err(Error::unsupported("Can't resize a v2 image which has snapshots"));
        }
        if self.geometry.l1_entries_for(size) > MAX_L1_SIZE / TABLE_ENTRY_SIZE {
            let text = "Failed to grow the L1 table: File too large";
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok(())
    }

    /// Version 2 has no zero clusters to put before a backing image.
    fn cannot_hide(&self, old: u64, request: &NewSize) -> bool {
        self.geometry.version < Version::V3
            && request.behind == Behind::Bytes
            && !request.is_reserved()
            && old.next_multiple_of(self.geometry.cluster_size()) < request.size
    }

    /// Takes out whatever the active tables have from a guest cluster on.
    fn drop_from(&mut self, cluster: u64) -> Result<()> {
        let first = self.geometry.index(GuestOffset(cluster << self.geometry.cluster_bits));
        let mut l1 = self.tables.take_l1()?;
        for (index, entry) in l1.iter_mut().enumerate().skip(first.l1) {
            let kept = if index == first.l1 { first.l2 } else { 0 };
            if let Some(table) = entry.table() {
                *entry = self.cut_table(index, *entry, table, kept)?;
            }
        }
        self.tables.replace_l1(l1);
        Ok(())
    }

    /// Keeps only the first so many entries of an L2 table.
    fn cut_table(&mut self, index: usize, entry: L1Entry, table: HostOffset, kept: usize) -> Result<L1Entry> {
        let mut bytes = self.tables.read(index, table)?;
        if kept == 0 {
            self.release_table(table, &bytes)?;
            return Ok(L1Entry::NONE);
        }
        let from = (kept * self.geometry.l2_entry_size() as usize).min(bytes.len());
        let (_, cut) = bytes.split_at_mut(from);
        if cut.iter().all(|&byte| byte == 0) {
            return Ok(entry);
        }
        for run in counted_runs(&self.geometry, cut)? {
            self.space.release_run(run)?;
        }
        cut.fill(0);
        let place = self.place_table(&bytes)?;
        self.space.release(table, self.geometry.cluster_size())?;
        Ok(L1Entry::new(place, Ownership::Sole))
    }

    /// Gives the L1 table the length that a disk of that size needs.
    fn fit_l1(&mut self, size: u64) -> Result<()> {
        let mut l1 = self.tables.take_l1()?;
        l1.resize(self.geometry.l1_entries_for(size) as usize, L1Entry::NONE);
        self.tables.replace_l1(l1);
        Ok(())
    }

    fn cut_data_file(&self, size: u64) -> Result<()> {
        let Some(data) = &self.files.data else { return Ok(()) };
        extend(&**data, size, Preallocation::Off).context(|| "Could not resize file".into())
    }

    /// What is to be done about the cluster that the old disk ends in.
    fn remainder(&mut self, old: u64, request: &NewSize) -> Result<Remainder> {
        let end = old.next_multiple_of(self.geometry.cluster_size()).min(request.size);
        if old == end || self.raw_data().is_some() {
            return Ok(Remainder::None);
        }
        let entry = self.tables.entry(self.geometry.index(GuestOffset(old)))?;
        Ok(match self.kind(entry)? {
            ClusterKind::Unallocated | ClusterKind::ZeroPlain => {
                match (request.preallocation, request.behind) {
                    (Preallocation::Off, Behind::Nothing) => Remainder::None,
                    (Preallocation::Off, Behind::Bytes) => Remainder::Clear(old..end),
                    _ => Remainder::Write(old..end),
                }
            }
            _ => Remainder::Clear(old..end),
        })
    }

    /// Allocates what is asked for of the clusters behind the old end, and hides what is behind them.
    fn fill_new_part(&mut self, old: u64, request: &NewSize) -> Result<()> {
        let start = old.next_multiple_of(self.geometry.cluster_size()).min(request.size);
        let new = start..request.size;
        match (self.files.data.clone(), request.preallocation) {
            (Some(data), how) => {
                // A raw file has no place to say that something is unallocated.
                let is_mapped = how != Preallocation::Off || self.raw_data().is_some();
                if is_mapped {
                    self.preallocate_range(new.clone(), Layout::Interleaved, Content::Reserved)?;
                }
                let wanted = match how {
                    Preallocation::Off if !is_mapped => request.size,
                    _ if old < request.size => request.size.max(data.len()?),
                    _ => data.len()?,
                };
                extend(&*data, wanted, how).context(|| "Could not resize file".into())?;
            }
            (None, Preallocation::Off) => {}
            (None, Preallocation::Metadata) => {
                self.skip_recycled()?;
                self.preallocate_range(new.clone(), Layout::Interleaved, Content::Reserved)?;
            }
            (None, how @ (Preallocation::Falloc | Preallocation::Full)) => {
                self.skip_recycled()?;
                let run = self.preallocate_range(new.clone(), Layout::Contiguous, Content::Written)?;
                fill(&*self.files.main, run, how).context(|| "Could not resize image".into())?;
                return Ok(());
            }
        }
        let hidden = old.next_multiple_of(self.geometry.subcluster_size()).min(request.size);
        if request.behind == Behind::Bytes && hidden < request.size {
            self.zero(GuestOffset(hidden), request.size - hidden, Zeroing::Keep)?;
        }
        Ok(())
    }

    /// From here on, takes clusters behind the file's end: what was in use before may hold anything.
    pub(super) fn skip_recycled(&mut self) -> Result<()> {
        let end = self.geometry.clusters_for(self.files.main.len()?);
        self.space.skip_to(end);
        Ok(())
    }
}
