//! Other features: version, widths, names.

use super::Session;
use super::references::has_compressed;
use crate::qcow2::amend::Features;
use crate::qcow2::feature::{Autoclear, Compatible, Incompatible, standard_names};
use crate::qcow2::geometry::Version;
use crate::qcow2::refcount::RefcountWidth;
use crate::{Codec, Error, Result};

impl Session {
    /// See [`crate::Amend::add`].
    pub fn add_features(&mut self, wanted: &Features, size: Option<u64>) -> Result<()> {
        self.release_unlinked()?;
        self.tail = None;
        if wanted.version > self.header.version {
            self.set_version(wanted.version);
            self.header.extensions.feature_names = standard_names();
        }
        let old = wanted.version < Version::V3;
        if wanted.refcounts.order() != self.header.refcount_order {
            if old && wanted.refcounts != RefcountWidth::DEFAULT {
                return Err(Error::unsupported(
                    "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
                ));
            }
            self.change_refcounts(wanted.refcounts)?;
        }
        self.header.extensions.data_file = wanted.data_file.clone();
        self.header.autoclear.set(Autoclear::RAW_DATA, wanted.data_file_raw);
        if wanted.names_other_backing {
            return Err(Error::invalid("Cannot amend the backing file")
                .with_hint("You can use 'qemu-img rebase' instead."));
        }
        let is_lazy = self.header.compatible.contains(Compatible::LAZY_REFCOUNTS);
        if wanted.lazy_refcounts && old && !is_lazy {
            return Err(Error::unsupported(
                "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
            ));
        }
        self.header.compatible.set(Compatible::LAZY_REFCOUNTS, wanted.lazy_refcounts);
        // What is going to be refused is best refused before much is written.
        if let Some(size) = size {
            self.check_resize(size)?;
        }
        if wanted.version < self.header.version {
            self.check_downgrade(size.unwrap_or(self.header.virtual_size()))?;
        }
        Ok(())
    }

    /// See [`crate::Amend::remove`].
    pub fn remove_features(&mut self, wanted: &Features) -> Result<()> {
        if wanted.version >= self.header.version {
            return Ok(());
        }
        self.expand_zeroes()?;
        self.drop_bitmaps()?;
        self.set_version(wanted.version);
        self.header.incompatible = Incompatible::empty();
        self.header.compatible = Compatible::empty();
        self.header.autoclear = Autoclear::empty();
        self.header.compression = Codec::Deflate;
        self.header.unknown_fields.clear();
        Ok(())
    }

    fn set_version(&mut self, version: Version) {
        self.header.version = version;
        self.geometry.version = version;
    }

    fn change_refcounts(&mut self, width: RefcountWidth) -> Result<()> {
        self.space.change_width(width)?;
        self.header.refcount_order = width.order();
        self.geometry.refcount_order = width.order();
        Ok(())
    }

    /// Whether version 2 can say what this image is once it has that size.
    fn check_downgrade(&mut self, size: u64) -> Result<()> {
        let header = &self.header;
        let refuse = |text: String| Err(Error::unsupported(text));
        if header.incompatible.contains(Incompatible::DATA_FILE) {
            return refuse("Cannot downgrade an image with a data file".into());
        }
        if header.refcount_order != RefcountWidth::DEFAULT.order() {
            return refuse("compat=0.10 requires refcount_bits=16".into());
        }
        let snapshots = self.read_snapshots()?;
        let fits = |state: u64, disk: u64| state <= u64::from(u32::MAX) && disk == size;
        if !snapshots.iter().all(|snapshot| fits(snapshot.info.vm_state_size, snapshot.info.disk_size)) {
            return refuse("Internal snapshots prevent downgrade of image".into());
        }
        let features = (self.header.incompatible - Incompatible::DIRTY - Incompatible::COMPRESSION).bits();
        if features != 0 {
            return refuse(format!("Cannot downgrade an image with incompatible features {features:#x} set"));
        }
        if self.header.compression != Codec::Deflate && self.has_compressed_clusters()? {
            return refuse(
                "Cannot downgrade an image with zstd compression type and existing compressed clusters"
                    .into(),
            );
        }
        Ok(())
    }

    /// Whether the active state or a snapshot has compressed clusters.
    fn has_compressed_clusters(&mut self) -> Result<bool> {
        let mut tables = vec![self.tables.take_l1()?];
        for snapshot in self.read_snapshots()? {
            tables.push(self.snapshot_l1(&snapshot)?);
        }
        for l1 in tables {
            for (index, entry) in l1.iter().enumerate() {
                let Some(table) = entry.table() else { continue };
                if has_compressed(&self.geometry, &self.tables.read(index, table)?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Version 2 has no bitmaps: what they take is given back.
    fn drop_bitmaps(&mut self) -> Result<()> {
        while self.bitmaps.are_any() {
            self.remove_bitmap(0)?;
        }
        Ok(())
    }
}
