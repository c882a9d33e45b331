//! What an L2 table refers to.

use std::ops::Range;

use crate::qcow2::entry::{ClusterKind, L2Entry, Ownership};
use crate::qcow2::geometry::{Geometry, HostCluster};
use crate::qcow2::table::{entries, put_entry};
use crate::{Error, Result};

/// The clusters of the file that a table's entries count, in the table's order. A cluster with
/// several compressed ones is counted for each of them.
pub(super) fn counted_runs(geometry: &Geometry, table: &[u8]) -> Result<Vec<Range<u64>>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for entry in entries(geometry, table) {
        let Some(clusters) = counted(geometry, entry)? else { continue };
        match runs.last_mut() {
            Some(run) if run.end == clusters.start => run.end = clusters.end,
            _ => runs.push(clusters),
        }
    }
    Ok(runs)
}

fn counted(geometry: &Geometry, entry: L2Entry) -> Result<Option<Range<u64>>> {
    let kind = entry.validate(geometry).map_err(|fault| Error::corrupt(fault.to_string()))?;
    let (offset, len) = match kind {
        ClusterKind::Unallocated | ClusterKind::ZeroPlain => return Ok(None),
        // Nobody counts the clusters of an external data file.
        _ if geometry.external_data => return Ok(None),
        ClusterKind::Normal(host) | ClusterKind::ZeroAllocated(host) => (host, geometry.cluster_size()),
        ClusterKind::Compressed(run) => (run.offset, run.len),
    };
    // Offset fields have 56 bits at most.
    let last = geometry.host_cluster(offset + len.saturating_sub(1)).0;
    Ok(Some(geometry.host_cluster(offset).0..last + 1))
}

/// Whether a table has compressed clusters.
pub(super) fn has_compressed(geometry: &Geometry, table: &[u8]) -> bool {
    entries(geometry, table).any(L2Entry::is_compressed)
}

/// The whole cluster that an entry refers to, if its ownership is kept in the entry.
pub(super) fn owned_cluster(geometry: &Geometry, entry: L2Entry) -> Option<HostCluster> {
    match entry.kind(geometry) {
        ClusterKind::Normal(host) | ClusterKind::ZeroAllocated(host) => Some(geometry.host_cluster(host)),
        ClusterKind::Unallocated | ClusterKind::ZeroPlain | ClusterKind::Compressed(_) => None,
    }
}

/// Whether an entry of a table calls its cluster its own.
pub(super) fn is_owning(geometry: &Geometry, table: &[u8]) -> bool {
    entries(geometry, table).any(|entry| entry.is_copied() && owned_cluster(geometry, entry).is_some())
}

/// Takes the sole ownership from every entry.
pub(super) fn disown(geometry: &Geometry, table: &mut [u8]) {
    let owning: Vec<(usize, L2Entry)> = entries(geometry, table)
        .enumerate()
        .filter(|(_, entry)| entry.is_copied() && owned_cluster(geometry, *entry).is_some())
        .collect();
    for (index, entry) in owning {
        put_entry(geometry, table, index, entry.with_ownership(Ownership::Shared));
    }
}
