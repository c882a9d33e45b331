//! Looking at an image for what the catalog keeps of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use formats::{Error, Format, Image, OpenContext, OpenFlags, Result, probe};
use journal::{DiskKind, Fs, OpenOptions};

use crate::ImageName;
use crate::name::file_of_name;

/// How much of a file its header's fingerprint is made of: the fields, the extensions and, where
/// nobody moved it, the backing file's name.
const HEADER: usize = 4096;

/// Which file it is: the inode number alone may be given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// When it was made, nanoseconds since 1970; 0 where the filesystem does not tell.
    pub born: u64,
}

/// What tells whether a file is still the same image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) identity: Identity,
    pub(super) format: Format,
    /// BLAKE3 of the header; a raw image has none: its first bytes are the guest's.
    pub(super) fingerprint: Option<[u8; 32]>,
}

/// What an image says that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The image behind it.
    Backing,
    /// The file that has its data.
    DataFile,
    /// A file that has a part of it.
    Extent,
}

impl Role {
    /// As it stands in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backing => "backing",
            Self::DataFile => "data-file",
            Self::Extent => "extent",
        }
    }

    /// As a person reads it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Backing => "backing file",
            Self::DataFile => "data file",
            Self::Extent => "extent",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "data-file" => Self::DataFile,
            "extent" => Self::Extent,
            _ => Self::Backing,
        }
    }
}

/// A file that an image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) role: Role,
    /// As it stands in the image.
    pub(super) name: OsString,
    pub(super) format: Option<String>,
    /// Where that is: absolute, symbolic links resolved.
    pub(super) path: PathBuf,
}

/// What was found at a path.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) path: PathBuf,
    pub(super) mark: Mark,
    /// Bytes in the virtual disk; `None` if the image cannot be opened.
    pub(super) size: Option<u64>,
    pub(super) needs: Vec<Need>,
}

impl Mark {
    /// The mark of the file at `path`, or `None` if no image can be there.
    pub(super) fn of(fs: &dyn Fs, path: &Path) -> Result<Option<Self>> {
        // A pipe must not be opened: it would wait for somebody at its other end.
        let kind = fs.status(path)?.map(|status| status.kind);
        if !matches!(kind, Some(DiskKind::Regular | DiskKind::Block)) {
            return Ok(None);
        }
        let disk = fs.open(path, OpenOptions::READ)?;
        let status = disk.status()?;
        let mut header = vec![0; HEADER];
        let read = disk.read_at(0, &mut header)?;
        header.truncate(read);
        let format = probe::probe_bytes(&header, path.as_os_str().as_bytes());
        let (device, inode) = status.identity;
        Ok(Some(Self {
            identity: Identity { device, inode, born: status.born },
            format,
            fingerprint: (format != Format::Raw).then(|| *blake3::hash(&header).as_bytes()),
        }))
    }

    fn into_raw(self) -> Self {
        Self { format: Format::Raw, fingerprint: None, ..self }
    }
}

/// What an image's bytes are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What they look like.
    Probed,
    /// The guest's own: an image that was raw stays raw, whatever a guest writes into it.
    Raw,
}

/// Looks at the image at `path`, which is resolved.
pub(super) fn observe(
    context: &OpenContext<'_>,
    path: &Path,
    reading: Reading,
) -> Result<Option<Observation>> {
    let Some(mark) = Mark::of(context.fs, path)? else { return Ok(None) };
    let mark = if reading == Reading::Raw { mark.into_raw() } else { mark };
    let path = path.to_owned();
    Ok(Some(match open(context, &path, mark.format) {
        Ok(image) => {
            let needs = needs(context, &path, &image);
            Observation { path, mark, size: Some(image.virtual_size()), needs }
        }
        Err(error) => {
            tracing::debug!(image = %path.display(), error = %error.report(), "An image cannot be opened.");
            Observation { path, mark, size: None, needs: Vec::new() }
        }
    }))
}

/// Opens an image for its metadata, whoever else uses it.
fn open(context: &OpenContext<'_>, path: &Path, format: Format) -> Result<Image> {
    let flags = OpenFlags { force_share: true, backing: false, data: false, ..OpenFlags::READ };
    let name = ImageName::File { name: path.into(), format: Some(format.name().to_owned()) };
    name.open(context, flags)
}

fn needs(context: &OpenContext<'_>, path: &Path, image: &Image) -> Vec<Need> {
    let resolve = |full: &OsStr| context.fs.resolve(&file_of_name(full)?).ok();
    let mut needs = Vec::new();
    if let Some(backing) = image.driver().backing()
        && let Some(full) = image.full_backing_name()
        && let Some(path) = resolve(full)
    {
        let name = OsStr::from_bytes(&backing.name).to_owned();
        needs.push(Need { role: Role::Backing, name, format: backing.format.clone(), path });
    }
    let details = image.driver().details().ok().and_then(|details| details.specific);
    if let Some(name) = details.as_ref().and_then(|details| details["data"]["data-file"].as_str())
        && let Some(path) = resolve(OsStr::new(name))
    {
        needs.push(Need { role: Role::DataFile, name: name.into(), format: Some("raw".to_owned()), path });
    }
    needs.extend(extents(context, path, image));
    needs
}

/// The other files that have parts of an image.
fn extents(context: &OpenContext<'_>, path: &Path, image: &Image) -> Vec<Need> {
    let names = image
        .children()
        .iter()
        .filter(|child| child.is_extent())
        .filter_map(|child| child.below.name().exact());
    let files = names.filter_map(|name| Some((name, context.fs.resolve(&file_of_name(name)?).ok()?)));
    let others = files.filter(|(_, file)| file != path);
    others
        .map(|(name, path)| Need { role: Role::Extent, name: name.to_owned(), format: None, path })
        .collect()
}

/// Where an image is, for the catalog: absolute, symbolic links resolved.
pub(super) fn resolve(fs: &dyn Fs, path: &Path) -> Result<PathBuf> {
    fs.resolve(path).map_err(Error::from)
}
