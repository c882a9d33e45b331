//! `bitmap`: the persistent bitmaps of an image, changed.

use formats::bitmaps::BitmapWriter;
use formats::error::ResultExt;
use formats::{BitmapInfo, Durability, Error, ErrorKind, Image, OpenContext, OpenFlags, Recording, Result};
use journal::Access;

use crate::ImageName;

/// What QEMU calls the first image that a command opens, in complaints about it.
const NODE: &str = "#block100";

/// Changes to one bitmap, in their order. All of them happen, or none.
#[derive(Debug)]
pub struct ChangeBitmap {
    /// The image.
    pub image: ImageName,
    /// The bitmap's name.
    pub name: String,
    /// What is done.
    pub actions: Vec<Action>,
    /// Guest bytes for each bit of a bitmap that is made.
    pub granularity: Option<u64>,
    /// The image with the bitmaps that are merged, if it is another one.
    pub source: Option<ImageName>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the bitmap, recording writes.
    Add,
    /// Remove it.
    Remove,
    /// Forget what it has recorded.
    Clear,
    /// Record writes from now on.
    Enable,
    /// Record no more writes.
    Disable,
    /// Add what the bitmap of that name has recorded.
    Merge(String),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Clear => "clear",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Merge(_) => "merge",
        }
    }
}

impl ChangeBitmap {
    /// Does it.
    pub fn run(&self, context: &OpenContext<'_>) -> Result<()> {
        // What is behind an image has no part in its bitmaps.
        let read = OpenFlags { backing: false, ..OpenFlags::READ };
        let image = self.image.open(context, OpenFlags { access: Access::Write, ..read })?;
        let source = self.source.as_ref().map(|name| name.open(context, read)).transpose()?;
        for action in &self.actions {
            self.act(action, &image, source.as_ref())
                .context(|| format!("Operation {} on bitmap {} failed", action.name(), self.name))?;
        }
        match image.driver().writer() {
            Some(writer) => {
                writer.commit(Durability::Durable).context(|| "Error while closing the image".into())
            }
            None => Ok(()),
        }
    }

    fn act(&self, action: &Action, image: &Image, source: Option<&Image>) -> Result<()> {
        if *action == Action::Add {
            return self.add(image);
        }
        let Some(bitmaps) = writer(image) else { return Err(not_found(&self.name)) };
        let list = bitmaps.list();
        let index = position(&list, &self.name)?;
        if *action == Action::Remove {
            return bitmaps.remove(index);
        }
        usable(&list, index)?;
        match action {
            Action::Clear => bitmaps.clear(index),
            Action::Enable => bitmaps.record(index, Recording::On),
            Action::Disable => bitmaps.record(index, Recording::Off),
            Action::Merge(name) => match source {
                None => {
                    let source = position(&list, name)?;
                    usable(&list, source)?;
                    bitmaps.merge_own(index, source)
                }
                Some(source) => merge(bitmaps, index, image, source, name),
            },
            Action::Add | Action::Remove => Ok(()),
        }
    }

    fn add(&self, image: &Image) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid("Bitmap name cannot be empty"));
        }
        // Of a larger number QEMU takes the lower half.
        let granularity = self.granularity.map(|bytes| u64::from(bytes as u32));
        if granularity.is_some_and(|bytes| bytes < 512 || !bytes.is_power_of_two()) {
            return Err(Error::invalid("Granularity must be power of 2 and at least 512"));
        }
        let Some(bitmaps) = writer(image) else {
            let reason = Error::unsupported("Operation not supported");
            return Err(reason.context(format!("Can't store persistent bitmaps to {NODE}")));
        };
        if bitmaps.list().iter().any(|bitmap| bitmap.name == self.name) {
            return Err(Error::invalid(format!("Bitmap already exists: {}", self.name)));
        }
        let info = BitmapInfo {
            name: self.name.clone(),
            granularity: granularity.unwrap_or_else(|| bitmaps.default_granularity()),
            in_use: false,
            auto: true,
        };
        bitmaps.add(&info).context(|| format!("Can't make bitmap '{}' persistent in '{NODE}'", self.name))
    }
}

/// Merges a bitmap of another image.
fn merge(bitmaps: &dyn BitmapWriter, index: usize, image: &Image, source: &Image, name: &str) -> Result<()> {
    let Some(from) = source.driver().bitmaps() else { return Err(not_found(name)) };
    let found = position(from.list(), name)?;
    usable(from.list(), found)?;
    let (size, source_size) = (image.virtual_size(), source.virtual_size());
    if size != source_size {
        return Err(Error::invalid(format!(
            "Bitmaps are of different sizes (destination size is {size}, source size is {source_size}) \
             and can't be merged"
        )));
    }
    bitmaps.merge(index, &mut |visitor| from.visit(found, visitor))
}

fn writer(image: &Image) -> Option<&dyn BitmapWriter> {
    image.driver().writer()?.bitmaps()
}

fn position(list: &[BitmapInfo], name: &str) -> Result<usize> {
    list.iter().position(|bitmap| bitmap.name == name).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("Dirty bitmap '{name}' not found"))
}

/// Whether the content of a bitmap can be trusted.
fn usable(list: &[BitmapInfo], index: usize) -> Result<()> {
    match list.get(index) {
        Some(bitmap) if bitmap.in_use => {
            let text = format!("Bitmap '{}' is inconsistent and cannot be used", bitmap.name);
            let hint = "Try block-dirty-bitmap-remove to delete this bitmap from disk";
            Err(Error::invalid(text).with_hint(hint))
        }
        _ => Ok(()),
    }
}
