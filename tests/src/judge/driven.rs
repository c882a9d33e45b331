//! Images of the other formats: what their own drivers say of content and consistency.
//!
//! That is no second opinion on how a format is read, which the suites beside a real oracle give, but it tells old
//! from new, and sound from torn.

use std::path::Path;

use formats::{GuestOffset, Image, OpenContext, OpenFlags, PermissiveGate, engine, open_filename};
use journal::sim::Frozen;

use super::Verdict;
use super::footprint::Reader;
use super::guest::{Digest, Hasher};

/// Bytes that are read at a time.
const STEP: u64 = 64 << 10;

/// Bytes of a file that a verdict rests on: what comes behind them was only reserved.
const MATTERS: u64 = 6 << 20;

/// What stands at `path`, as an image of that format. All files of the tree are taken to matter.
pub(super) fn look(reader: &Reader<'_>, tree: &Frozen, path: &Path, format: &str) -> Result<Verdict, String> {
    for name in tree.names() {
        if let Some(file) = reader.find(name) {
            reader.bytes(file, 0, reader.len(file).min(MATTERS))?;
        }
    }
    let fs = tree.thaw();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let open = |flags| open_filename(&context, path.as_os_str(), Some(format), flags);
    let image = open(OpenFlags::READ).map_err(|error| error.report())?;
    let content = digest(&image).map_err(|error| error.report())?;
    let checked = open(OpenFlags { check: true, backing: false, ..OpenFlags::READ });
    let corruptions = match checked.map_err(|error| error.report())?.driver() {
        driver if driver.can_check() => {
            driver.check(&mut |_| ()).map_err(|error| error.report())?.corruptions
        }
        _ => 0,
    };
    match corruptions {
        0 => Ok(Verdict { size: image.virtual_size(), content, qcow2: None }),
        some => Err(format!("{some} corruptions")),
    }
}

/// The guest's bytes and the name of the image behind.
fn digest(image: &Image) -> formats::Result<Digest> {
    let mut hasher = Hasher::default();
    let size = image.virtual_size();
    let mut at = 0;
    while at < size {
        let run = image.driver().map(GuestOffset(at), size - at)?;
        let has_something = image.backing().is_some()
            || !matches!(run.target, formats::Target::Zero { .. } | formats::Target::Unallocated { .. });
        let len = run.len.min(if has_something { STEP } else { u64::MAX });
        if has_something {
            let mut bytes = vec![0; len as usize];
            engine::read(image, at, &mut bytes)?;
            hasher.add(at, &bytes);
        }
        at += len;
    }
    let name = image.driver().backing().map(|backing| backing.name.clone()).unwrap_or_default();
    hasher.add(size.next_multiple_of(512), &name);
    Ok(hasher.finish())
}
