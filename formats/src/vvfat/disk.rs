//! The disk's bytes: made up, but for those of files, which are read when they are asked for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{HostFile, HostStatus, Result};

use super::layout::{CLUSTER_SIZE, Layout};
use super::tree::{Content, Tree};
use crate::made_up::Bytes;
use crate::raw::SECTOR;

/// What makes them.
#[derive(Debug)]
pub(super) struct DiskBytes {
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

impl DiskBytes {
    pub(super) fn new(layout: Layout, first_sectors: Vec<u8>, fat: Vec<u8>, tree: Tree) -> Self {
        Self { layout, first_sectors, fat, tree, open: Mutex::new(None) }
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
}

fn from(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default()
}

impl Bytes for DiskBytes {
    fn size(&self) -> u64 {
        u64::from(self.layout.sectors()) * SECTOR
    }

    fn make(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (piece, end) = self.piece(at);
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buf.len() - done);
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
        Ok(())
    }

    fn name(&self) -> PathBuf {
        self.tree.path(0)
    }
}
