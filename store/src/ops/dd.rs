//! `dd`: copies a part of an image, or a stream, into an image or a stream.

use std::io::{ErrorKind as IoErrorKind, Read, Write as WriteStream};

use formats::engine::{Reader, Write, is_zero, write};
use formats::error::ResultExt;
use formats::{Durability, Error, ErrorKind, Image, OpenContext, OpenFlags, Result};

use crate::copy::{Beneath, Copy, Method, Unreadable, workers};
use crate::target::{NewTarget, starts_zeroed};
use crate::{ImageName, NoProgress, SnapshotSelector};

/// What to copy where.
#[derive(Debug)]
pub struct Dd {
    /// The image to read; standard input if there is none.
    pub source: Option<ImageName>,
    /// How it is opened.
    pub source_flags: OpenFlags,
    /// Read this snapshot of it.
    pub snapshot: Option<SnapshotSelector>,
    /// Where the bytes go.
    pub target: Target,
    /// Bytes in a block: the unit of `count` and `skip`.
    pub block_size: u64,
    /// Blocks of the input that count, from its start: what is skipped is among them.
    pub count: Option<u64>,
    /// Blocks at the start of the input that are not copied.
    pub skip: u64,
    /// Bytes in the input, if that is not to be found by looking.
    pub input_size: Option<u64>,
    /// Bytes in the new image, if not as many as are copied.
    pub output_size: Option<u64>,
}

/// Where the bytes go.
#[derive(Debug)]
pub enum Target {
    /// Into a new image, which appears when it is complete.
    New(NewTarget),
    /// Into an image that exists.
    Existing {
        /// The image.
        name: ImageName,
        /// How it is opened.
        flags: OpenFlags,
    },
    /// To standard output.
    Stream,
}

/// Standard input and output, for a copy that uses them.
pub struct Streams<'a> {
    /// Where bytes come from if there is no source image.
    pub input: &'a mut dyn Read,
    /// Where they go if there is no target image.
    pub output: &'a mut dyn WriteStream,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

/// Bytes that go through a stream at a time.
const PIECE: usize = 1 << 20;

/// Threads of a copy between images.
const PARALLEL: usize = 8;

impl Dd {
    /// Does it.
    pub fn run(&self, context: &OpenContext<'_>, streams: Streams<'_>) -> Result<()> {
        let source = self.open_source(context)?;
        let part = self.part(source.as_ref())?;
        match &self.target {
            Target::New(target) => {
                let size = self.output_size.or(part.len).ok_or_else(|| {
                    Error::invalid(
                        "The size of the output must be given (osize=) where the input's is not known",
                    )
                })?;
                let plan = target.plan(size).map_err(|error| match error.kind() {
                    ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "Unknown file format"),
                    _ => error,
                })?;
                let new = plan.begin(context, "error while creating output image")?;
                let beneath = if starts_zeroed(&new)? { Beneath::Zeroes } else { Beneath::Unknown };
                self.fill(source, &part, new.image(), (beneath, Method::Plain), streams)?;
                new.publish().context(|| "error while writing to output image file".to_owned())
            }
            Target::Existing { name, flags } => {
                let image = name.open(context, *flags)?;
                let method = Method::into_existing(&image, self.source_flags);
                self.fill(source, &part, &image, (Beneath::Unknown, method), streams)?;
                match image.driver().writer() {
                    Some(writer) => writer
                        .commit(Durability::Durable)
                        .context(|| "error while writing to output image file".to_owned()),
                    None => Ok(()),
                }
            }
            Target::Stream => match source {
                Some(source) => image_to_stream(&source, &part, streams.output),
                None => stream_to_stream(&part, streams),
            },
        }
    }

    fn open_source(&self, context: &OpenContext<'_>) -> Result<Option<Image>> {
        let Some(name) = &self.source else { return Ok(None) };
        let image = name.open(context, self.source_flags)?;
        match &self.snapshot {
            Some(selector) => selector.view(&image).map(Some),
            None => Ok(Some(image)),
        }
    }

    /// Which part of the input is copied.
    fn part(&self, source: Option<&Image>) -> Result<Part> {
        let overflow = || Error::new(ErrorKind::TooLarge, "The part to copy is too large");
        let start = self.block_size.checked_mul(self.skip).ok_or_else(overflow);
        let counted = self.count.map(|count| self.block_size.saturating_mul(count));
        let known = self.input_size.or(source.map(Image::virtual_size));
        let end = match (known, counted) {
            (Some(size), Some(counted)) => Some(size.min(counted)),
            (known, counted) => known.or(counted),
        };
        match (start, end, &self.source) {
            (Ok(start), Some(end), _) if start <= end => Ok(Part { start, len: Some(end - start) }),
            (_, Some(_), Some(name)) => {
                let name = formats::shown::shown(name.text());
                formats::notice::complain(&format!("{name}: cannot skip to specified offset"));
                Ok(Part { start: 0, len: Some(0) })
            }
            (start, Some(_), None) => start.and(Err(Error::invalid("cannot skip to specified offset"))),
            (start, None, _) => Ok(Part { start: start?, len: None }),
        }
    }

    /// Puts the input into an image.
    fn fill(
        &self,
        source: Option<Image>,
        part: &Part,
        target: &Image,
        (beneath, method): (Beneath<'_>, Method),
        streams: Streams<'_>,
    ) -> Result<()> {
        let Some(source) = source else { return stream_to_image(part, streams.input, target, beneath) };
        let len = part.len.unwrap_or(0);
        if len > target.virtual_size() {
            return Err(Error::invalid("output file is smaller than input file"));
        }
        let copy = Copy {
            sources: &[source],
            skip: part.start,
            len,
            target,
            beneath,
            method,
            min_sparse: 4096,
            unreadable: Unreadable::FailsAsRead,
            workers: workers(PARALLEL),
            rate: None,
        };
        copy.run(&NoProgress)
    }
}

/// A part of the input.
#[derive(Debug)]
struct Part {
    /// Where it starts, in bytes.
    start: u64,
    /// How many bytes it is, unless it goes to an end that is not known.
    len: Option<u64>,
}

fn image_to_stream(source: &Image, part: &Part, output: &mut dyn WriteStream) -> Result<()> {
    let mut reader = Reader::new(source);
    let mut piece = vec![0; PIECE];
    let (mut at, mut left) = (part.start, part.len.unwrap_or(0));
    while left > 0 {
        let len = left.min(PIECE as u64) as usize;
        reader
            .read(at, &mut piece[..len])
            .context(|| format!("error while reading from input image file at byte {at}"))?;
        output
            .write_all(&piece[..len])
            .map_err(|error| stream_failed("writing to standard output", &error))?;
        at += len as u64;
        left -= len as u64;
    }
    output.flush().map_err(|error| stream_failed("writing to standard output", &error))
}

fn stream_to_stream(part: &Part, streams: Streams<'_>) -> Result<()> {
    let output = streams.output;
    each_piece(part, streams.input, |_, piece| {
        output.write_all(piece).map_err(|error| stream_failed("writing to standard output", &error))
    })?;
    output.flush().map_err(|error| stream_failed("writing to standard output", &error))
}

fn stream_to_image(part: &Part, input: &mut dyn Read, target: &Image, beneath: Beneath<'_>) -> Result<()> {
    each_piece(part, input, |at, piece| {
        if matches!(beneath, Beneath::Zeroes) && is_zero(piece) {
            return Ok(());
        }
        write(target, at, Write::Data(piece)).context(|| format!("error while writing at byte {at}"))
    })
}

/// Hands out the part of a stream in pieces, each with its offset in the part.
fn each_piece(
    part: &Part,
    input: &mut dyn Read,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut piece = vec![0; PIECE];
    let mut left = part.start;
    while left > 0 {
        let len = left.min(PIECE as u64) as usize;
        if fill_piece(input, &mut piece[..len])? < len {
            return Err(Error::invalid("cannot skip to specified offset"));
        }
        left -= len as u64;
    }
    let mut at = 0;
    loop {
        let wanted = part.len.map_or(PIECE as u64, |len| len - at).min(PIECE as u64) as usize;
        let got = fill_piece(input, &mut piece[..wanted])?;
        if got > 0 {
            take(at, &piece[..got])?;
        }
        at += got as u64;
        match part.len {
            Some(len) if at == len => return Ok(()),
            Some(len) if got < wanted => {
                return Err(Error::invalid(format!("Standard input ended after {at} of {len} bytes")));
            }
            None if got < wanted => return Ok(()),
            _ => {}
        }
    }
}

/// Reads until the piece is full or the stream ends.
fn fill_piece(input: &mut dyn Read, piece: &mut [u8]) -> Result<usize> {
    let mut got = 0;
    while got < piece.len() {
        match input.read(&mut piece[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == IoErrorKind::Interrupted => {}
            Err(error) => return Err(stream_failed("reading from standard input", &error)),
        }
    }
    Ok(got)
}

fn stream_failed(attempt: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, journal::reason(error)).context(format!("error while {attempt}"))
}
