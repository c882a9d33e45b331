//! Whether a Parallels image is sound, and making it so.

use std::ops::Range;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::Parallels;
use super::header::DataStart;
use super::space::Space;
use crate::paged_table::Bits;
use crate::raw::sectors;
use crate::{CheckReport, Error, Finding, Repair, Result};

/// No sound file has more clusters: tables have fewer entries.
const MAX_CLUSTERS: u64 = 1 << 30;
/// Bytes that are copied at a time.
const STEP: u64 = 2 << 20;

/// A walk through an image, in QEMU's order, that tells what is wrong and mends what it may.
pub(super) struct Examination<'a> {
    image: &'a Parallels,
    repair: Option<Repair>,
    tell: &'a mut dyn FnMut(Finding),
    report: CheckReport,
    /// The file's length, in whole sectors.
    file_len: u64,
}

impl<'a> Examination<'a> {
    pub(super) fn new(
        image: &'a Parallels,
        repair: Option<Repair>,
        tell: &'a mut dyn FnMut(Finding),
    ) -> Self {
        Self { image, repair, tell, report: CheckReport::default(), file_len: 0 }
    }

    /// Looks at everything. What is mended is in the file when this returns.
    pub(super) fn run(mut self) -> Result<CheckReport> {
        self.file_len = sectors(self.image.in_place.len()?);
        self.look_at_header();
        let end = self.look_for_outsiders()?;
        self.report.image_end_offset = Some(end);
        self.look_for_leaks(end);
        self.look_for_duplicates(end)?;
        self.count_clusters()?;
        self.write()?;
        Ok(self.report)
    }

    fn mends_damage(&self) -> bool {
        self.repair == Some(Repair::All)
    }

    /// Tells of damage; whether it is to be mended.
    fn damage(&mut self, text: &str) -> bool {
        let mends = self.mends_damage();
        self.report.corruptions += 1;
        self.report.corruptions_fixed += u64::from(mends);
        (self.tell)(Finding::Line(format!("{} {text}", if mends { "Repairing" } else { "ERROR" })));
        mends
    }

    fn look_at_header(&mut self) {
        if self.image.header.is_in_use {
            self.damage("image was not closed correctly");
        }
        if matches!(self.image.data_start, DataStart::Wrong { .. }) {
            self.damage("data_off field has incorrect value");
        }
    }

    /// Whether a cluster is where none can be.
    fn is_outside(&self, host: u64) -> bool {
        let header = &self.image.header;
        host + header.cluster_size > self.file_len || self.cell(host).is_none()
    }

    /// The number of a cluster, which it shares with no other one that it does not overlap.
    fn cell(&self, host: u64) -> Option<u64> {
        let offset = host.checked_sub(self.image.header.table_end())?;
        Some(offset / self.image.header.cluster_size).filter(|&cell| cell < MAX_CLUSTERS)
    }

    /// Clusters that lie outside the file, or over its table. Where the last of the others ends.
    fn look_for_outsiders(&mut self) -> Result<u64> {
        let image = self.image;
        let size = image.header.cluster_size;
        let (mut inside, mut anywhere) = (None, image.data_start.at());
        image.visit(&mut |cluster, host| {
            anywhere = anywhere.max(host + size);
            if self.is_outside(host) {
                if self.damage(&format!("cluster {cluster} is outside image")) {
                    image.table.set_spilling(cluster, U32::new(0))?;
                }
            } else {
                inside = inside.max(Some(host + size));
            }
            Ok(())
        })?;
        self.visit_extension(&mut |range| inside = inside.max(Some(range.end)))?;
        let start = if self.mends_damage() { image.data_start.at() } else { anywhere };
        // The header's own word about the first cluster is to hold.
        Ok(inside.unwrap_or(start).max(image.data_start.at()))
    }

    /// The clusters of the format extension that are in the file.
    fn visit_extension(&self, visitor: &mut dyn FnMut(Range<u64>)) -> Result<()> {
        let Some(extension) = &self.image.extension else { return Ok(()) };
        extension.visit_clusters(&*self.image.in_place, &mut |range| {
            if !self.is_outside(range.start) {
                visitor(range);
            }
        })
    }

    fn look_for_leaks(&mut self, end: u64) {
        let leaked = self.file_len.saturating_sub(end);
        if leaked == 0 {
            return;
        }
        let count = leaked.div_ceil(self.image.header.cluster_size);
        let mends = self.repair.is_some();
        self.report.leaks += count;
        self.report.leaks_fixed += if mends { count } else { 0 };
        let verb = if mends { "Repairing" } else { "ERROR" };
        (self.tell)(Finding::Line(format!("{verb} space leaked at the end of the image {leaked}")));
    }

    /// Places that the table has twice. The first guest cluster keeps it, the others get copies.
    fn look_for_duplicates(&mut self, end: u64) -> Result<()> {
        let image = self.image;
        let count = self.cell(end).unwrap_or(MAX_CLUSTERS - 1) + 1;
        let mut seen = Bits::new(count);
        self.visit_extension(&mut |range| {
            self.cell(range.start).map(|cell| seen.insert(cell));
        })?;
        let mut space = None;
        image.visit(&mut |cluster, host| {
            let cell = self.cell(host).filter(|_| !self.is_outside(host));
            if cell.is_some_and(|cell| !seen.insert(cell))
                && self.damage(&format!("duplicate offset in BAT entry {cluster}"))
            {
                let space = match &mut space {
                    Some(space) => space,
                    space => space.insert(Space::of(image)?),
                };
                let (copy, _) = space.take(1)?;
                self.copy(host, copy)?;
                image.enter(cluster, copy)?;
                self.report.image_end_offset = self.report.image_end_offset.max(Some(space.end()));
            }
            Ok(())
        })
    }

    /// Copies a cluster to a free place of the file.
    fn copy(&self, from: u64, to: u64) -> Result<()> {
        let size = self.image.header.cluster_size;
        let mut buffer = vec![0; STEP.min(size) as usize];
        let mut done = 0;
        while done < size {
            let len = STEP.min(size - done) as usize;
            let piece = buffer.get_mut(..len).ok_or_else(|| Error::corrupt("Input/output error"))?;
            self.image.in_place.read_padded(from + done, piece)?;
            self.image.file.write_at(to + done, piece)?;
            done += STEP.min(size - done);
        }
        Ok(())
    }

    fn count_clusters(&mut self) -> Result<()> {
        let header = &self.image.header;
        let (mut allocated, mut fragmented) = (0, 0);
        let mut previous = None;
        self.image.visit(&mut |cluster, host| {
            allocated += 1;
            if previous.is_some_and(|(before, end)| before + 1 == cluster && end != host) {
                fragmented += 1;
            }
            previous = Some((cluster, host + header.cluster_size));
            Ok(())
        })?;
        self.report.total_clusters = header.entries.into();
        self.report.allocated_clusters = allocated;
        self.report.fragmented_clusters = fragmented;
        Ok(())
    }

    /// Puts what was mended into the file.
    fn write(&self) -> Result<()> {
        if self.report.corruptions_fixed == 0 && self.report.leaks_fixed == 0 {
            return Ok(());
        }
        let image = self.image;
        if self.report.corruptions_fixed > 0 {
            image.table.flush()?;
            let raw = image.raw.closed().with_data_start(image.data_start);
            image.in_place.write_at(0, raw.as_bytes())?;
        }
        if let Some(end) = self.report.image_end_offset.filter(|&end| self.ends_at(end)) {
            image.in_place.set_len(end)?;
        }
        Ok(image.in_place.sync()?)
    }

    /// Whether the file is to end there.
    fn ends_at(&self, end: u64) -> bool {
        end < self.file_len || self.mends_damage()
    }
}
