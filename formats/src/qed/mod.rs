//! QED: QEMU's enhanced disks.
//!
//! ```text
//!   header │ first-level table │ (cluster, or second-level table)…
//! ```
//!
//! Clusters have no order, and nothing tells which are in use: a new one takes the file's end.

mod check;
mod create;
mod header;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{Access, Disk};
use zerocopy::little_endian::U64;
use zerocopy::{FromZeros, IntoBytes};

use self::check::Examination;
use self::header::{Features, Header, RawHeader};
use self::writer::Session;
use crate::error::ResultExt;
use crate::registry::{Creation, Registered, Source};
use crate::two_level::TwoLevel;
use crate::{
    BackingReference, CheckReport, Driver, Error, Finding, Format, FormatDetails, GuestOffset, Holes,
    HostOffset, ImageFile, Mapping, OpenFlags, Repair, Repaired, Repairer, Result, Target, Writer,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Qed,
    open: |source| Ok(Box::new(Qed::open(source)?)),
    create: Creation::InOneFile(create::create),
};

/// The entry of a cluster that reads as zeroes. Nothing stands for one that is not there.
const ZERO: u64 = 1;

/// A QED image.
#[derive(Debug)]
pub struct Qed {
    /// As the image was opened; what changes is the session's.
    header: Header,
    backing: Option<BackingReference>,
    tables: TwoLevel<U64>,
    session: Mutex<Session>,
    /// For what goes where the committed image does not look.
    file: Arc<dyn Disk>,
    /// For what replaces something.
    in_place: Arc<dyn Disk>,
    flags: OpenFlags,
}

/// A run of a guest's clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clusters {
    /// They are not in the image.
    Absent,
    /// They read as zeroes.
    Zero,
    /// They stand one after another from there on.
    Data(u64),
}

impl Qed {
    /// An image in a file. To be written, it is repaired if it was not closed.
    pub(crate) fn open(source: Source<'_>) -> Result<Self> {
        let Source { disk, flags, .. } = source;
        let image = Self::load(disk, *flags)?;
        let is_written = image.flags.access == Access::Write && !image.flags.check;
        if is_written && image.header.features().contains(Features::NEED_CHECK) {
            let report = Examination::new(&image, Some(Repair::All)).run()?;
            if report.corruptions == 0 {
                image.session().set_checked();
            }
        }
        Ok(image)
    }

    fn load(file: Arc<dyn Disk>, flags: OpenFlags) -> Result<Self> {
        let in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let mut raw = RawHeader::new_zeroed();
        in_place.read_padded(0, raw.as_mut_bytes()).context(|| "Could not read the header".to_owned())?;
        let header = Header::parse(raw, in_place.len()?)?;
        let backing = match header.name_place()? {
            None => None,
            Some((at, len)) => {
                let mut name = vec![0; len];
                in_place.read_padded(at, &mut name)?;
                header.reference(&name)
            }
        };
        Ok(Self::new(header, backing, file, flags))
    }

    fn new(header: Header, backing: Option<BackingReference>, file: Arc<dyn Disk>, flags: OpenFlags) -> Self {
        let in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let tables = TwoLevel::new(Arc::clone(&file), Arc::clone(&in_place), header.shape());
        let session = Mutex::new(Session::new(header));
        Self { header, backing, tables, session, file, in_place, flags }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the second-level table of guest clusters is, if there is one.
    fn l2(&self, l1_index: u64, header: &Header) -> Result<Option<u64>> {
        match self.tables.l1(l1_index)?.get() {
            0 => Ok(None),
            at if header.is_table_offset(at) => Ok(Some(at)),
            _ => Err(Error::invalid("Invalid argument")),
        }
    }

    /// What the guest's clusters from `first` on are, before `past`, as far as they are alike: what, and how many.
    fn find(&self, first: u64, past: u64, header: &Header) -> Result<(Clusters, u64)> {
        let entries = header.entries();
        let (l1_index, index) = (first / entries, first % entries);
        let most = (past - first).min(entries - index);
        let Some(at) = self.l2(l1_index, header)? else { return Ok((Clusters::Absent, most)) };
        let run = self.tables.run(at, index, most)?;
        let start = run.first().map_or(0, |entry| entry.get());
        let (kind, stride) = match start {
            0 => (Clusters::Absent, 0),
            ZERO => (Clusters::Zero, 0),
            host if header.is_cluster_offset(host) => (Clusters::Data(host), header.cluster_size()),
            _ => return Err(Error::invalid("Invalid argument")),
        };
        let is_next = |(number, entry): &(u64, &U64)| {
            stride.checked_mul(*number).and_then(|after| start.checked_add(after)) == Some(entry.get())
        };
        let alike = (0..).zip(&run).take_while(is_next).count();
        Ok((kind, alike as u64))
    }
}

impl Driver for Qed {
    fn format(&self) -> Format {
        Format::Qed
    }

    fn virtual_size(&self) -> u64 {
        self.session().header.size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let header = self.session().header;
        let size = header.cluster_size();
        let (first, within) = (at.0 / size, at.0 % size);
        let (kind, count) = self.find(first, (at.0 + len).div_ceil(size), &header)?;
        let target = match kind {
            Clusters::Absent => Target::Unallocated { host: None },
            Clusters::Zero => Target::Zero { host: None },
            Clusters::Data(host) => Target::Data {
                disk: Arc::clone(&self.in_place),
                offset: HostOffset(host + within),
                holes: Holes::Ignored,
            },
        };
        Ok(Mapping { len: len.min(count * size - within), target })
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.backing.as_ref()
    }

    fn details(&self) -> Result<FormatDetails> {
        let cluster_size = Some(self.header.cluster_size());
        // QEMU tells nobody that an image was not closed.
        Ok(FormatDetails { cluster_size, dirty: Some(false), ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.file), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.flags.access == Access::Write).then_some(self as _)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, _tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        Examination::new(self, None).run()
    }

    fn repairer(&self) -> Option<&dyn Repairer> {
        Some(self)
    }
}

impl Repairer for Qed {
    fn repair(&self, what: Repair, _tell: &mut dyn FnMut(Finding)) -> Repaired {
        let found = Examination::new(self, Some(what)).run().and_then(|report| {
            self.finish_repair(&report)?;
            Ok(report)
        });
        let report = found.as_ref().cloned().unwrap_or_default();
        let image = found.and_then(|_| Self::load(Arc::clone(&self.file), self.flags));
        Repaired { report, lost: 0, image: image.map(|image| Box::new(image) as _) }
    }
}
