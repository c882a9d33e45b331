//! New VMDK images.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use journal::{Access, Disk};
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use super::descriptor::LOOKED_AT;
use super::extents::Extents;
use super::header::{
    DEFLATE, FLAG_COMPRESSED, FLAG_LINE_ENDS, FLAG_MARKERS, FLAG_REDUNDANT, FLAG_ZEROED, HOSTED_MAGIC, Hosted,
};
use super::writer::random_identity;
use super::{EMBEDDED_AT, NO_PARENT, Vmdk};
use crate::create::{CreateOptions, Preallocation, grow};
use crate::paged_table::PAGE_ENTRIES;
use crate::raw::{SECTOR, sectors};
use crate::registry::{FurtherFile, FurtherFiles, NewFiles, Opened, OpenedFile, Source};
use crate::resizable::Resizable;
use crate::shown::shown;
use crate::{Error, Format, OpenFlags, Result};

/// The length of the extents of a disk that is cut into pieces.
const PIECE: u64 = 2 << 30;
/// Sectors in a grain.
const GRAIN: u64 = 128;
/// Entries in a grain table, and its sectors.
const TABLE_LEN: u64 = 512;
const TABLE: u64 = TABLE_LEN * size_of::<U32>() as u64 / SECTOR;
/// Sectors for the descriptor, after the header.
const DESCRIPTOR: u64 = LOOKED_AT as u64 / SECTOR;
/// More grain tables than that are not read again.
const MAX_TABLES: u64 = 32 << 20;

/// How the extents of a new image lie in their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Flat,
    Sparse,
    Compressed,
}

/// Whether they are one or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    One,
    Many,
}

/// The types that can be made.
const SUBFORMATS: [(&str, Layout, Pieces); 5] = [
    ("monolithicSparse", Layout::Sparse, Pieces::One),
    ("monolithicFlat", Layout::Flat, Pieces::One),
    ("twoGbMaxExtentSparse", Layout::Sparse, Pieces::Many),
    ("twoGbMaxExtentFlat", Layout::Flat, Pieces::Many),
    ("streamOptimized", Layout::Compressed, Pieces::One),
];

/// The adapters that a disk can be made for; all but the first have more heads.
const ADAPTERS: [&str; 4] = ["ide", "buslogic", "lsilogic", "legacyESX"];

/// What a new image is to be.
struct Plan {
    size: u64,
    subformat: &'static str,
    layout: Layout,
    pieces: Pieces,
    adapter: &'static str,
    hardware: String,
    tools: String,
    zeroed_grains: bool,
    /// The name of the image behind it.
    backing: Option<Vec<u8>>,
}

/// Lays out an image.
pub(super) fn create(options: &CreateOptions, files: &mut dyn NewFiles) -> Opened {
    let plan = Plan::new(options)?;
    let target = files.target()?;
    let main = files.begin(&target)?;
    let parent = plan.parent(files)?;
    let mut extents = Vec::new();
    if plan.is_embedded() {
        plan.lay_out(&*main, plan.size)?;
    } else {
        let mut at = 0;
        while at < plan.size {
            let len = if plan.pieces == Pieces::Many { PIECE.min(plan.size - at) } else { plan.size };
            let name = plan.extent_name(&target, extents.len() + 1);
            let disk = files.begin(&name)?;
            plan.lay_out(&*disk, len)?;
            extents.push(NewExtent { name, len, disk });
            at += len;
        }
    }
    let descriptor_at = if plan.is_embedded() { EMBEDDED_AT } else { 0 };
    let text = plan.descriptor(&target, parent, &extents);
    if plan.is_embedded() && text.len() > LOOKED_AT {
        return Err(Error::invalid("The descriptor is longer than the room for it"));
    }
    main.write_at(descriptor_at, &text)?;
    plan.open(main, &target, descriptor_at, extents)
}

/// An extent that was laid out in a file of its own.
struct NewExtent {
    name: OsString,
    len: u64,
    disk: Arc<dyn Disk>,
}

/// The files of an image that was just laid out, in the order in which it names them.
struct Made(Vec<NewExtent>);

impl FurtherFiles for Made {
    fn open(&self, file: FurtherFile<'_>) -> Result<OpenedFile> {
        let is_named = |extent: &&NewExtent| base_name(&extent.name) == file.name;
        let extent = self.0.iter().find(is_named).ok_or_else(super::invalid)?;
        Ok(OpenedFile { disk: Arc::clone(&extent.disk), name: shown(&extent.name) })
    }
}

/// One of some values that an option can have.
fn choice<T>(
    options: &CreateOptions,
    name: &str,
    values: impl IntoIterator<Item = (&'static str, T)>,
) -> Result<T> {
    let mut values = values.into_iter().peekable();
    let given = options.text(name);
    let default = values.peek().map(|(name, _)| name.as_bytes());
    let wanted = given.or(default).unwrap_or_default().to_vec();
    let found = values.find(|(name, _)| name.as_bytes() == wanted);
    found.map(|(_, value)| value).ok_or_else(|| {
        Error::invalid(format!("invalid parameter value: {}", String::from_utf8_lossy(&wanted)))
    })
}

impl Plan {
    fn new(options: &CreateOptions) -> Result<Self> {
        let text = |name| options.text(name).map(|text| String::from_utf8_lossy(text).into_owned());
        if text("backing_fmt").is_some_and(|format| format != Format::Vmdk.name()) {
            return Err(Error::invalid("backing_file must be a vmdk image"));
        }
        let adapter = choice(options, "adapter_type", ADAPTERS.map(|name| (name, name)))?;
        let types = SUBFORMATS.map(|(name, layout, pieces)| (name, (name, layout, pieces)));
        let (subformat, layout, pieces) = choice(options, "subformat", types)?;
        let hardware = text("hwversion").filter(|version| version != "undefined");
        let hardware = match (options.flag("compat6"), hardware) {
            (true, Some(_)) => return Err(Error::invalid("compat6 cannot be enabled with hwversion set")),
            (true, None) => "6".to_owned(),
            (false, given) => given.unwrap_or_else(|| "4".to_owned()),
        };
        let backing = options.text("backing_file").map(<[u8]>::to_vec);
        let zeroed_grains = options.flag("zeroed_grain");
        if layout == Layout::Flat && backing.is_some() {
            return Err(Error::unsupported("Flat image can't have backing file"));
        }
        if layout == Layout::Flat && zeroed_grains {
            return Err(Error::unsupported("Flat image can't enable zeroed grain"));
        }
        let tools = text("toolsversion").unwrap_or_else(|| "2147483647".to_owned());
        let size = sectors(options.size().unwrap_or(0));
        Ok(Self { size, subformat, layout, pieces, adapter, hardware, tools, zeroed_grains, backing })
    }

    /// Whether everything is in one file.
    fn is_embedded(&self) -> bool {
        self.layout != Layout::Flat && self.pieces == Pieces::One
    }

    /// The identity of the image behind it.
    fn parent(&self, files: &dyn NewFiles) -> Result<u32> {
        if self.backing.is_none() {
            return Ok(NO_PARENT);
        }
        let backing = files.backing()?.ok_or_else(super::invalid)?;
        if backing.format() != Format::Vmdk {
            let format = backing.driver_name();
            return Err(Error::invalid(format!("Invalid backing file format: {format}. Must be vmdk")));
        }
        backing.driver().content_id().ok_or_else(|| Error::invalid("Failed to read parent CID"))
    }

    /// The name of an extent's file, counted from 1.
    fn extent_name(&self, target: &OsStr, number: usize) -> OsString {
        let target = target.as_bytes();
        let start = |byte: u8| target.iter().rposition(|&other| other == byte).map(|at| at + 1);
        let start = start(b'/').or_else(|| start(b'\\')).or_else(|| start(b':')).unwrap_or(0);
        let (directory, name) = target.split_at(start);
        let dot = name.iter().rposition(|&byte| byte == b'.').unwrap_or(name.len());
        let (prefix, suffix) = name.split_at(dot);
        let middle = match (self.pieces, self.layout) {
            (Pieces::One, _) => "-flat".to_owned(),
            (Pieces::Many, Layout::Flat) => format!("-f{number:03}"),
            (Pieces::Many, _) => format!("-s{number:03}"),
        };
        OsString::from_vec([directory, prefix, middle.as_bytes(), suffix].concat())
    }

    /// Lays out an extent in an empty file.
    fn lay_out(&self, disk: &dyn Disk, len: u64) -> Result<()> {
        if self.layout == Layout::Flat {
            return Ok(grow(disk, len, Preallocation::Off)?);
        }
        let capacity = len / SECTOR;
        let tables = capacity.div_ceil(GRAIN).div_ceil(TABLE_LEN);
        if tables > MAX_TABLES {
            return Err(Error::new(crate::ErrorKind::TooLarge, "The image is too large for its tables"));
        }
        let directory = (tables * size_of::<U32>() as u64).div_ceil(SECTOR);
        let redundant_at = 1 + DESCRIPTOR;
        let directory_at = redundant_at + directory + tables * TABLE;
        let overhead = (directory_at + directory + tables * TABLE).next_multiple_of(GRAIN);
        let header = Hosted {
            capacity: capacity.into(),
            redundant_at: redundant_at.into(),
            directory_at: directory_at.into(),
            overhead: overhead.into(),
            ..self.header()
        };
        disk.write_at(0, header.as_bytes())?;
        disk.set_len(overhead * SECTOR)?;
        for at in [redundant_at, directory_at] {
            write_directory(disk, at, directory, tables)?;
        }
        Ok(())
    }

    /// The header of an extent of any length.
    fn header(&self) -> Hosted {
        let mut flags = FLAG_REDUNDANT | FLAG_LINE_ENDS;
        let mut version = if self.zeroed_grains { 2 } else { 1 };
        if self.layout == Layout::Compressed {
            flags |= FLAG_COMPRESSED | FLAG_MARKERS;
            version = 3;
        }
        if self.zeroed_grains {
            flags |= FLAG_ZEROED;
        }
        Hosted {
            magic: HOSTED_MAGIC,
            version: version.into(),
            flags: flags.into(),
            grain: GRAIN.into(),
            descriptor_at: 1.into(),
            descriptor_len: DESCRIPTOR.into(),
            table_len: (TABLE_LEN as u32).into(),
            line_ends: *b"\n \r\n",
            algorithm: if self.layout == Layout::Compressed { DEFLATE } else { 0 }.into(),
            ..Hosted::new_zeroed()
        }
    }

    fn descriptor(&self, target: &OsStr, parent: u32, extents: &[NewExtent]) -> Vec<u8> {
        let identity = random_identity();
        let subformat = self.subformat;
        let mut text = format!(
            "# Disk DescriptorFile\nversion=1\nCID={identity:x}\nparentCID={parent:x}\n\
             createType=\"{subformat}\"\n"
        )
        .into_bytes();
        if let Some(backing) = &self.backing {
            text.extend([b"parentFileNameHint=\"", &**backing, b"\""].concat());
        }
        text.extend(b"\n# Extent description\n");
        let mut add = |len: u64, name: &OsStr| {
            let (kind, offset) = if self.layout == Layout::Flat { ("FLAT", " 0") } else { ("SPARSE", "") };
            text.extend(format!("RW {} {kind} \"", len / SECTOR).into_bytes());
            text.extend(base_name(name));
            text.extend(format!("\"{offset}\n").into_bytes());
        };
        if self.is_embedded() {
            add(self.size, target);
        }
        for extent in extents {
            add(extent.len, &extent.name);
        }
        text.extend(self.data_base().into_bytes());
        text
    }

    /// What a virtual machine is told of the disk.
    fn data_base(&self) -> String {
        let heads = if self.adapter == "ide" { 16 } else { 255 };
        let cylinders = self.size / (63 * heads * SECTOR);
        let Self { hardware, adapter, tools, .. } = self;
        format!(
            "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"{hardware}\"\n\
             ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"{heads}\"\n\
             ddb.geometry.sectors = \"63\"\nddb.adapterType = \"{adapter}\"\nddb.toolsVersion = \"{tools}\"\n"
        )
    }

    /// Opens what was laid out.
    fn open(
        &self,
        main: Arc<dyn Disk>,
        target: &OsStr,
        descriptor_at: u64,
        extents: Vec<NewExtent>,
    ) -> Opened {
        let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
        let (name, further) = (shown(target), Made(extents));
        let source = Source { disk: main, flags: &flags, name: &name, further: &further };
        // An empty disk of one file is nothing that can be read again.
        let image = match self.size {
            0 => Vmdk::assemble(source, Extents::none(self.subformat, descriptor_at))?,
            _ => Vmdk::open(source)?,
        };
        Ok(Box::new(Resizable::new(image)))
    }
}

/// Writes a directory, whose tables follow it.
fn write_directory(disk: &dyn Disk, at: u64, sectors: u64, tables: u64) -> Result<()> {
    let first_table = at + sectors;
    let mut first = 0;
    while first < tables {
        let past = tables.min(first + PAGE_ENTRIES);
        // Tables of the largest disk end before 2^32 sectors.
        let entries: Vec<U32> =
            (first..past).map(|table| U32::new((first_table + table * TABLE) as u32)).collect();
        disk.write_at(at * SECTOR + first * size_of::<U32>() as u64, entries.as_slice().as_bytes())?;
        first = past;
    }
    Ok(())
}

/// The last part of a name.
fn base_name(name: &OsStr) -> &[u8] {
    name.as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}
