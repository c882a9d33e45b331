//! `convert`: copies images, one after another, into a new image or an existing one.

use formats::create::{CreateOptions, NewImage};
use formats::engine::{Write, write};
use formats::error::ResultExt;
use formats::{Compressing, Durability, Error, Format, Image, OpenContext, OpenFlags, Result};
use journal::Zeroing;

use crate::copy::{Beneath, Copy, Method, Unreadable, workers};
use crate::target::{NewTarget, starts_zeroed};
use crate::{ImageName, Progress, SnapshotSelector};

/// What to convert into what.
#[derive(Debug)]
pub struct Convert {
    /// The images to read, in order.
    pub sources: Vec<ImageName>,
    /// How they are opened.
    pub source_flags: OpenFlags,
    /// Read this snapshot of the (only) source.
    pub snapshot: Option<SnapshotSelector>,
    /// Where the bytes go.
    pub target: Target,
    /// How they get there.
    pub transfer: Transfer,
    /// The shortest run of zeroes that is left out, in bytes; 0 writes every zero.
    pub min_sparse: u64,
    /// Which persistent bitmaps are copied too.
    pub bitmaps: BitmapPolicy,
    /// What an unreadable sector does.
    pub unreadable: UnreadablePolicy,
    /// Pieces of work at a time.
    pub parallel: usize,
    /// Bytes per second at most.
    pub rate: Option<u64>,
}

/// Where the bytes go.
#[derive(Debug)]
pub enum Target {
    /// Into a new image, which appears when it is complete. Its size is the sources'.
    New(NewTarget),
    /// Into an image that exists (`-n`).
    Existing {
        /// The image.
        name: ImageName,
        /// How it is opened.
        flags: OpenFlags,
        /// What it holds now.
        content: Content,
    },
}

/// What an existing target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Anything.
    Unknown,
    /// Zeroes, the caller says.
    Zeroes,
    /// What its backing image shows, the caller says, and that equals what is behind the source.
    Backing,
}

/// How bytes get from the sources into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Read and written.
    Plain,
    /// Compressed in between.
    Compressed,
    /// Copied by the kernel where it can.
    Offload,
}

/// Which persistent bitmaps are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitmapPolicy {
    /// None.
    None,
    /// All; one that cannot be trusted is an error.
    All,
    /// All that can be trusted.
    SkipBroken,
}

/// What an unreadable sector does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadablePolicy {
    /// It ends the conversion.
    Fail,
    /// It becomes zeroes, and a warning is given.
    Salvage,
}

impl Convert {
    /// Does it.
    pub fn run(self, context: &OpenContext<'_>, progress: &dyn Progress) -> Result<()> {
        let sources = self.open_sources(context)?;
        let mut sizes = sources.iter().map(Image::virtual_size);
        let total = sizes.try_fold(0, u64::checked_add);
        let total = total.ok_or_else(|| Error::invalid("The sources are too large together"))?;
        match &self.target {
            Target::New(target) => {
                let plan = target.plan(total)?;
                if plan.has_backing() && sources.len() > 1 {
                    return Err(Error::invalid(
                        "Having a backing file for the target makes no sense when concatenating multiple input images",
                    ));
                }
                self.check_compression(plan.format, &plan.options)?;
                let bitmaps = self.bitmaps_to_copy(&sources)?;
                let new = plan.begin(context, &format!("error while converting {}", plan.format))?;
                self.check_target(new.image())?;
                let beneath = beneath_new(&new, total)?;
                self.copy(&sources, new.image(), total, beneath, progress)?;
                store_bitmaps(&bitmaps, &sources, new.image())?;
                new.publish().context(|| "error while writing".to_owned())
            }
            Target::Existing { name, flags, content } => {
                let bitmaps = self.bitmaps_to_copy(&sources)?;
                let image = name.open(context, *flags)?;
                self.check_target(&image)?;
                if image.virtual_size() < total {
                    return Err(Error::invalid("output file is smaller than input file"));
                }
                let beneath = self.beneath_existing(&image, total, *content)?;
                self.copy(&sources, &image, total, beneath, progress)?;
                store_bitmaps(&bitmaps, &sources, &image)?;
                commit(&image)
            }
        }
    }

    fn open_sources(&self, context: &OpenContext<'_>) -> Result<Vec<Image>> {
        let mut sources = Vec::with_capacity(self.sources.len());
        for name in &self.sources {
            sources.push(name.open(context, self.source_flags)?);
        }
        match (&self.snapshot, &mut sources[..]) {
            (Some(SnapshotSelector::IdOrName(_)), [_, _, ..]) => {
                return Err(Error::invalid("No support for concatenating multiple snapshot"));
            }
            (Some(selector), [first, ..]) => *first = selector.view(first)?,
            _ => {}
        }
        Ok(sources)
    }

    fn copy(
        &self,
        sources: &[Image],
        target: &Image,
        len: u64,
        beneath: Beneath<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let warn = |at: u64, error: &Error| {
            formats::notice::warn(&format!("error while reading offset {at}: {}", error.report()));
        };
        let copy = Copy {
            sources,
            skip: 0,
            len,
            target,
            beneath,
            method: self.method(target),
            min_sparse: self.min_sparse,
            unreadable: match self.unreadable {
                UnreadablePolicy::Fail => Unreadable::Fails,
                UnreadablePolicy::Salvage => Unreadable::BecomesZeroes(&warn),
            },
            workers: workers(self.parallel),
            rate: self.rate,
        };
        copy.run(progress)
    }
}

impl Convert {
    fn method(&self, target: &Image) -> Method {
        match (self.transfer, compressing(target)) {
            (_, Compressing::Always | Compressing::Whole)
            | (Transfer::Compressed, Compressing::OnRequest) => Method::Compressed,
            (Transfer::Offload, _) => Method::Offload,
            _ if matches!(self.target, Target::Existing { .. }) => {
                Method::into_existing(target, self.source_flags)
            }
            _ => Method::Plain,
        }
    }

    /// What cannot be compressed is refused before anything is made.
    fn check_compression(&self, format: Format, options: &CreateOptions) -> Result<()> {
        if self.transfer != Transfer::Compressed {
            return Ok(());
        }
        if !matches!(format, Format::Qcow | Format::Qcow2 | Format::Vmdk) {
            return Err(no_compression());
        }
        if options.flag("encryption") || options.is_given("encrypt.format") {
            return Err(Error::invalid("Compression and encryption not supported at the same time"));
        }
        if options.text("preallocation").is_some_and(|mode| mode != b"off") {
            return Err(Error::invalid("Compression and preallocation not supported at the same time"));
        }
        Ok(())
    }

    fn check_target(&self, target: &Image) -> Result<()> {
        let driver = target.driver();
        if self.bitmaps != BitmapPolicy::None && driver.bitmaps().is_none() {
            let format = driver.format();
            return Err(Error::unsupported(format!("Format driver '{format}' does not support bitmaps")));
        }
        if self.transfer == Transfer::Compressed && compressing(target) == Compressing::Never {
            // Of the formats that can, some images cannot.
            return match driver.format() {
                Format::Vmdk => Err(Error::invalid("invalid cluster size")),
                _ => Err(no_compression()),
            };
        }
        Ok(())
    }

    /// The places of the source's bitmaps that are to be copied.
    fn bitmaps_to_copy(&self, sources: &[Image]) -> Result<Vec<usize>> {
        if self.bitmaps == BitmapPolicy::None {
            return Ok(Vec::new());
        }
        let [source] = sources else {
            return Err(Error::invalid("Copying bitmaps only possible with single source"));
        };
        let bitmaps =
            source.driver().bitmaps().ok_or_else(|| Error::unsupported("Source lacks bitmap support"))?;
        let mut copied = Vec::new();
        for (index, bitmap) in bitmaps.list().iter().enumerate() {
            match (bitmap.in_use, self.bitmaps) {
                (false, _) => copied.push(index),
                (true, BitmapPolicy::SkipBroken) => {
                    formats::notice::warn(&format!("Skipping inconsistent bitmap '{}'", bitmap.name));
                }
                (true, _) => {
                    let message = format!("Cannot copy inconsistent bitmap '{}'", bitmap.name);
                    let hint = "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it";
                    return Err(Error::invalid(message).with_hint(hint));
                }
            }
        }
        Ok(copied)
    }

    /// What an existing target reads as where nothing is written. What it holds goes first, in one
    /// piece, unless every byte is going to be written.
    fn beneath_existing(&self, target: &Image, len: u64, content: Content) -> Result<Beneath<'static>> {
        match content {
            Content::Zeroes => Ok(Beneath::Zeroes),
            Content::Backing => Ok(Beneath::Backing(u64::MAX)),
            Content::Unknown if self.min_sparse == 0 || stores_zeroes(target) => Ok(Beneath::Unknown),
            // It holds nothing, or cannot be written.
            Content::Unknown if compressing(target) == Compressing::Always => Ok(Beneath::Unknown),
            Content::Unknown => Ok(match make_zero(target, len, Zeroing::Unmap) {
                Ok(()) => Beneath::Zeroes,
                // Each zero is written, which tells what is wrong, and where.
                Err(_) => Beneath::Unknown,
            }),
        }
    }
}

/// What a new target reads as where nothing is written.
fn beneath_new(new: &NewImage, len: u64) -> Result<Beneath<'static>> {
    match new.image().backing() {
        Some(backing) => Ok(Beneath::Backing(backing.virtual_size())),
        None if stores_zeroes(new.image()) => Ok(Beneath::Unknown),
        None if starts_zeroed(new)? => Ok(Beneath::Zeroes),
        // What was preallocated is kept.
        None => make_zero(new.image(), len, Zeroing::Keep).map(|()| Beneath::Zeroes),
    }
}

/// Whether every zero has to be written.
fn stores_zeroes(image: &Image) -> bool {
    image.driver().writer().is_some_and(|writer| writer.zeroes_are_data())
}

fn compressing(image: &Image) -> Compressing {
    image.driver().writer().map_or(Compressing::Never, |writer| writer.compressing())
}

/// Makes the first `len` bytes zeroes; what stands after them is not the copy's to change.
fn make_zero(image: &Image, len: u64, how: Zeroing) -> Result<()> {
    match len {
        0 => Ok(()),
        len => write(image, 0, Write::Zeroes { len, how }),
    }
}

fn no_compression() -> Error {
    Error::unsupported("Compression not supported for this file format")
}

/// Copies bitmaps into the target.
fn store_bitmaps(indices: &[usize], sources: &[Image], target: &Image) -> Result<()> {
    let from = sources.first().and_then(|source| source.driver().bitmaps());
    let to = target.driver().writer().and_then(|writer| writer.bitmaps());
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    for &index in indices {
        to.store(&from.list()[index], &mut |visitor| from.visit(index, visitor))?;
    }
    Ok(())
}

fn commit(image: &Image) -> Result<()> {
    match image.driver().writer() {
        Some(writer) => writer.commit(Durability::Durable).context(|| "error while writing".to_owned()),
        None => Ok(()),
    }
}
