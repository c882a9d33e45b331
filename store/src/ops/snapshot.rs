//! `snapshot`: the snapshots inside an image.

use std::time::{SystemTime, UNIX_EPOCH};

use formats::{
    Below, Durability, Error, ErrorKind, Image, NewSnapshot, Result, SnapshotInfo, SnapshotWriter,
};

use crate::SnapshotSelector;

/// The snapshots of an image, in the table's order; raw images show those of what they lie in.
pub fn list(image: &Image) -> &[SnapshotInfo] {
    holder(image).and_then(|image| image.driver().snapshots()).map_or(&[], |snapshots| snapshots.list())
}

/// Takes a snapshot of an image that was opened for writing.
pub fn create(image: &Image, name: &str) -> Result<()> {
    let done = writer(image).and_then(|(holder, writer)| {
        writer.supported()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // C strings of 256 bytes hold names in QEMU.
        let name = shortened(name, 255);
        writer.create(&NewSnapshot {
            name,
            date_seconds: now.as_secs() as u32,
            date_nanoseconds: now.subsec_micros() * 1000,
        })?;
        commit(holder)
    });
    done.map_err(|error| error.context(format!("Could not create snapshot '{name}'")))
}

/// Makes an image that was opened for writing what it was when the snapshot was taken, which is
/// looked for among the ids first.
pub fn apply(image: &Image, name: &str) -> Result<()> {
    let failed = |error: Error| error.context(format!("Could not apply snapshot '{name}'"));
    let Ok((holder, writer)) = writer(image) else {
        return Err(failed(Error::unsupported("Block driver does not support snapshots")));
    };
    if holder.driver().bitmaps().is_some_and(|bitmaps| !bitmaps.list().is_empty()) {
        return Err(failed(Error::invalid("Device has active dirty bitmaps")));
    }
    let done = writer.supported().and_then(|()| {
        let found = SnapshotSelector::IdOrName(name.to_owned()).find(list(holder));
        writer.apply(found.ok_or_else(|| Error::new(ErrorKind::NotFound, "No such file or directory"))?)?;
        commit(holder)
    });
    done.map_err(|error| failed(error.context("Failed to load snapshot")))
}

/// Deletes the first snapshot of that name from an image that was opened for writing. Ids are not
/// looked at.
pub fn delete(image: &Image, name: &str) -> Result<()> {
    let found = list(image).iter().position(|snapshot| snapshot.name == name);
    let done = match found {
        Some(index) => writer(image).and_then(|(holder, writer)| {
            writer.supported()?;
            writer.delete(index)?;
            commit(holder)
        }),
        None => Err(Error::new(ErrorKind::NotFound, "snapshot not found")),
    };
    done.map_err(|error| error.context(format!("Could not delete snapshot '{name}'")))
}

/// The image that has the snapshots: this one, or the one that a raw image lies in.
fn holder(image: &Image) -> Option<&Image> {
    if image.driver().snapshots().is_some() {
        return Some(image);
    }
    match image.children() {
        [child] => match &child.below {
            Below::Image(below) => holder(below),
            Below::File(_) => None,
        },
        _ => None,
    }
}

fn writer(image: &Image) -> Result<(&Image, &dyn SnapshotWriter)> {
    let holder = holder(image);
    let writer = holder.and_then(|holder| Some((holder, holder.driver().writer()?.snapshots()?)));
    writer.ok_or_else(|| Error::unsupported("Operation not supported"))
}

fn commit(holder: &Image) -> Result<()> {
    holder.driver().writer().map_or(Ok(()), |writer| writer.commit(Durability::Durable))
}

/// A name of at most so many bytes.
fn shortened(name: &str, limit: usize) -> String {
    let bytes = formats::shown::printed(name.as_bytes());
    formats::shown::shown_bytes(bytes.get(..limit).unwrap_or(&bytes))
}
