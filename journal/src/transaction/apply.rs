//! Bringing a file to its new state: by the commit, and again by recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::overlay::{Bytes, Overlay, Piece};
use crate::{Disk, Result, Zeroing};

/// Bytes copied at a time.
const CHUNK: u64 = 2 << 20;
/// Threads that copy: more than one only keeps the disk busy.
const THREADS: u64 = 2;

/// A file, and what it is going to be.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) overlay: &'a Overlay,
    pub(crate) len: Option<u64>,
}

/// Replaces what is to be replaced, and makes it durable. May be repeated from any point.
pub(crate) fn apply(work: &Work<'_>) -> Result<()> {
    let Work { disk, overlay, len } = work;
    if let Some(len) = len
        && *len > disk.len()?
    {
        disk.set_len(*len)?;
    }
    for (offset, piece) in overlay.pieces() {
        put(disk, offset, piece)?;
    }
    if let Some(len) = len
        && *len != disk.len()?
    {
        disk.set_len(*len)?;
    }
    disk.sync()
}

fn put(disk: &Arc<dyn Disk>, offset: u64, piece: &Piece) -> Result<()> {
    match &piece.bytes {
        Bytes::Held { all, start } => disk.write_at(offset, &all[*start..*start + piece.len as usize]),
        Bytes::Zero => disk.zero(offset..offset + piece.len, Zeroing::Unmap),
        Bytes::InFile { .. } => copy(disk, offset, piece),
    }
}

/// Copies a long piece by several threads, chunk by chunk.
fn copy(disk: &Arc<dyn Disk>, offset: u64, piece: &Piece) -> Result<()> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut buf = Vec::new();
        loop {
            let at = next.fetch_add(CHUNK, Ordering::Relaxed);
            if at >= piece.len {
                return Ok(());
            }
            let len = CHUNK.min(piece.len - at) as usize;
            buf.resize(len, 0);
            piece.bytes.read(at, &mut buf[..len])?;
            // Through the page cache, which holds what is replaced since that was recorded.
            disk.write_early_at(offset + at, &buf[..len])?;
        }
    };
    let threads = THREADS.min(piece.len.div_ceil(CHUNK));
    if threads <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
