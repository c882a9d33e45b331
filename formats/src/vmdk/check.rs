//! Whether the grains of a VMDK image are where its files have bytes.

use super::Vmdk;
use super::extents::{Body, Extent};
use super::grains::Grain;
use super::invalid;
use crate::raw::{SECTOR, sectors};
use crate::{CheckReport, Error, ErrorKind, Finding, Result};

/// Looks at all extents, up to the first error, which ends the check.
pub(super) fn check(image: &Vmdk, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
    for extent in &image.extents {
        if let Some(damage) = find_damage(extent) {
            let sector = (extent.start + damage.at) / SECTOR;
            let (text, error) = match damage.kind {
                Kind::NoAnswer => (
                    format!("ERROR: could not get cluster_offset for sector {sector}"),
                    Error::new(ErrorKind::Refused, "Operation not permitted"),
                ),
                Kind::PastEnd => {
                    (format!("ERROR: cluster offset for sector {sector} points after EOF"), invalid())
                }
            };
            tell(Finding::Line(text));
            return Err(error);
        }
    }
    Ok(CheckReport::default())
}

/// Something wrong with an extent.
struct Damage {
    /// With the grain that starts at this byte of it.
    at: u64,
    kind: Kind,
}

enum Kind {
    /// The tables do not tell where it is.
    NoAnswer,
    /// It is past the end of the file.
    PastEnd,
}

/// The first damage of an extent.
fn find_damage(extent: &Extent) -> Option<Damage> {
    let no_answer = |at| Some(Damage { at, kind: Kind::NoAnswer });
    let past_end = |at| Some(Damage { at, kind: Kind::PastEnd });
    let Ok(file_len) = extent.file().len().map(sectors) else { return no_answer(0) };
    let sparse = match &extent.body {
        Body::Flat { offset, .. } if *offset >= file_len => return past_end(0),
        Body::Flat { .. } => return None,
        Body::Sparse(sparse) => sparse,
    };
    let size = sparse.layout.grain_size();
    let count = (extent.end - extent.start).div_ceil(size);
    let mut number = 0;
    while number < count {
        let at = number * size;
        match sparse.run(number, count - 1) {
            Ok((Grain::At(host), _)) if host >= file_len => return past_end(at),
            Ok((_, more)) => number += more,
            Err(_) => return no_answer(at),
        }
    }
    None
}
