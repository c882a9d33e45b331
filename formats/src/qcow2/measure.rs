//! How large a new image's file would be.

use crypto::luks::Header;

use super::bitmap::directory_entry_size;
use super::create::{parse_cluster_size, parse_refcount_bits};
use super::encryption::PREFIX;
use super::geometry::{Geometry, TABLE_ENTRY_SIZE, Version};
use super::header::MAX_L1_SIZE;
use super::refcount::RefcountWidth;
use crate::create::{CreateOptions, Measured, Measurement, Preallocation};
use crate::encryption::options::Prefixed;
use crate::engine::told_status;
use crate::{Error, ErrorKind, Image, OpenContext, Result};

/// Measures a new image of those options, which holds what the source does if there is one.
pub fn measure(
    options: &CreateOptions,
    context: &OpenContext<'_>,
    source: Option<&Measured<'_>>,
) -> Result<Measurement> {
    let plan = Plan::from_options(options, context)?;
    let geometry = &plan.geometry;
    let size = align(options.size().unwrap_or(0), geometry)?;
    if geometry.l1_entries_for(size) > MAX_L1_SIZE / TABLE_ENTRY_SIZE {
        return Err(too_large());
    }
    let size = source.map_or(Ok(size), |source| align(source.content.virtual_size(), geometry))?;
    let data = match source {
        _ if plan.preallocates_data => size,
        Some(_) if options.is_given("backing_file") => size,
        Some(source) => count_data(source.content, geometry)?,
        None => 0,
    };
    let metadata = metadata_size(size, geometry).ok_or_else(too_large)?;
    let metadata = metadata + align(plan.encryption_header, geometry)?;
    let total = |data: u64| metadata.checked_add(data).ok_or_else(too_large);
    let bitmaps = match source {
        Some(source) if geometry.version >= Version::V3 => bitmaps_size(source, geometry),
        _ => None,
    };
    Ok(Measurement { required: total(data)?, fully_allocated: total(size)?, bitmaps })
}

/// What of the options matters here.
struct Plan {
    geometry: Geometry,
    preallocates_data: bool,
    /// Bytes of a LUKS header with its key slots.
    encryption_header: u64,
}

impl Plan {
    /// Reads the options. Unlike creation, this knows only the older names of the versions.
    fn from_options(options: &CreateOptions, context: &OpenContext<'_>) -> Result<Self> {
        let extended_l2 = options.flag("extended_l2");
        let cluster_bits = parse_cluster_size(options, extended_l2)?;
        let version = match options.text("compat") {
            None | Some(b"1.1") => Version::V3,
            Some(b"0.10") => Version::V2,
            Some(other) => {
                let name = String::from_utf8_lossy(other);
                return Err(Error::invalid(format!("Invalid compatibility level: '{name}'")));
            }
        };
        let refcounts = parse_refcount_bits(options)?;
        if version == Version::V2 && refcounts != RefcountWidth::DEFAULT {
            return Err(Error::invalid(
                "Different refcount widths than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
            ));
        }
        let preallocation = Preallocation::from_options(options)?;
        let encryption_header = match options.text("encrypt.format") {
            Some(b"luks") => {
                let luks = Prefixed { options, prefix: PREFIX };
                let volume = luks.volume()?;
                luks.passphrase(context)?;
                volume.check()?;
                Header::attached_payload_offset(&volume.scheme)
            }
            _ => 0,
        };
        Ok(Self {
            encryption_header,
            geometry: Geometry {
                version,
                cluster_bits,
                extended_l2,
                refcount_order: refcounts.order(),
                external_data: false,
            },
            preallocates_data: matches!(preallocation, Preallocation::Falloc | Preallocation::Full),
        })
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "The image size is too large (try using a larger cluster size)")
}

fn align(size: u64, geometry: &Geometry) -> Result<u64> {
    size.checked_next_multiple_of(geometry.cluster_size()).ok_or_else(too_large)
}

/// Bytes of everything but the guest's clusters in an image of `size` bytes all of which is
/// allocated.
fn metadata_size(size: u64, geometry: &Geometry) -> Option<u64> {
    let cluster_size = geometry.cluster_size();
    let l2_tables = geometry.l1_entries_for(size);
    let l1_clusters = geometry.clusters_for(l2_tables.checked_mul(TABLE_ENTRY_SIZE)?);
    let header = 1;
    let counted = size / cluster_size + header + l2_tables + l1_clusters;
    let clusters = header + l2_tables + l1_clusters + refcount_clusters(counted, geometry);
    clusters.checked_mul(cluster_size)
}

/// Clusters of the refcount table and blocks that count `clusters` clusters and themselves.
fn refcount_clusters(clusters: u64, geometry: &Geometry) -> u64 {
    let mut own = 0;
    loop {
        let blocks = (clusters + own).div_ceil(geometry.refcount_block_entries());
        let table = geometry.clusters_for(blocks * TABLE_ENTRY_SIZE);
        if blocks + table == own {
            return own;
        }
        own = blocks + table;
    }
}

/// Bytes of the clusters that hold data of the source.
fn count_data(source: &Image, geometry: &Geometry) -> Result<u64> {
    let size = source.virtual_size();
    let cluster_size = geometry.cluster_size();
    let (mut at, mut data) = (0, 0);
    while at < size {
        let run = told_status(source, at, size - at).map_err(|error| {
            let class = error.class();
            Error::new(error.kind(), format!("Unable to get block status: {class}"))
        })?;
        let mut next = at + run.len;
        if run.data && run.allocated && !run.zero {
            next = next.next_multiple_of(cluster_size);
            data += next - at / cluster_size * cluster_size;
        }
        at = next;
    }
    Ok(data)
}

/// Bytes that copies of the source's bitmaps would take, if it can have any.
fn bitmaps_size(source: &Measured<'_>, geometry: &Geometry) -> Option<u64> {
    let bitmaps = source.bitmaps?;
    let cluster_size = geometry.cluster_size();
    let (mut clusters, mut directory) = (0, 0);
    for bitmap in bitmaps {
        let bytes = source.content.virtual_size().div_ceil(bitmap.granularity).div_ceil(8);
        let data = geometry.clusters_for(bytes);
        clusters += data + geometry.clusters_for(data * TABLE_ENTRY_SIZE);
        directory += directory_entry_size(bitmap.name.len());
    }
    Some((clusters + geometry.clusters_for(directory)) * cluster_size)
}
