//! Images that grow by being written anew in part: their tables move, and whoever reads them must look again.

use std::sync::OnceLock;

use journal::Zeroing;

use crate::create::Preallocation;
use crate::resize::{Behind, NewSize, Remainder};
use crate::{
    Allocation, Amend, BackingReference, BitmapWriter, Bitmaps, CheckReport, Compressing, Compression,
    DiskIdentity, Driver, Durability, Error, Finding, Format, FormatDetails, GuestOffset, ImageFile, Mapping,
    Overlay, Repairer, Resize, Result, SnapshotWriter, Snapshots, Writer,
};

/// A driver that can make its image larger.
pub(crate) trait Grow: Driver + Sized {
    /// Whether it can, as this image was opened.
    fn can_grow(&self) -> bool {
        true
    }

    /// Makes the disk larger and opens it again. What is added reads as zeroes; what was not committed before
    /// is committed with it.
    fn grow(&self, size: u64) -> Result<Self>;
}

/// An image, and what it has become.
#[derive(Debug)]
pub(crate) struct Resizable<D> {
    image: D,
    grown: OnceLock<Box<Self>>,
}

impl<D: Grow> Resizable<D> {
    pub(crate) fn new(image: D) -> Self {
        Self { image, grown: OnceLock::new() }
    }

    /// The image as it is now, and where it is to be put when it grows.
    fn latest(&self) -> &Self {
        let mut latest = self;
        while let Some(next) = latest.grown.get() {
            latest = next;
        }
        latest
    }

    fn now(&self) -> &D {
        &self.latest().image
    }

    fn now_writer(&self) -> Result<&dyn Writer> {
        self.now().writer().ok_or_else(|| Error::unsupported("Image is read-only"))
    }
}

impl<D: Grow> Resize for Resizable<D> {
    fn resize(&self, request: &NewSize) -> Result<Remainder> {
        let old = self.virtual_size();
        if request.size < old || request.preallocation != Preallocation::Off {
            return Err(Error::unsupported("Image format driver does not support resize"));
        }
        if request.behind == Behind::Bytes {
            return Err(Error::unsupported("Block driver does not support requested flags"));
        }
        if request.size > old {
            let latest = self.latest();
            let grown = Self::new(latest.image.grow(request.size)?);
            // Nobody else makes it grow: two at a time would have made two different images.
            let _ = latest.grown.set(Box::new(grown));
        }
        Ok(Remainder::None)
    }
}

impl<D: Grow> Driver for Resizable<D> {
    fn format(&self) -> Format {
        self.now().format()
    }

    fn virtual_size(&self) -> u64 {
        self.now().virtual_size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        self.now().map(at, len)
    }

    fn tells_allocation(&self) -> bool {
        self.now().tells_allocation()
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.now().backing()
    }

    fn content_id(&self) -> Option<u32> {
        self.now().content_id()
    }

    fn identity(&self) -> Result<Option<DiskIdentity>> {
        self.now().identity()
    }

    fn stand_on(&mut self, backing: &dyn Driver) -> Result<()> {
        self.image.stand_on(backing)
    }

    fn trust_backing(&self) -> Result<()> {
        self.now().trust_backing()
    }

    fn details(&self) -> Result<FormatDetails> {
        self.now().details()
    }

    fn files(&self) -> Vec<ImageFile> {
        self.now().files()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.now().writer().is_some().then_some(self as _)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.now().snapshots()
    }

    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        self.now().bitmaps()
    }

    fn can_check(&self) -> bool {
        self.now().can_check()
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        self.now().check(tell)
    }

    fn repairer(&self) -> Option<&dyn Repairer> {
        self.now().repairer()
    }
}

/// Who holds a writer goes on with the image as it has become.
impl<D: Grow> Writer for Resizable<D> {
    fn granularity(&self) -> u64 {
        self.now().writer().map_or(1, Writer::granularity)
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        self.now_writer()?.prepare(at, len)
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.now_writer()?.link(allocation)
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.now_writer()?.zero(at, len, how)
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.now_writer()?.discard(at, len)
    }

    fn compression(&self) -> Option<Compression> {
        self.now().writer()?.compression()
    }

    fn compressing(&self) -> Compressing {
        self.now().writer().map_or(Compressing::Never, Writer::compressing)
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        self.now_writer()?.write_compressed(at, payload)
    }

    fn snapshots(&self) -> Option<&dyn SnapshotWriter> {
        self.now().writer()?.snapshots()
    }

    fn bitmaps(&self) -> Option<&dyn BitmapWriter> {
        self.now().writer()?.bitmaps()
    }

    fn overwrites(&self) -> bool {
        self.now().writer().is_some_and(Writer::overwrites)
    }

    fn zeroes_are_data(&self) -> bool {
        self.now().writer().is_some_and(Writer::zeroes_are_data)
    }

    fn unwritten_is_noise(&self) -> bool {
        self.now().writer().is_some_and(Writer::unwritten_is_noise)
    }

    fn follow(&self, backing: &dyn Driver) {
        if let Some(writer) = self.now().writer() {
            writer.follow(backing);
        }
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        self.now().writer()?.overlay()
    }

    fn amender(&self) -> Option<&dyn Amend> {
        self.now().writer()?.amender()
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        self.now().can_grow().then_some(self as _)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        self.now_writer()?.commit(durability)
    }
}

/// Makes a range of a file's committed bytes read as zeroes.
pub(crate) fn clear(disk: &dyn journal::Disk, range: std::ops::Range<u64>) -> Result<()> {
    let end = range.end.min(disk.len()?);
    if range.start < end {
        disk.zero(range.start..end, Zeroing::Keep)?;
    }
    Ok(())
}

/// Bytes that are moved at a time.
const STEP: u64 = 2 << 20;

/// Moves bytes to where the committed image does not look.
pub(crate) fn copy(
    from: &dyn journal::Disk,
    at: u64,
    to: &dyn journal::Disk,
    target: u64,
    len: u64,
) -> Result<()> {
    let mut buffer = vec![0; STEP.min(len) as usize];
    let mut done = 0;
    while done < len {
        let step = STEP.min(len - done);
        let bytes = &mut buffer[..step as usize];
        from.read_padded(at + done, bytes)?;
        to.write_at(target + done, bytes)?;
        done += step;
    }
    Ok(())
}
