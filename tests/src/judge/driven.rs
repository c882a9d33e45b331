//! Images of the other formats: what their own drivers say of content and consistency.
//!
//! That is no second opinion on how a format is read, which the suites beside a real oracle give, but it tells old
//! from new, and sound from torn.

use std::ffi::OsStr;
use std::path::Path;

use formats::secrets::{Secret, Secrets};
use formats::{
    GuestOffset, Image, OpenContext, OpenFlags, PermissiveGate, engine, open_filename, open_image_opts,
};
use journal::sim::Frozen;

use super::Verdict;
use super::footprint::Reader;
use super::guest::{Digest, Hasher};

/// Bytes that are read at a time.
const STEP: u64 = 64 << 10;

/// Bytes of a file that a verdict rests on: what comes behind them was only reserved.
const MATTERS: u64 = 6 << 20;

/// What stands at `path`, as an image of that format.
pub(super) fn look(reader: &Reader<'_>, tree: &Frozen, path: &Path, format: &str) -> Result<Verdict, String> {
    rest_on_all(reader, tree)?;
    let fs = tree.thaw();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let open = |flags| open_filename(&context, path.as_os_str(), Some(format), flags);
    let image = open(OpenFlags::READ).map_err(|error| error.report())?;
    let content = digest(&image, &[]).map_err(|error| error.report())?;
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

/// What stands at `path`, as an encrypted image of that format: which passphrases open it, and what is in it.
pub(super) fn unlock(
    reader: &Reader<'_>,
    tree: &Frozen,
    path: &Path,
    format: &str,
    passphrases: &[&str],
) -> Result<Verdict, String> {
    rest_on_all(reader, tree)?;
    let fs = tree.thaw();
    let option = if format == "luks" { "key-secret" } else { "encrypt.key-secret" };
    let options = format!("driver={format},{option}=key,file.filename={}", path.display());
    let open = |passphrase: &&str| {
        let secrets = Secrets::default();
        secrets.keep(b"key", Secret::new(passphrase.as_bytes().to_vec()));
        let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: Some(&secrets) };
        open_image_opts(&context, OsStr::new(&options), OpenFlags::READ)
    };
    let opened: Vec<_> = passphrases.iter().map(open).collect();
    let opens: Vec<u8> = opened.iter().map(|image| u8::from(image.is_ok())).collect();
    let image = opened.iter().find_map(|image| image.as_ref().ok()).ok_or("no passphrase opens it")?;
    let content = digest(image, &opens).map_err(|error| error.report())?;
    Ok(Verdict { size: image.virtual_size(), content, qcow2: None })
}

/// What block options name.
pub(super) fn look_through(reader: &Reader<'_>, tree: &Frozen, options: &str) -> Result<Verdict, String> {
    rest_on_all(reader, tree)?;
    let fs = tree.thaw();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let image = open_image_opts(&context, OsStr::new(options), OpenFlags::READ);
    let image = image.map_err(|error| error.report())?;
    let content = digest(&image, &[]).map_err(|error| error.report())?;
    Ok(Verdict { size: image.virtual_size(), content, qcow2: None })
}

/// Takes all files of the tree to matter.
fn rest_on_all(reader: &Reader<'_>, tree: &Frozen) -> Result<(), String> {
    for name in tree.names() {
        if let Some(file) = reader.find(name) {
            reader.bytes(file, 0, reader.len(file).min(MATTERS))?;
        }
    }
    Ok(())
}

/// The guest's bytes, the name of the image behind, and what else there is to tell.
fn digest(image: &Image, more: &[u8]) -> formats::Result<Digest> {
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
    hasher.add(size.next_multiple_of(512), &[&name, more].concat());
    Ok(hasher.finish())
}
