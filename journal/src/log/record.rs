//! Records: what the frames of a journal mean.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{MAX_PATCH, SECTOR};
use crate::DiskStatus;

/// What tells a file from every other, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// When it was made; 0 where that is not known.
    pub(crate) born: u64,
}

impl Identity {
    pub(crate) fn of(status: &DiskStatus) -> Self {
        Self { device: status.identity.0, inode: status.identity.1, born: status.born }
    }

    /// Whether it is the same file. Device numbers may change when a machine starts, so they are
    /// not compared; the birth time is, where both are known.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.inode == other.inode && (self.born == other.born || self.born == 0 || other.born == 0)
    }
}

/// A file that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRecord {
    /// Its path: relative to the journal's directory, or absolute.
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// Its length when the transaction was decided.
    pub(crate) len: u64,
    /// When it was last changed before that.
    pub(crate) modified: u64,
    pub(crate) flags: FileFlags,
}

/// What is known of a file that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileFlags {
    /// New content was written where the old state does not look (1).
    pub(crate) is_shadowed: bool,
    /// It is only read, as a source of bytes (2).
    pub(crate) is_source: bool,
}

/// A range of a file that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The file's number: how many file records stand before its own.
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) bytes: PatchBytes,
    pub(crate) before: Before,
}

/// New bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatchBytes {
    /// These.
    Here(Vec<u8>),
    /// Those of an earlier payload frame: where in the journal they stand.
    Payload(u64),
    /// Those of another file, with the CRC-32C of all of them.
    Source { file: u32, offset: u64, checksum: u32 },
    /// Zeroes.
    Zero,
}

/// What was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Before {
    /// These bytes.
    Whole(Vec<u8>),
    /// Bytes with these CRC-32Cs, one for each sector that the range touches, of its part in the
    /// range.
    Checksums(Vec<u32>),
}

/// The parts of a range that lie in one sector each.
pub(crate) fn sectors(offset: u64, len: u64) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= len {
            return None;
        }
        let start = at;
        at = (at + SECTOR - (offset + at) % SECTOR).min(len);
        Some(start as usize..at as usize)
    })
}

/// The CRC-32Cs of a range's parts in each sector.
pub(crate) fn sector_checksums(offset: u64, bytes: &[u8]) -> impl Iterator<Item = u32> {
    sectors(offset, bytes.len() as u64).map(|sector| crc32c::crc32c(&bytes[sector]))
}

/// A change of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameRecord {
    pub(crate) change: NameChange,
    /// The file that has the first name.
    pub(crate) identity: Identity,
    /// The file that had the second name, which is replaced.
    pub(crate) replaced: Option<Identity>,
}

/// Which names change. Paths are relative to the journal's directory, or absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameChange {
    /// A new file, which waits under a hidden name, appears.
    Publish { hidden: PathBuf, target: PathBuf },
    /// A file moves.
    Rename { from: PathBuf, to: PathBuf },
    /// A file goes.
    Remove { path: PathBuf },
}

/// Appends numbers and texts.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).0.extend(bytes);
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.bytes(path.as_os_str().as_bytes())
    }

    fn identity(&mut self, identity: &Identity) -> &mut Self {
        self.u64(identity.device).u64(identity.inode).u64(identity.born)
    }
}

/// Takes them again; `None` where there is too little.
#[derive(Debug)]
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.bytes()?.to_vec())))
    }

    fn identity(&mut self) -> Option<Identity> {
        Some(Identity { device: self.u64()?, inode: self.u64()?, born: self.u64()? })
    }

    /// The value, if nothing is left over.
    fn finish<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

impl FileRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = u32::from(self.flags.is_shadowed) | u32::from(self.flags.is_source) << 1;
        let mut out = Encoder::default();
        out.path(&self.path).identity(&self.identity).u64(self.len).u64(self.modified).u32(flags);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let (path, identity, len, modified) = (from.path()?, from.identity()?, from.u64()?, from.u64()?);
        let flags = from.u32()?;
        let flags = FileFlags { is_shadowed: flags & 1 != 0, is_source: flags & 2 != 0 };
        from.finish(Self { path, identity, len, modified, flags })
    }
}

impl Patch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(self.file).u64(self.offset).u64(self.len);
        match &self.bytes {
            PatchBytes::Here(bytes) => out.u32(0).bytes(bytes),
            PatchBytes::Payload(at) => out.u32(1).u64(*at),
            PatchBytes::Source { file, offset, checksum } => {
                out.u32(2).u32(*file).u64(*offset).u32(*checksum)
            }
            PatchBytes::Zero => out.u32(3),
        };
        match &self.before {
            Before::Whole(bytes) => out.u32(0).bytes(bytes),
            Before::Checksums(sums) => {
                out.u32(1).u32(sums.len() as u32);
                sums.iter().fold(&mut out, |out, sum| out.u32(*sum))
            }
        };
        out.0
    }

    /// The record, if all of its lengths agree.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let (file, offset, len) = (from.u32()?, from.u64()?, from.u64()?);
        if len == 0 || len > MAX_PATCH || offset.checked_add(len).is_none() {
            return None;
        }
        let bytes = match from.u32()? {
            0 => PatchBytes::Here(from.bytes().filter(|bytes| bytes.len() as u64 == len)?.to_vec()),
            1 => PatchBytes::Payload(from.u64()?),
            2 => PatchBytes::Source { file: from.u32()?, offset: from.u64()?, checksum: from.u32()? },
            3 => PatchBytes::Zero,
            _ => return None,
        };
        let before = match from.u32()? {
            0 => Before::Whole(from.bytes().filter(|bytes| bytes.len() as u64 == len)?.to_vec()),
            1 => {
                let count = from.u32()? as usize;
                if count != sectors(offset, len).count() {
                    return None;
                }
                Before::Checksums((0..count).map(|_| from.u32()).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        from.finish(Self { file, offset, len, bytes, before })
    }
}

/// A file's old and new length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LengthRecord {
    pub(crate) file: u32,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl LengthRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(self.file).u64(self.before).u64(self.after);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let record = Self { file: from.u32()?, before: from.u64()?, after: from.u64()? };
        from.finish(record)
    }
}

impl NameRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        match &self.change {
            NameChange::Publish { hidden, target } => out.u32(0).path(hidden).path(target),
            NameChange::Rename { from, to } => out.u32(1).path(from).path(to),
            NameChange::Remove { path } => out.u32(2).path(path),
        };
        out.identity(&self.identity);
        match &self.replaced {
            None => out.u32(0),
            Some(replaced) => out.u32(1).identity(replaced),
        };
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let change = match from.u32()? {
            0 => NameChange::Publish { hidden: from.path()?, target: from.path()? },
            1 => NameChange::Rename { from: from.path()?, to: from.path()? },
            2 => NameChange::Remove { path: from.path()? },
            _ => return None,
        };
        let identity = from.identity()?;
        let replaced = match from.u32()? {
            0 => None,
            1 => Some(from.identity()?),
            _ => return None,
        };
        from.finish(Self { change, identity, replaced })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_as_they_were_written() {
        let identity = Identity { device: 1, inode: 2, born: 3 };
        let flags = FileFlags { is_shadowed: true, is_source: false };
        let file = FileRecord { path: "a/b".into(), identity, len: 4, modified: 5, flags };
        assert_eq!(FileRecord::decode(&file.encode()), Some(file));

        let kinds = [
            PatchBytes::Here(vec![7; 1000]),
            PatchBytes::Payload(99),
            PatchBytes::Source { file: 1, offset: 2, checksum: 3 },
            PatchBytes::Zero,
        ];
        for bytes in kinds {
            for before in [Before::Whole(vec![1; 1000]), Before::Checksums(vec![1, 2, 3])] {
                let patch = Patch { file: 0, offset: 100, len: 1000, bytes: bytes.clone(), before };
                let encoded = patch.encode();
                assert_eq!(Patch::decode(&encoded), Some(patch));
                assert_eq!(Patch::decode(&encoded[..encoded.len() - 1]), None);
            }
        }
        let change = NameChange::Rename { from: "x".into(), to: "/y".into() };
        let name = NameRecord { change, identity, replaced: Some(identity) };
        assert_eq!(NameRecord::decode(&name.encode()), Some(name));
    }

    #[test]
    fn a_range_falls_into_sectors() {
        assert_eq!(sectors(500, 600).collect::<Vec<_>>(), [0..12, 12..524, 524..600]);
        assert!(sectors(512, 512).eq(std::iter::once(0..512)));
        assert_eq!(sectors(3, 0).count(), 0);
    }
}
