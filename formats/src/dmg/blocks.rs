//! The chunks of a dmg image, as "mish" blocks list them.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::{Stream, notice};

const MAGIC: [u8; 4] = *b"mish";
/// Chunks of data that are longer are refused, as QEMU does: in sectors.
const MAX_SECTORS: u64 = (64 << 20) / 512;
/// The same for what is stored of them: in bytes.
const MAX_STORED: u64 = 64 << 20;

/// The head of a block.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHead {
    magic: [u8; 4],
    version: U32,
    /// The first sector of the block; those of its chunks count from there.
    first: U64,
    sectors: U64,
    /// Where the bytes start that the chunks' offsets count from.
    data_offset: U64,
    /// Sizes, checksums, and the number of chunks.
    more: [u8; 172],
}

/// A chunk as a block lists it.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawChunk {
    kind: U32,
    comment: U32,
    first: U64,
    sectors: U64,
    offset: U64,
    stored: U64,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Zeroes.
    Zero,
    /// The bytes themselves.
    Plain,
    /// Compressed bytes.
    Compressed(Stream),
}

/// A run of sectors.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    /// Its first sector.
    pub(super) first: u64,
    pub(super) sectors: u64,
    /// Where its bytes stand in the file.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) stored: u64,
}

impl Chunk {
    /// Whether its bytes stand where a file can have some.
    pub(super) fn is_in_reach(&self) -> bool {
        self.kind == Kind::Zero || self.offset <= i64::MAX as u64 - MAX_STORED
    }
}

/// All chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    list: Vec<Chunk>,
    /// Where in the file the offsets count from.
    data_offset: u64,
}

impl Chunks {
    /// None yet.
    pub(super) fn new(data_offset: u64) -> Self {
        Self { list: Vec::new(), data_offset }
    }

    /// Adds those of a block; `None` if one of them cannot be. What is no such block has none.
    pub(super) fn add(&mut self, block: &[u8]) -> Option<()> {
        let Ok((head, rest)) = RawHead::ref_from_prefix(block) else { return Some(()) };
        if head.magic != MAGIC {
            return Some(());
        }
        let (chunks, _) = rest.split_at(rest.len() / size_of::<RawChunk>() * size_of::<RawChunk>());
        for raw in chunks.chunks_exact(size_of::<RawChunk>()) {
            let raw = RawChunk::ref_from_bytes(raw).ok()?;
            if let Some(kind) = kind_of(raw.kind.get()) {
                self.push(head, raw, kind)?;
            }
        }
        Some(())
    }

    fn push(&mut self, head: &RawHead, raw: &RawChunk, kind: Kind) -> Option<()> {
        let number = self.list.len();
        let (sectors, stored) = (raw.sectors.get(), raw.stored.get());
        if kind != Kind::Zero && sectors > MAX_SECTORS {
            let told =
                format!("sector count {sectors} for chunk {number} is larger than max ({MAX_SECTORS})");
            notice::complain(&told);
            return None;
        }
        if stored > MAX_STORED {
            let told = format!("length {stored} for chunk {number} is larger than max ({MAX_STORED})");
            notice::complain(&told);
            return None;
        }
        let offset = raw.offset.get().wrapping_add(head.data_offset.get()).wrapping_add(self.data_offset);
        let first = raw.first.get().wrapping_add(head.first.get());
        self.list.push(Chunk { kind, first, sectors, offset, stored });
        Some(())
    }

    /// The chunk that holds a sector. They are expected in order, as QEMU does.
    pub(super) fn find(&self, sector: u64) -> Option<&Chunk> {
        let mut rest = &self.list[..];
        while let Some(middle) = rest.len().checked_sub(1).map(|last| last / 2) {
            let chunk = &rest[middle];
            if chunk.first > sector {
                rest = &rest[..middle];
            } else if sector - chunk.first < chunk.sectors {
                return Some(chunk);
            } else {
                rest = &rest[middle + 1..];
            }
        }
        None
    }
}

/// What a chunk's kind means; `None` for those that hold nothing.
fn kind_of(kind: u32) -> Option<Kind> {
    match kind {
        0 | 2 => Some(Kind::Zero),
        1 => Some(Kind::Plain),
        0x8000_0004 => Some(Kind::Compressed(Stream::Adc)),
        0x8000_0005 => Some(Kind::Compressed(Stream::Zlib)),
        0x8000_0006 => Some(Kind::Compressed(Stream::Bzip2)),
        0x8000_0007 => Some(Kind::Compressed(Stream::Lzfse)),
        // A comment, and the end of the list.
        0x7fff_fffe | 0xffff_ffff => None,
        unknown => {
            let what = format!("Image contains chunks of unknown type {unknown:x}");
            notice::warn(&format!("{what}, accessing them will result in I/O errors"));
            None
        }
    }
}
