//! `resize`: another size of the virtual disk.

use formats::create::Preallocation;
use formats::engine::{self, Write};
use formats::resize::{Behind, Fit, NewSize, Remainder};
use formats::{Durability, Error, Image, Result, Writer};
use journal::Zeroing;

/// A new size as a person asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many bytes.
    To(u64),
    /// So many bytes more.
    By(u64),
    /// So many bytes less.
    Less(u64),
}

/// A request that was found to be sound for its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizePlan {
    old: u64,
    new: u64,
    preallocation: Preallocation,
}

impl Change {
    /// Finds out what the request means. Nothing is changed.
    pub fn plan(self, image: &Image, preallocation: Preallocation) -> Result<ResizePlan> {
        let old = image.virtual_size();
        // Numbers wrap as they do in QEMU, where sizes are signed.
        let new = match self {
            Self::To(size) => size,
            Self::By(more) => old.wrapping_add(more),
            Self::Less(less) => old.wrapping_sub(less),
        };
        if new.cast_signed() <= 0 {
            return Err(Error::invalid("New image size must be positive"));
        }
        if new <= old && preallocation != Preallocation::Off {
            return Err(Error::invalid("Preallocation can only be used for growing images"));
        }
        Ok(ResizePlan { old, new, preallocation })
    }
}

impl ResizePlan {
    /// Whether bytes of the disk are lost.
    pub fn shrinks(&self) -> bool {
        self.new < self.old
    }

    /// Changes the size of an image that was opened for writing.
    pub fn run(&self, image: &Image) -> Result<()> {
        let writer = writer(image)?;
        let request = NewSize { preallocation: self.preallocation, ..NewSize::plain(self.new, Fit::Exact) };
        apply(image, writer, request)?;
        writer.commit(Durability::Durable)
    }
}

/// Changes the size; nothing is committed.
pub(crate) fn apply(image: &Image, writer: &dyn Writer, request: NewSize) -> Result<()> {
    let no_resize = || Error::unsupported("Image format driver does not support resize");
    let resizer = writer.resizer().ok_or_else(no_resize)?;
    let old = image.virtual_size();
    let covered = image.backing().is_some_and(|backing| backing.virtual_size() > old) && request.size > old;
    let behind = if covered { Behind::Bytes } else { Behind::Nothing };
    let request = NewSize { behind, ..request };
    request.check_range()?;
    let range = match resizer.resize(&request)? {
        Remainder::None => return Ok(()),
        Remainder::Write(range) => range,
        Remainder::Clear(range) => {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            engine::read(image, range.start, &mut bytes)?;
            if engine::is_zero(&bytes) {
                return Ok(());
            }
            range
        }
    };
    let zeroes = Write::Zeroes { len: range.end - range.start, how: Zeroing::Keep };
    resizer.settle(&mut || engine::write(image, range.start, zeroes))
}

fn writer(image: &Image) -> Result<&dyn Writer> {
    image.driver().writer().ok_or_else(|| Error::unsupported("Image is read-only"))
}
