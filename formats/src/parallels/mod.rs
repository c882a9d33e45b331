//! Parallels: expandable disks of Parallels Desktop and Virtuozzo (Parallels Expandable Image File Format).
//!
//! ```text
//!   header │ table │ … │ cluster │ cluster …
//! ```
//!
//! The table has the place of each guest cluster in the file. What it does not place reads as zeroes, or is in
//! another image if options put one behind. A format extension, one of the clusters, has dirty bitmaps.

mod check;
mod create;
mod extension;
mod grow;
mod header;
mod space;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{Access, Disk};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use self::check::Examination;
use self::extension::Extension;
use self::header::{DataStart, Header, RawHeader, TABLE_OFFSET};
use self::writer::Session;
use crate::error::ResultExt;
use crate::options::ParallelsOptions;
use crate::paged_table::{PAGE_ENTRIES, PagedTable};
use crate::registry::{Creation, Registered, Source};
use crate::resizable::Resizable;
use crate::{
    Bitmaps, CheckReport, Driver, Finding, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile,
    Mapping, OpenFlags, Repair, Repaired, Repairer, Result, Target, Writer, notice,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Parallels,
    open: |source| {
        Ok(Box::new(Resizable::new(Parallels::open(source, &ParallelsOptions::default(), Behind::Nothing)?)))
    },
    create: Creation::InOneFile(create::create),
};

/// Whether what the image does not hold is in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// It reads as zeroes.
    Nothing,
    /// Options have put an image behind this one.
    Image,
}

/// A Parallels image.
#[derive(Debug)]
pub struct Parallels {
    raw: RawHeader,
    header: Header,
    data_start: DataStart,
    /// For what goes where the committed image does not look.
    file: Arc<dyn Disk>,
    /// For what replaces something.
    in_place: Arc<dyn Disk>,
    table: PagedTable<U32>,
    extension: Option<Extension>,
    behind: Behind,
    options: ParallelsOptions,
    session: Mutex<Session>,
    flags: OpenFlags,
    name: String,
}

impl Parallels {
    /// An image in a file. To be written, it is repaired if it needs that.
    pub(crate) fn open(source: Source<'_>, options: &ParallelsOptions, behind: Behind) -> Result<Self> {
        let image = Self::load(source, options, behind)?;
        if image.flags.access == Access::Write && image.header.extension.is_some() {
            notice::warn("Format Extension ignored in RW mode");
        }
        let is_written = image.flags.access == Access::Write && !image.flags.check;
        if !is_written || Examination::new(&image, None, &mut |_| ()).run()?.corruptions == 0 {
            return Ok(image);
        }
        let mut tell = |finding| {
            let (Finding::Line(line) | Finding::Complaint(line)) = finding;
            notice::tell(&line);
        };
        Examination::new(&image, Some(Repair::All), &mut tell).run()?;
        image.reload()
    }

    fn load(source: Source<'_>, options: &ParallelsOptions, behind: Behind) -> Result<Self> {
        let Source { disk: file, flags, name, .. } = source;
        let in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let mut raw = RawHeader::new_zeroed();
        in_place.read_padded(0, raw.as_mut_bytes()).context(|| "Could not read the header".to_owned())?;
        let header = raw.parse(name)?;
        let data_start = header.data_start(in_place.len()?);
        let extension = read_extension(&*in_place, &header, flags.access)?;
        let table = PagedTable::new(Arc::clone(&in_place), TABLE_OFFSET, header.entries.into());
        let (session, name) = (Mutex::default(), name.to_owned());
        let (options, flags) = (options.clone(), *flags);
        let image = Self {
            raw,
            header,
            data_start,
            file,
            in_place,
            table,
            extension,
            behind,
            options,
            session,
            flags,
            name,
        };
        Ok(image)
    }

    /// The image as it is in the file now.
    fn reload(&self) -> Result<Self> {
        let source = Source::alone(Arc::clone(&self.file), &self.flags, &self.name);
        Self::load(source, &self.options, self.behind)
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table's entry of a guest cluster.
    fn entry(&self, cluster: u64) -> Result<u32> {
        Ok(self.table.get(cluster)?.get())
    }

    /// Tells the place of every guest cluster that has one, in the guest's order.
    fn visit(&self, visitor: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let mut cluster = 0;
        let entries = u64::from(self.header.entries);
        while cluster < entries {
            cluster = self.past_hole(cluster)?;
            for cluster in cluster..(cluster + PAGE_ENTRIES).min(entries) {
                if let Some(host) = self.header.host(self.entry(cluster)?) {
                    visitor(cluster, host)?;
                }
            }
            cluster = cluster.saturating_add(PAGE_ENTRIES);
        }
        Ok(())
    }

    /// The first cluster of the page of the table that is not a hole of the file: large tables of little
    /// disks are. Nothing may wait to be written into the table.
    fn past_hole(&self, cluster: u64) -> Result<u64> {
        let at = TABLE_OFFSET + cluster * size_of::<U32>() as u64;
        let extent = self.in_place.extent_at(at)?;
        if extent.kind == journal::ExtentKind::Data {
            return Ok(cluster);
        }
        let past = extent.end.saturating_sub(TABLE_OFFSET) / size_of::<U32>() as u64;
        Ok((past / PAGE_ENTRIES * PAGE_ENTRIES).max(cluster))
    }
}

/// The format extension. Who writes does without it if it cannot be read: it goes then, anyhow.
fn read_extension(disk: &dyn Disk, header: &Header, access: Access) -> Result<Option<Extension>> {
    let Some(at) = header.extension else { return Ok(None) };
    match (Extension::read(disk, at, header), access) {
        (Err(error), Access::Read) => Err(error),
        (read, _) => Ok(read.ok()),
    }
}

impl Driver for Parallels {
    fn format(&self) -> Format {
        Format::Parallels
    }

    fn virtual_size(&self) -> u64 {
        self.header.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let size = self.header.cluster_size;
        let entries = u64::from(self.header.entries);
        let (first, within) = (at.0 / size, at.0 % size);
        if first >= entries {
            return Ok(Mapping { len, target: Target::Unallocated { host: None } });
        }
        // No further than a page of the table: who asks may need only a little of it.
        let past = ((at.0 + len).div_ceil(size)).min((first / PAGE_ENTRIES + 1) * PAGE_ENTRIES).min(entries);
        let start = self.entry(first)?;
        let stride = if start == 0 { 0 } else { self.header.stride() };
        let (mut next, mut expected) = (first + 1, start.checked_add(stride));
        while next < past && Some(self.entry(next)?) == expected {
            next += 1;
            expected = expected.and_then(|entry| entry.checked_add(stride));
        }
        let end_of_run = if start == 0 && next == entries { u64::MAX } else { next * size };
        let target = match self.header.host(start) {
            Some(host) => Target::Data {
                disk: Arc::clone(&self.in_place),
                offset: HostOffset(host + within),
                holes: Holes::Ignored,
            },
            None => Target::Unallocated { host: None },
        };
        Ok(Mapping { len: len.min(end_of_run - at.0), target })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.file), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.flags.access == Access::Write && self.can_write()).then_some(self as _)
    }

    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        Some(self)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        Examination::new(self, None, tell).run()
    }

    fn repairer(&self) -> Option<&dyn Repairer> {
        Some(self)
    }
}

impl Bitmaps for Parallels {
    fn list(&self) -> &[crate::BitmapInfo] {
        self.extension.as_ref().map_or(&[], Extension::bitmaps)
    }

    fn visit(&self, index: usize, visitor: &mut dyn FnMut(std::ops::Range<u64>) -> Result<()>) -> Result<()> {
        match &self.extension {
            Some(extension) => extension.visit(&*self.in_place, index, visitor),
            None => Ok(()),
        }
    }
}

impl Repairer for Parallels {
    fn repair(&self, what: Repair, tell: &mut dyn FnMut(Finding)) -> Repaired {
        let found = Examination::new(self, Some(what), tell).run();
        let report = found.as_ref().cloned().unwrap_or_default();
        let image = found.and_then(|_| self.reload()).map(|image| Box::new(image) as _);
        Repaired { report, lost: 0, image }
    }
}
