//! `snapshot`: the snapshots inside an image.

use formats::{Below, Image, SnapshotInfo};

/// The snapshots of an image, in the table's order; raw images show those of what they lie in.
pub fn list(image: &Image) -> &[SnapshotInfo] {
    if let Some(snapshots) = image.driver().snapshots() {
        return snapshots.list();
    }
    match image.children() {
        [child] => match &child.below {
            Below::Image(below) => list(below),
            Below::File(_) => &[],
        },
        _ => &[],
    }
}
