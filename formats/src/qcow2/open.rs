//! Opening an image, and views of its snapshots.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use journal::{Access, Disk};

use super::Qcow2;
use super::bitmap::{self, Bitmap};
use super::cache::L2Cache;
use super::encryption::{Encrypted, FindPassphrase};
use super::extension::BitmapsState;
use super::feature::{Autoclear, Incompatible};
use super::geometry::{Geometry, Version};
use super::header::{Header, Purpose, TableLocation, check_l1};
use super::repair;
use super::snapshot::{self, SnapshotTable};
use super::table::read_l1;
use crate::error::ResultExt;
use crate::{Error, ErrorKind, OpenFlags, Result, notice};

/// Opens an external data file by its name in the header.
pub type OpenDataFile<'a> = dyn Fn(&[u8]) -> Result<Arc<dyn Disk>> + 'a;

/// What opening an image needs beyond its file.
#[derive(Clone, Copy)]
pub struct OpenRequest<'a> {
    /// How to open.
    pub flags: &'a OpenFlags,
    /// The external data file, if the caller's options name one.
    pub data_file: Option<&'a Arc<dyn Disk>>,
    /// Opens the one that the header names, through the gate.
    pub open_data_file: &'a OpenDataFile<'a>,
    /// Finds the passphrase of an encrypted image.
    pub find_passphrase: &'a FindPassphrase<'a>,
}

impl fmt::Debug for OpenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flags, data_file, open_data_file: _, find_passphrase: _ } = self;
        f.debug_struct("OpenRequest")
            .field("flags", flags)
            .field("data_file", data_file)
            .finish_non_exhaustive()
    }
}

impl Qcow2 {
    /// Opens an image.
    pub fn open(file: Arc<dyn Disk>, request: &OpenRequest<'_>) -> Result<Self> {
        let image = Self::read(file, request)?;
        if request.flags.check || request.flags.access == Access::Read {
            return Ok(image);
        }
        if image.header.incompatible.contains(Incompatible::DIRTY) {
            repair::repair_dirty(&image)?;
            return image.read_again(request.flags)?.with_writer();
        }
        image.with_writer()
    }

    /// Reads everything that an image is opened for.
    fn read(file: Arc<dyn Disk>, request: &OpenRequest<'_>) -> Result<Self> {
        let purpose = if request.flags.check { Purpose::Check } else { Purpose::Use(request.flags.access) };
        let header = Header::read(&*file, purpose)?;
        let geometry = header.geometry();
        let l1 = read_l1(&*file, header.l1).context(|| "Could not read L1 table".to_owned())?;
        tell_of_stale_bitmaps(&header);
        let find = request.flags.data.then_some(request.find_passphrase);
        let encrypted = Encrypted::open(&*file, &header, find)?;
        let data_file = open_data_file(&header, &geometry, request)?;
        let size = header.virtual_size();
        let snapshots = match purpose {
            Purpose::Use(_) => snapshot::read_table(&*file, header.snapshots, size)?,
            // The check reads the table itself, and tells what is wrong with it.
            Purpose::Check => SnapshotTable::default(),
        };
        let bitmaps = read_bitmaps(&*file, &header, &geometry)?;
        Ok(Self {
            file,
            data_file,
            backing: header.backing(),
            geometry,
            l1,
            cache: L2Cache::new(&geometry),
            snapshot_infos: snapshots.snapshots.iter().map(|snapshot| snapshot.info.clone()).collect(),
            snapshots,
            bitmap_infos: bitmaps.iter().map(|bitmap| bitmap.info.clone()).collect(),
            bitmaps,
            holes: OnceLock::new(),
            corruption_told: AtomicBool::new(false),
            encrypted,
            header,
            writer: None,
        })
    }

    /// The image as it is in the file now.
    pub(super) fn read_again(&self, flags: &OpenFlags) -> Result<Self> {
        let gone = |_: &[u8]| Err(Error::invalid("The external data file was not opened"));
        let opened = self.encrypted.as_ref().and_then(|encrypted| encrypted.opened.as_ref());
        let known = |_| match opened {
            Some(opened) => Ok(Arc::clone(&opened.passphrase)),
            None => Err(Error::invalid("The image was opened without its key")),
        };
        let request = OpenRequest {
            flags,
            data_file: self.data_file.as_ref(),
            open_data_file: &gone,
            find_passphrase: &known,
        };
        Self::read(Arc::clone(&self.file), &request)
    }

    /// The image as of a snapshot: its L1 table in place of the active one. The size stays.
    pub(super) fn open_snapshot(&self, index: usize) -> Result<Self> {
        let Some(snapshot) = self.snapshots.snapshots.get(index) else {
            return Err(Error::new(ErrorKind::NotFound, format!("There is no snapshot {index}")));
        };
        check_l1(&self.geometry, snapshot.l1, "Snapshot L1 table")?;
        let l1 = read_l1(&*self.file, snapshot.l1)
            .context(|| "Failed to read l1 table for snapshot".to_owned())?;
        Ok(Self {
            file: Arc::clone(&self.file),
            data_file: self.data_file.clone(),
            backing: self.backing.clone(),
            geometry: self.geometry,
            l1,
            cache: L2Cache::new(&self.geometry),
            snapshot_infos: Vec::new(),
            snapshots: SnapshotTable::default(),
            bitmap_infos: Vec::new(),
            bitmaps: Vec::new(),
            holes: self.holes.clone(),
            corruption_told: AtomicBool::new(false),
            encrypted: self.encrypted.clone(),
            header: Header { l1: snapshot.l1, snapshots: TableLocation::default(), ..self.header.clone() },
            writer: None,
        })
    }
}

/// The external data file, where the image has one and its data is wanted.
///
/// For `info` it stays closed, so that an untrusted image can be looked at without touching the
/// files that it names.
fn open_data_file(
    header: &Header,
    geometry: &Geometry,
    request: &OpenRequest<'_>,
) -> Result<Option<Arc<dyn Disk>>> {
    if !request.flags.data {
        return Ok(None);
    }
    if !geometry.external_data {
        if request.data_file.is_some() {
            return Err(Error::invalid("'data-file' can only be set for images with an external data file"));
        }
        if header.autoclear.contains(Autoclear::RAW_DATA) {
            return Err(Error::corrupt("data-file-raw requires a data file"));
        }
        return Ok(None);
    }
    match (request.data_file, &header.extensions.data_file) {
        (Some(disk), _) => Ok(Some(Arc::clone(disk))),
        (None, Some(name)) => (request.open_data_file)(name).map(Some),
        (None, None) => Err(Error::invalid("'data-file' is required for this image")),
    }
}

fn read_bitmaps(disk: &dyn Disk, header: &Header, geometry: &Geometry) -> Result<Vec<Bitmap>> {
    let Some(location) = header.extensions.bitmaps else { return Ok(Vec::new()) };
    let size = header.virtual_size();
    let bitmaps = bitmap::read_directory(disk, geometry, location, size)?;
    bitmap::validate_all(&bitmaps, disk, geometry, size)?;
    Ok(bitmaps)
}

fn tell_of_stale_bitmaps(header: &Header) {
    if header.extensions.bitmaps_state == BitmapsState::Consistent {
        return;
    }
    notice::warn(match header.version {
        Version::V2 => {
            "This qcow2 v2 image contains bitmaps, but they may have been modified by a program without \
             persistent bitmap support; so now they must all be considered inconsistent"
        }
        Version::V3 => {
            "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent"
        }
    });
    notice::tell("Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.");
}
