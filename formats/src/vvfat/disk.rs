//! The disk's bytes: made up, but for those of files, which are read when they are asked for.

use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{
    Allocate, Claim, Disk, DiskKind, DiskStatus, ErrorKind, Extent, ExtentKind, HostFile, HostStatus, Result,
    Zeroing,
};

use super::layout::{CLUSTER_SIZE, Layout};
use super::tree::{Content, Tree};
use crate::raw::SECTOR;

/// The disk.
#[derive(Debug)]
pub(super) struct VvfatDisk {
    layout: Layout,
    first_sectors: Vec<u8>,
    fat: Vec<u8>,
    tree: Tree,
    /// The file that was read last.
    open: Mutex<Option<(usize, Arc<HostFile>)>>,
}

/// What is somewhere on the disk.
enum Piece<'a> {
    /// These bytes, and zeroes behind them.
    Bytes(&'a [u8]),
    /// A file from a place on, and zeroes behind it.
    File { node: usize, status: &'a HostStatus, at: u64 },
}

impl VvfatDisk {
    pub(super) fn new(layout: Layout, first_sectors: Vec<u8>, fat: Vec<u8>, tree: Tree) -> Self {
        Self { layout, first_sectors, fat, tree, open: Mutex::new(None) }
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(self.layout.sectors()) * SECTOR
    }

    /// What is at a place on the disk, and where something else begins.
    fn piece(&self, offset: u64) -> (Piece<'_>, u64) {
        let root = u64::from(self.layout.root_start()) * SECTOR;
        let fat = u64::from(self.layout.fat_start()) * SECTOR;
        let fat_size = self.fat.len() as u64;
        if offset < fat {
            return (Piece::Bytes(from(&self.first_sectors, offset)), fat);
        }
        if offset < root {
            let within = (offset - fat) % fat_size;
            return (Piece::Bytes(from(&self.fat, within)), offset - within + fat_size);
        }
        let cluster = (offset - root) / CLUSTER_SIZE;
        let holder = u32::try_from(cluster).ok().and_then(|cluster| self.tree.holder(cluster));
        let Some((node, found)) = holder.and_then(|index| Some((index, self.tree.nodes.get(index)?))) else {
            // Clusters are given out in order: behind the last one is nothing.
            return (Piece::Bytes(&[]), u64::MAX);
        };
        let start = root + u64::from(found.clusters.start) * CLUSTER_SIZE;
        let end = root + u64::from(found.clusters.end) * CLUSTER_SIZE;
        let at = offset - start;
        let piece = match &found.content {
            Content::Directory(first) => Piece::Bytes(from(self.tree.entries_from(*first), at)),
            Content::File(status) => Piece::File { node, status, at },
        };
        (piece, end)
    }

    fn read_file(&self, node: usize, status: &HostStatus, at: u64, buf: &mut [u8]) -> Result<()> {
        let left = usize::try_from(status.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let (bytes, behind) = buf.split_at_mut(buf.len().min(left));
        behind.fill(0);
        if bytes.is_empty() { Ok(()) } else { self.file(node, status)?.read_exact_at(at, bytes) }
    }

    fn file(&self, node: usize, status: &HostStatus) -> Result<Arc<HostFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((index, file)) = &*open
            && *index == node
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(HostFile::open(&self.tree.path(node), status)?);
        *open = Some((node, Arc::clone(&file)));
        Ok(file)
    }

    fn refuse(&self, op: &'static str) -> journal::Error {
        journal::Error::new(ErrorKind::Unsupported, op, Path::new(&self.tree.path(0)), None)
    }
}

fn from(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default()
}

impl Disk for VvfatDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.size())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let (piece, end) = self.piece(at);
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(wanted - done);
            let part = &mut buf[done..done + len];
            match piece {
                Piece::Bytes(bytes) => {
                    let (known, behind) = part.split_at_mut(len.min(bytes.len()));
                    known.copy_from_slice(&bytes[..known.len()]);
                    behind.fill(0);
                }
                Piece::File { node, status, at } => self.read_file(node, status, at, part)?,
            }
            done += len;
        }
        Ok(wanted)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? == buf.len() {
            return Ok(());
        }
        Err(journal::Error::new(ErrorKind::UnexpectedEnd, "read", &self.tree.path(0), Some(offset)))
    }

    fn write_vectored_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> Result<()> {
        Err(self.refuse("write to"))
    }

    fn can_resize(&self) -> bool {
        false
    }

    fn set_len(&self, _len: u64) -> Result<()> {
        Err(self.refuse("resize"))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, _range: Range<u64>, _how: Allocate) -> Result<()> {
        Err(self.refuse("allocate in"))
    }

    fn zero(&self, _range: Range<u64>, _how: Zeroing) -> Result<()> {
        Err(self.refuse("write to"))
    }

    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> Result<u64> {
        Err(self.refuse("copy to"))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        match self.size() {
            size if offset < size => Ok(Extent { kind: ExtentKind::Data, end: size }),
            _ => Ok(Extent { kind: ExtentKind::Hole, end: u64::MAX }),
        }
    }

    fn status(&self) -> Result<DiskStatus> {
        Ok(DiskStatus {
            kind: DiskKind::Regular,
            len: self.size(),
            allocated: 0,
            direct_alignment: None,
            identity: (0, 0),
            links: 1,
            owner: 0,
            born: 0,
            modified: 0,
        })
    }

    fn lock(&self, _claim: Claim) -> Result<()> {
        Ok(())
    }
}
