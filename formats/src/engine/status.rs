//! What a range of guest bytes is, through a backing chain.

use std::sync::Arc;

use journal::{Disk, ExtentKind};

use crate::{GuestOffset, Holes, HostOffset, Image, Result, Target};

/// What a run of guest bytes is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Length of the run in bytes.
    pub len: u64,
    /// The layer that decides: 0 is the image that was asked.
    pub depth: u32,
    /// Whether that layer holds the run itself. If not, no layer does.
    pub allocated: bool,
    /// Whether the run is known to read as zeroes.
    pub zero: bool,
    /// Whether there are bytes to read.
    pub data: bool,
    /// Whether they are compressed.
    pub compressed: bool,
    /// Where the bytes are, one after another, if they are plain.
    pub host: Option<(Arc<dyn Disk>, HostOffset)>,
}

/// What the run from `at` is, for at most `len` bytes, through the whole chain.
///
/// `at` is inside the image; the answer covers at least one byte.
pub fn status(image: &Image, at: u64, len: u64) -> Result<Status> {
    status_above(image, None, at, len)
}

/// The same as people are told it: of some formats all is said to be data, wherever it is.
pub fn told_status(image: &Image, at: u64, len: u64) -> Result<Status> {
    walk(image, None, at, len, told_layer_status)
}

/// The same, looking only at the layers above `base`: what none of them holds is not allocated.
pub fn status_above(image: &Image, base: Option<&Image>, at: u64, len: u64) -> Result<Status> {
    walk(image, base, at, len, layer_status)
}

fn walk(
    image: &Image,
    base: Option<&Image>,
    at: u64,
    len: u64,
    of_layer: fn(&Image, u64, u64) -> Result<Status>,
) -> Result<Status> {
    let mut layer = image;
    let mut run = of_layer(layer, at, len)?;
    loop {
        let next = match layer.backing() {
            Some(next)
                if !run.allocated && !base.is_some_and(|base| std::ptr::eq(base, &raw const **next)) =>
            {
                next
            }
            _ => return Ok(run),
        };
        let below = of_layer(next, at, run.len)?;
        let depth = run.depth + 1;
        run = match below.len {
            // The layer ends before this run: what is read past its end is its zeroes.
            0 => Status { allocated: true, zero: true, ..Status::unallocated(run.len) },
            _ => below,
        };
        run.depth = depth;
        layer = next;
    }
}

impl Status {
    fn unallocated(len: u64) -> Self {
        Self { len, depth: 0, allocated: false, zero: false, data: false, compressed: false, host: None }
    }
}

/// What one layer tells people of itself.
pub fn told_layer_status(image: &Image, at: u64, len: u64) -> Result<Status> {
    if image.driver().tells_allocation() || at >= image.virtual_size() {
        return layer_status(image, at, len);
    }
    let len = len.min(image.virtual_size() - at);
    Ok(Status { allocated: true, data: true, ..Status::unallocated(len) })
}

/// What one layer says by itself. A length of 0 means that the layer ends at or before `at`.
///
/// A run that the layer does not hold is known to be zeroes where nothing behind it reaches.
pub fn layer_status(image: &Image, at: u64, len: u64) -> Result<Status> {
    let len = len.min(image.virtual_size().saturating_sub(at));
    if len == 0 {
        return Ok(Status::unallocated(0));
    }
    let mapping = image.driver().map(GuestOffset(at), len)?;
    let run = Status::unallocated(mapping.len);
    Ok(match mapping.target {
        Target::Data { disk, offset, holes } => data_status(run, disk, offset, holes)?,
        Target::Zero { host } => Status { allocated: true, zero: true, host, ..run },
        Target::Compressed(_) => Status { allocated: true, data: true, compressed: true, ..run },
        Target::Unallocated { host } => Status { zero: nothing_behind(image, at), host, ..run },
    })
}

fn data_status(run: Status, disk: Arc<dyn Disk>, offset: HostOffset, holes: Holes) -> Result<Status> {
    let mut run = Status { allocated: true, data: true, ..run };
    if holes == Holes::Nowhere {
        return Ok(run);
    }
    if holes != Holes::Ignored {
        let extent = disk.extent_at(offset.0)?;
        run.len = run.len.min(extent.end.saturating_sub(offset.0).max(1));
        run.zero = extent.kind == ExtentKind::Hole;
        run.data = !run.zero || holes == Holes::Zero;
    }
    run.host = Some((disk, offset));
    Ok(run)
}

/// Whether nothing behind the image reaches `at`, so that what it does not hold is zeroes.
fn nothing_behind(image: &Image, at: u64) -> bool {
    image.backing().is_none_or(|backing| at >= backing.virtual_size())
}
