//! Files as images, with the files behind them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use journal::sim::FileId;

use super::bytes::words;
use super::footprint::Reader;
use super::header::Header;

/// Chains in tests are short.
const MAX_DEPTH: usize = 8;

/// A format that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
}

/// An image in a chain.
#[derive(Debug)]
pub enum Layer<'a> {
    Raw(RawFile<'a>),
    Qcow2(Box<Image<'a>>),
}

/// A raw image.
#[derive(Debug)]
pub struct RawFile<'a> {
    pub reader: &'a Reader<'a>,
    pub file: FileId,
    pub len: u64,
}

/// A qcow2 image.
#[derive(Debug)]
pub struct Image<'a> {
    pub reader: &'a Reader<'a>,
    pub file: FileId,
    pub header: Header,
    /// The active L1 table.
    pub l1: Vec<u64>,
    /// Where guest data is: the data file, or the image itself.
    pub data: FileId,
    pub backing: Option<Box<Layer<'a>>>,
    /// Tables that were read, as words.
    tables: RefCell<HashMap<u64, Rc<Vec<u64>>>>,
}

impl<'a> Layer<'a> {
    /// Opens the file at `path` and what it stands on.
    pub fn open(reader: &'a Reader<'a>, path: &Path, format: Option<Format>) -> Result<Self, String> {
        Self::open_at(reader, path, format, 0)
    }

    fn open_at(
        reader: &'a Reader<'a>,
        path: &Path,
        format: Option<Format>,
        depth: usize,
    ) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err("the chain is too long".to_owned());
        }
        let file = reader.find(path).ok_or_else(|| format!("{} is missing", path.display()))?;
        let mut start = vec![0; 4];
        reader.read(file, 0, &mut start);
        let looks_like = if start == b"QFI\xfb" { Format::Qcow2 } else { Format::Raw };
        match format.unwrap_or(looks_like) {
            Format::Raw => Ok(Self::Raw(RawFile { reader, file, len: reader.len(file) })),
            Format::Qcow2 => Image::open(reader, path, file, depth).map(Box::new).map(Self::Qcow2),
        }
    }

    /// Bytes that a guest sees.
    pub fn size(&self) -> u64 {
        match self {
            Self::Raw(raw) => raw.len,
            Self::Qcow2(image) => image.header.size,
        }
    }
}

impl<'a> Image<'a> {
    fn open(reader: &'a Reader<'a>, path: &Path, file: FileId, depth: usize) -> Result<Self, String> {
        let mut fixed = [0; 24];
        reader.read(file, 0, &mut fixed);
        let cluster_bits = super::bytes::u32_at(&fixed, 20).clamp(9, 21);
        let first = header_bytes(reader, file, 1 << cluster_bits);
        let header = Header::parse(&first)?;
        let sibling = |name: &str| path.parent().unwrap_or(Path::new("/")).join(name);
        let data = match (header.external_data(), &header.facts.data_file) {
            (false, _) => file,
            (true, Some(name)) => reader.find(&sibling(name)).ok_or("the data file is missing")?,
            (true, None) => return Err("the data file has no name".to_owned()),
        };
        let backing = match &header.facts.backing {
            None => None,
            Some(name) => {
                let format = match header.facts.backing_format.as_deref() {
                    Some("raw") => Some(Format::Raw),
                    Some("qcow2") => Some(Format::Qcow2),
                    Some(other) => return Err(format!("backing format {other}")),
                    None => None,
                };
                Some(Box::new(Layer::open_at(reader, &sibling(name), format, depth + 1)?))
            }
        };
        let l1 = words(&reader.bytes(file, header.l1_offset, u64::from(header.l1_size) * 8)?);
        if header.size.div_ceil(header.l1_coverage()) > l1.len() as u64 {
            return Err(format!("{} L1 entries are too few for {} bytes", l1.len(), header.size));
        }
        Ok(Self { reader, file, header, l1, data, backing, tables: RefCell::default() })
    }

    /// The table of one cluster at `offset`, as words.
    pub fn table(&self, offset: u64) -> Result<Rc<Vec<u64>>, String> {
        if let Some(table) = self.tables.borrow().get(&offset) {
            return Ok(table.clone());
        }
        let table = Rc::new(words(&self.reader.bytes(self.file, offset, self.header.cluster_size())?));
        self.tables.borrow_mut().insert(offset, table.clone());
        Ok(table)
    }
}

/// The header's cluster as far as it is needed: extensions end long before a large cluster does.
fn header_bytes(reader: &Reader<'_>, file: FileId, cluster: usize) -> Vec<u8> {
    let mut bytes = vec![0; cluster];
    let part = cluster.min(2048);
    reader.read(file, 0, &mut bytes[..part]);
    let name_at = super::bytes::u64_at(&bytes, 8) as usize;
    let name_end = name_at.saturating_add(super::bytes::u32_at(&bytes, 16) as usize);
    if name_end > part && name_end <= cluster {
        reader.read(file, part as u64, &mut bytes[part..name_end]);
    }
    bytes
}
