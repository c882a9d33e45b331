//! Whether an image's clusters were allocated over a sparse file.
//!
//! `preallocation=metadata` allocates every cluster but leaves holes in the file. Only then is it
//! worth asking the file about the data of every cluster: elsewhere the image's own tables know.

use super::Qcow2;
use super::refcount::RefcountWidth;
use crate::{Holes, Result};

/// What the holes of an image's file mean.
pub fn holes(image: &Qcow2) -> Result<Holes> {
    let geometry = image.geometry();
    let status = image.file().status()?;
    let present = status.allocated / geometry.cluster_size();
    let threshold = (present.saturating_mul(10) / 9).max(present + 2);
    let clusters = geometry.clusters_for(status.len);
    if clusters < threshold {
        return Ok(Holes::Ignored);
    }
    let used = count_used(image, clusters, threshold)?;
    Ok(if used >= threshold { Holes::Zero } else { Holes::Ignored })
}

/// How many of the first `clusters` clusters have references; counting ends at `enough`.
fn count_used(image: &Qcow2, clusters: u64, enough: u64) -> Result<u64> {
    let geometry = image.geometry();
    let disk = &**image.file();
    let mut used = 0;
    let per_block = geometry.refcount_block_entries();
    let blocks = clusters.div_ceil(per_block);
    for (number, entry) in image.read_refcount_table(blocks)?.into_iter().enumerate() {
        let Some(offset) = entry.block().filter(|offset| geometry.is_cluster_start(*offset)) else {
            continue;
        };
        let mut block = vec![0; geometry.cluster_size() as usize];
        disk.read_padded(offset.0, &mut block)?;
        let first = number as u64 * per_block;
        let counts = per_block.min(clusters - first) as usize;
        used += count_nonzero(&block, image.refcount_width(), counts);
        if used >= enough {
            break;
        }
    }
    Ok(used)
}

fn count_nonzero(block: &[u8], width: RefcountWidth, counts: usize) -> u64 {
    (0..counts).filter(|&index| width.get(block, index) != 0).count() as u64
}
