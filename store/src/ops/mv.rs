//! `mv`: moves an image, and lets those that need it know.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use formats::error::ResultExt;
use formats::options::name;
use formats::shown::shown;
use formats::{BackingReference, Child, Durability, Error, Image, OpenContext, OpenFlags, Result};
use journal::Access;

use super::rm::{is_link, require_file};
use crate::ImageName;
use crate::catalog::{Dependent, Role};

/// What to move where.
#[derive(Debug)]
pub struct Move<'a> {
    /// The image.
    pub from: &'a Path,
    /// Its new name, which must be free.
    pub to: &'a Path,
    /// Images that are known to need it; those that name it so are changed.
    pub dependents: &'a [Dependent],
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where the image is now: absolute, symbolic links resolved.
    pub to: PathBuf,
    /// The images that name it, and now do so by its new name.
    pub rewritten: Vec<PathBuf>,
}

impl Move<'_> {
    /// Does it.
    pub fn run(&self, context: &OpenContext<'_>) -> Result<Moved> {
        require_file(context.fs, self.from)?;
        let from = context.fs.resolve(self.from)?;
        let to = self.target(context)?;
        let mut rewritten = Vec::new();
        for dependent in self.dependents.iter().filter(|dependent| dependent.via == from) {
            rewrite(context, dependent, &to)
                .context(|| format!("Could not change '{}'", shown(dependent.path.as_os_str())))?;
            rewritten.push(dependent.path.clone());
        }
        if from.parent() != to.parent() {
            keep_needs(context, &from, &to)?;
        }
        context.fs.rename(&from, &to)?;
        for path in [&from, &to] {
            context.fs.sync_directory(path.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(Moved { to, rewritten })
    }

    fn target(&self, context: &OpenContext<'_>) -> Result<PathBuf> {
        if is_link(context.fs, self.to)? || context.fs.status(self.to)?.is_some() {
            return Err(Error::invalid(format!("'{}' exists", shown(self.to.as_os_str()))));
        }
        Ok(context.fs.resolve(self.to)?)
    }
}

/// Opens an image to change what it names; that need not be there.
fn open(context: &OpenContext<'_>, path: &Path, format: Option<String>) -> Result<Image> {
    let flags = OpenFlags { access: Access::Write, backing: false, data: false, ..OpenFlags::READ };
    ImageName::File { name: path.into(), format }.open(context, flags)
}

/// Gives a dependent the new name of what it needs.
fn rewrite(context: &OpenContext<'_>, dependent: &Dependent, to: &Path) -> Result<()> {
    if dependent.role != Role::Backing {
        return Err(Error::unsupported(
            "It has its data in the file, and the name of that cannot be changed",
        ));
    }
    let image = open(context, &dependent.path, Some(dependent.format.clone()))?;
    set_backing(&image, &renamed(&dependent.name, &dependent.path, to)?)
}

/// Another name for the same backing image.
fn set_backing(image: &Image, name: &OsStr) -> Result<()> {
    let writer = image.driver().writer();
    let (Some(writer), Some(overlay), Some(reference)) =
        (writer, writer.and_then(|writer| writer.overlay()), image.driver().backing())
    else {
        return Err(Error::unsupported("This image format cannot be given another backing file"));
    };
    let reference = BackingReference { name: name.as_bytes().to_vec(), format: reference.format.clone() };
    overlay.set_backing(Some(&reference))?;
    writer.commit(Durability::Durable)
}

/// How an image at `overlay`, which says `old`, is to name what is now at `to`: relative to itself, by a
/// path, or with a protocol, as before.
fn renamed(old: &OsStr, overlay: &Path, to: &Path) -> Result<OsString> {
    match name::protocol(old) {
        None if name::is_absolute(old) => Ok(to.into()),
        None => Ok(relative(overlay, to)),
        Some(b"file") => Ok(OsString::from_vec([b"file:", to.as_os_str().as_bytes()].concat())),
        Some(_) => {
            let old = shown(old);
            Err(Error::unsupported(format!(
                "It names the image by options, which are kept as they are: {old}"
            )))
        }
    }
}

/// The name of the file at `path` relative to the directory of `image`. Both are absolute, without
/// symbolic links.
fn relative(image: &Path, path: &Path) -> OsString {
    let directory: Vec<Component<'_>> = image.parent().into_iter().flat_map(Path::components).collect();
    let target: Vec<Component<'_>> = path.components().collect();
    let common = directory.iter().zip(&target).take_while(|(one, two)| one == two).count();
    let up = std::iter::repeat_n(Component::ParentDir, directory.len() - common);
    let name: PathBuf = up.chain(target[common..].iter().copied()).collect();
    // What looks like a protocol would be taken for one.
    match name::protocol(name.as_os_str()) {
        Some(_) => Path::new(".").join(name).into(),
        None => name.into(),
    }
}

/// An image that moves to another directory goes on naming the same files.
fn keep_needs(context: &OpenContext<'_>, from: &Path, to: &Path) -> Result<()> {
    let image = open_to_look(context, from)?;
    let details = image.driver().details()?.specific;
    let data_file = details.as_ref().and_then(|details| details["data"]["data-file"].as_str());
    let reason = if data_file.is_some_and(|data_file| !name::is_absolute(OsStr::new(data_file))) {
        Some("its data file's name is relative, and cannot be changed")
    } else if image.children().iter().any(Child::is_extent) {
        Some("it has extents in files of their own, which would stay")
    } else {
        None
    };
    if let Some(reason) = reason {
        let from = shown(from.as_os_str());
        return Err(Error::unsupported(format!("'{from}' cannot go to another directory: {reason}")));
    }
    let Some(backing) = image.driver().backing() else { return Ok(()) };
    let backing = OsStr::from_bytes(&backing.name);
    if name::is_absolute(backing) || backing.is_empty() {
        return Ok(());
    }
    let target = context.fs.resolve(Path::new(&name::relative_to(from.as_os_str(), backing)))?;
    let format = image.format().name().to_owned();
    drop(image);
    set_backing(&open(context, from, Some(format))?, &relative(to, &target))
}

fn open_to_look(context: &OpenContext<'_>, path: &Path) -> Result<Image> {
    let flags = OpenFlags { backing: false, data: false, ..OpenFlags::READ };
    ImageName::File { name: path.into(), format: None }.open(context, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_of_their_kind() {
        let name = |old: &str, overlay: &str, to: &str| {
            let name = renamed(OsStr::new(old), Path::new(overlay), Path::new(to));
            name.map(|name| name.into_string().unwrap()).ok()
        };
        assert_eq!(name("base", "/d/top", "/d/new").as_deref(), Some("new"));
        assert_eq!(name("../base", "/d/e/top", "/f/new").as_deref(), Some("../../f/new"));
        assert_eq!(name("base", "/top", "/d/new").as_deref(), Some("d/new"));
        assert_eq!(name("base", "/d/top", "/d/a:b").as_deref(), Some("./a:b"));
        assert_eq!(name("/d/base", "/d/top", "/d/new").as_deref(), Some("/d/new"));
        assert_eq!(name("file:/d/base", "/d/top", "/e").as_deref(), Some("file:/e"));
        assert_eq!(name("json:{}", "/d/top", "/e"), None);
    }
}
