//! qcow: the first version of QEMU's copy-on-write format.
//!
//! ```text
//!   header, name of the backing image │ first-level table │ (cluster, or second-level table)…
//! ```
//!
//! Clusters have no order, and may be compressed; nothing tells which are in use: a new one takes the file's end.

pub(crate) mod create;
mod header;
mod writer;

use std::sync::{Arc, Mutex};

use crypto::{Secret, SectorCipher};
use journal::{Access, Disk};
use zerocopy::big_endian::U64;
use zerocopy::{FromZeros, IntoBytes};

use self::header::{Header, Place, RawHeader};
use self::writer::Session;
use crate::encryption::{Encryption, Numbering};
use crate::error::ResultExt;
use crate::raw::sectors;
use crate::registry::Source;
use crate::resize::MAX_DISK_SIZE;
use crate::two_level::TwoLevel;
use crate::{
    BackingReference, Codec, CompressedRun, Driver, Error, Format, FormatDetails, GuestOffset, Holes,
    HostOffset, ImageFile, Mapping, OpenFlags, Result, Target, Writer,
};

/// A qcow image.
#[derive(Debug)]
pub struct Qcow {
    header: Header,
    backing: Option<BackingReference>,
    /// How the guest's bytes are encrypted, if they are and are wanted.
    encryption: Option<Encryption>,
    tables: TwoLevel<U64>,
    session: Mutex<Session>,
    /// For what goes where the committed image does not look.
    file: Arc<dyn Disk>,
    /// For what replaces something.
    in_place: Arc<dyn Disk>,
    flags: OpenFlags,
}

/// Finds the passphrase of an encrypted image.
pub(crate) type FindPassphrase<'a> = dyn Fn() -> Result<Arc<Secret>> + 'a;

impl Qcow {
    /// An image in a file.
    pub(crate) fn open(source: Source<'_>, find_passphrase: &FindPassphrase<'_>) -> Result<Self> {
        let Source { disk: file, flags, .. } = source;
        let in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let mut raw = RawHeader::new_zeroed();
        in_place.read_padded(0, raw.as_mut_bytes()).context(|| "Could not read the header".to_owned())?;
        let header = raw.parse()?;
        let encryption = if header.is_encrypted && flags.data {
            let cipher = SectorCipher::legacy(find_passphrase()?.bytes())?;
            Some(Encryption::new(cipher, Numbering::Guest))
        } else {
            None
        };
        let backing = raw.backing(&*in_place)?;
        let tables = TwoLevel::new(Arc::clone(&file), Arc::clone(&in_place), header.tables);
        let session = Mutex::new(Session::new(sectors(in_place.len()?), file.len()?));
        Ok(Self { header, backing, encryption, tables, session, file, in_place, flags: *flags })
    }

    /// Whether the header says that the guest's bytes are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.header.is_encrypted
    }

    /// Where the second-level table of a cluster is, if there is one.
    fn l2(&self, cluster: u64) -> Result<Option<u64>> {
        let at = self.tables.l1(cluster / self.header.tables.l2_entries)?.get();
        match at {
            0 => Ok(None),
            at if at <= MAX_DISK_SIZE => Ok(Some(at)),
            // No file reaches there.
            _ => Err(Error::corrupt("Input/output error")),
        }
    }

    /// The place of the first of some clusters, and how many of them are alike and stand together.
    fn find(&self, first: u64, past: u64) -> Result<(Place, u64)> {
        let entries = self.header.tables.l2_entries;
        let most = (past - first).min(entries - first % entries);
        let Some(at) = self.l2(first)? else { return Ok((Place::Nowhere, most)) };
        let run = self.tables.run(at, first % entries, most)?;
        let start = run.first().map_or(0, |entry| entry.get());
        let place = self.header.place(start);
        let stride = match place {
            Place::Compressed(..) => return Ok((place, 1)),
            Place::Nowhere => 0,
            Place::At(_) => self.header.cluster_size(),
        };
        let is_next = |(number, entry): &(u64, &U64)| {
            stride.checked_mul(*number).and_then(|after| start.checked_add(after)) == Some(entry.get())
        };
        let alike = (0..).zip(&run).take_while(is_next).count();
        Ok((place, alike as u64))
    }
}

impl Driver for Qcow {
    fn format(&self) -> Format {
        Format::Qcow
    }

    fn virtual_size(&self) -> u64 {
        self.header.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let size = self.header.cluster_size();
        let (first, within) = (at.0 / size, at.0 % size);
        let (place, count) = self.find(first, (at.0 + len).div_ceil(size))?;
        let len = len.min(count * size - within);
        let disk = Arc::clone(&self.in_place);
        let target = match place {
            Place::Nowhere => Target::Unallocated { host: None },
            Place::At(host) => {
                Target::Data { disk, offset: HostOffset(host + within), holes: Holes::Ignored }
            }
            Place::Compressed(host, len) => Target::Compressed(CompressedRun {
                disk,
                offset: HostOffset(host),
                len,
                cluster: GuestOffset(first * size),
                cluster_size: size,
                stream: Codec::Deflate.into(),
            }),
        };
        let mapping = Mapping { len, target };
        Ok(match &self.encryption {
            Some(encryption) => encryption.decrypted(mapping, at),
            None => mapping,
        })
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.backing.as_ref()
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails {
            cluster_size: Some(self.header.cluster_size()),
            encrypted: self.header.is_encrypted,
            dirty: Some(false),
            ..FormatDetails::default()
        })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.file), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.flags.access == Access::Write).then_some(self as _)
    }
}
