//! Images of many shapes, made on a simulated disk.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use formats::create::{CreateOptions, CreateRequest, OptionList, OptionTable, create};
use formats::engine::{Write, write};
use formats::secrets::{Secret, Secrets};
use formats::{
    BitmapInfo, Durability, Error, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result,
    open_filename,
};
use journal::sim::Frozen;
use journal::{Access, SimFs, Zeroing};

/// Where the image under test stands.
pub const TOP: &str = "/top";
/// The image behind it.
pub const BASE: &str = "/base";
/// The image behind that.
pub const ROOT: &str = "/root";
/// The external data file of the image under test.
pub const DATA: &str = "/data";
/// An image of its own, in another directory.
pub const SIDE: &str = "/far/side";
/// A raw file that commands copy from.
pub const SOURCE: &str = "/source";

/// What an image is like.
#[derive(Debug, Clone)]
pub struct Shape {
    pub cluster: u64,
    pub version: u32,
    pub refcount_bits: u32,
    pub extended: bool,
    pub snapshots: usize,
    pub bitmaps: usize,
    pub data: DataFile,
    pub chain: Chain,
    pub content: Content,
    /// Guest bytes.
    pub size: u64,
    /// Where the pattern of its bytes begins.
    pub seed: u64,
}

/// Where guest data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFile {
    None,
    External,
    Raw,
}

/// What is behind the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    None,
    Raw,
    Same,
    Shorter,
    Longer,
    Two,
}

/// What is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Empty,
    Sparse,
    Dense,
    Zeroes,
    Compressed,
    Preallocated,
}

impl Shape {
    /// Shapes that differ in everything, each number always the same.
    pub fn range(numbers: Range<usize>) -> impl Iterator<Item = Self> {
        numbers.map(Self::number)
    }

    fn number(index: usize) -> Self {
        let pick = |step: usize| index / step;
        let extended = index % 9 == 4;
        let cluster = match index % 10 {
            _ if extended => 16 << 10,
            3 => 1 << 10,
            5 => 2 << 10,
            2 | 6 | 7 => 4 << 10,
            9 if index % 20 == 9 => 64 << 10,
            _ => 512,
        };
        let version = if index % 7 == 3 && !extended { 2 } else { 3 };
        let data = match index % 11 {
            5 if version == 3 => DataFile::External,
            8 if version == 3 => DataFile::Raw,
            _ => DataFile::None,
        };
        let refcount_bits = if version == 2 { 16 } else { [16, 8, 16, 2, 4, 32, 64, 1][pick(2) % 8] };
        let may_compress = pick(5) % 6 == 2;
        let snapshots = match [0, 1, 2, 0, 3][index % 5] {
            _ if data != DataFile::None || refcount_bits == 1 => 0,
            // Compressed clusters share one that is counted for each.
            _ if may_compress && refcount_bits < 8 => 0,
            wanted if refcount_bits == 2 => wanted.min(2),
            wanted => wanted,
        };
        let chains = [Chain::None, Chain::Raw, Chain::Same, Chain::Shorter, Chain::Longer, Chain::Two];
        let contents = [
            Content::Sparse,
            Content::Dense,
            Content::Compressed,
            Content::Zeroes,
            Content::Empty,
            Content::Preallocated,
        ];
        let chain = if data == DataFile::Raw { Chain::None } else { chains[pick(4) % 6] };
        let content = match contents[pick(5) % 6] {
            Content::Compressed if data != DataFile::None => Content::Sparse,
            Content::Preallocated if chain != Chain::None => Content::Dense,
            content => content,
        };
        let size = match cluster {
            512 => 96 << 10,
            1024 => 192 << 10,
            2048 => 384 << 10,
            _ => cluster * 40,
        };
        Self {
            cluster,
            version,
            refcount_bits,
            extended,
            snapshots,
            bitmaps: if version == 2 { 0 } else { [0, 1, 0, 2][pick(3) % 4] },
            data,
            chain,
            content,
            // Sizes that end within a cluster, too.
            size: size + [0, 512, 0, 1536][index % 4],
            seed: index as u64 * 7919 + 1,
        }
    }

    /// A short name that tells the shape.
    pub fn name(&self) -> String {
        let mut name = format!("c{}v{}r{}", self.cluster, self.version, self.refcount_bits);
        let flags = [
            (self.extended, "x".to_owned()),
            (self.snapshots > 0, format!("s{}", self.snapshots)),
            (self.bitmaps > 0, format!("b{}", self.bitmaps)),
        ];
        flags.into_iter().filter(|(set, _)| *set).for_each(|(_, text)| name.push_str(&text));
        let words = [format!("{:?}", self.data), format!("{:?}", self.chain), format!("{:?}", self.content)];
        for word in words.into_iter().filter(|word| word != "None") {
            name.push('-');
            name.push_str(&word.to_lowercase());
        }
        name
    }

    /// The options of `create` for such an image.
    pub fn options(&self) -> String {
        let mut options = format!("size={},cluster_size={}", self.size, self.cluster);
        match self.version {
            2 => options.push_str(",compat=0.10"),
            _ => options.push_str(&format!(",refcount_bits={}", self.refcount_bits)),
        }
        if self.extended {
            options.push_str(",extended_l2=on");
        }
        if self.content == Content::Preallocated {
            options.push_str(",preallocation=metadata");
        }
        match self.data {
            DataFile::None => {}
            DataFile::External => options.push_str(",data_file=data"),
            DataFile::Raw => options.push_str(",data_file=data,data_file_raw=on"),
        }
        match self.chain {
            Chain::None => {}
            Chain::Raw => options.push_str(",backing_file=base,backing_fmt=raw"),
            _ => options.push_str(",backing_file=base,backing_fmt=qcow2"),
        }
        // Names in tests are those of a program that was started in the root directory.
        options
    }

    /// How long what is behind it is.
    fn base_size(&self) -> u64 {
        match self.chain {
            Chain::Shorter => self.size / 2 / 512 * 512,
            Chain::Longer => self.size * 3 / 2 / 512 * 512,
            _ => self.size,
        }
    }

    /// A tree in which the image and all behind it stand, durable.
    pub fn build(&self) -> Result<Frozen> {
        let fs = SimFs::new();
        fs.add_file(SOURCE, &pattern(self.seed + 5, self.size / 2 / 512 * 512));
        self.build_chain(&fs)?;
        fs.add_directory("/far");
        new_image(&fs, SIDE, Format::Qcow2, "size=64k,cluster_size=1k", |image| {
            put(image, 0, self.seed, 5000)
        })?;
        new_image(&fs, TOP, Format::Qcow2, &self.options(), |image| self.fill(image))?;
        for number in 0..self.snapshots {
            let image = open_for_writing(&context(&fs), TOP)?;
            store::ops::snapshot::create(&image, &format!("s{number}"))?;
            drop(image);
            change(&fs, TOP, |image| {
                let at = self.place(number as u64 * 5 + 1);
                put(image, at, self.seed + 20 + number as u64, self.cluster * 3)
            })?;
        }
        fs.settle();
        Ok(fs.freeze())
    }

    fn build_chain(&self, fs: &SimFs) -> Result<()> {
        let size = self.base_size();
        let options = |rest: &str| format!("size={size},cluster_size={}{rest}", self.cluster.min(1 << 10));
        match self.chain {
            Chain::None => Ok(()),
            Chain::Raw => {
                fs.add_file(BASE, &sparse_pattern(self.seed + 1, size));
                Ok(())
            }
            Chain::Two => {
                new_image(fs, ROOT, Format::Qcow2, &options(""), |image| {
                    put(image, 512, self.seed + 2, 9000)
                })?;
                let over = options(",backing_file=root,backing_fmt=qcow2");
                new_image(fs, BASE, Format::Qcow2, &over, |image| put(image, 4096, self.seed + 3, 7000))
            }
            _ => new_image(fs, BASE, Format::Qcow2, &options(""), |image| {
                put(image, 0, self.seed + 1, 6000)?;
                put(image, size / 2, self.seed + 2, size / 8)
            }),
        }
    }

    /// A guest offset on a cluster, the n-th of some that are spread over the disk.
    fn place(&self, n: u64) -> u64 {
        let clusters = self.size / self.cluster;
        (self.seed.wrapping_mul(31) + n * 17) % clusters.saturating_sub(4).max(1) * self.cluster
    }

    fn fill(&self, image: &Image) -> Result<()> {
        let cluster = self.cluster;
        match self.content {
            Content::Empty => {}
            Content::Sparse | Content::Preallocated => {
                for n in 0..3 {
                    put(image, self.place(n) + 512 * n, self.seed + n, cluster + 700)?;
                }
            }
            Content::Dense => put(image, 0, self.seed, (cluster * 24).min(self.size))?,
            Content::Zeroes => {
                put(image, 0, self.seed, cluster * 6)?;
                zero(image, cluster, cluster * 2, Zeroing::Unmap)?;
                zero(image, cluster * 4, cluster, Zeroing::Keep)?;
                zero(image, self.place(3), cluster * 2, Zeroing::Unmap)?;
            }
            Content::Compressed => {
                for n in 0..6 {
                    compress(image, n * cluster, self.seed + n, cluster)?;
                }
                put(image, 2 * cluster, self.seed + 9, cluster)?;
            }
        }
        for number in 0..self.bitmaps {
            self.add_bitmap(image, number)?;
        }
        Ok(())
    }

    fn add_bitmap(&self, image: &Image, number: usize) -> Result<()> {
        let granularity = [512_u64, 4096][number % 2];
        let info = BitmapInfo { name: format!("b{number}"), granularity, in_use: false, auto: number == 0 };
        let start = match number {
            0 => 16_384,
            // Where nothing that is written later is recorded.
            _ => (self.size - 4096) / granularity * granularity,
        };
        let dirty = [4096..8192, start..start + granularity];
        let bitmaps = writer(image)?.bitmaps();
        let bitmaps = bitmaps.ok_or_else(|| Error::unsupported("This image cannot have bitmaps"))?;
        bitmaps.store(&info, &mut |visitor| dirty.iter().cloned().try_for_each(&mut *visitor))
    }
}

/// The passphrases of what is encrypted. Their names are [`KEYS`].
pub const PASSPHRASES: &[&str] = &["a passphrase", "another one", "and one more"];

/// What they are called: the first one opens everything.
pub const KEYS: [&str; 3] = ["key", "second", "new"];

static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let secrets = Secrets::default();
    for (name, passphrase) in KEYS.into_iter().zip(PASSPHRASES) {
        secrets.keep(name.as_bytes(), Secret::new(passphrase.as_bytes().to_vec()));
    }
    secrets
});

/// A context over a simulated disk.
pub fn context(fs: &dyn journal::Fs) -> OpenContext<'_> {
    OpenContext { fs, gate: &PermissiveGate, secrets: Some(&SECRETS) }
}

/// Makes an image and fills it.
pub fn new_image(
    fs: &SimFs,
    path: &str,
    format: Format,
    options: &str,
    fill: impl FnOnce(&Image) -> Result<()>,
) -> Result<()> {
    let mut list = OptionList::default();
    list.add(OsStr::new(options))?;
    let options = OptionTable::for_file(format).parse(&list)?;
    make(fs, path, format, options, fill)
}

/// Makes an image over another one of its own format, and fills it.
pub fn new_overlay(
    fs: &SimFs,
    path: &str,
    format: Format,
    options: &str,
    fill: impl FnOnce(&Image) -> Result<()>,
) -> Result<()> {
    let mut list = OptionList::default();
    list.add(OsStr::new(options))?;
    let mut options = OptionTable::for_file(format).parse(&list)?;
    let behind = BASE.strip_prefix('/').map(OsStr::new);
    options.set_backing(behind, Some(OsStr::new(format.name())))?;
    make(fs, path, format, options, fill)
}

fn make(
    fs: &SimFs,
    path: &str,
    format: Format,
    options: CreateOptions,
    fill: impl FnOnce(&Image) -> Result<()>,
) -> Result<()> {
    let backing = match options.text("backing_file") {
        None => None,
        Some(_) => {
            let (name, format) = options_backing(&options);
            let flags = OpenFlags::READ;
            Some(open_filename(&context(fs), OsStr::new(&name), Some(&format), flags)?.into())
        }
    };
    let request = CreateRequest {
        target: Path::new(path),
        format,
        options: &options,
        backing,
        durability: Durability::Durable,
    };
    let new = create(&context(fs), request)?;
    fill(new.image())?;
    new.publish()
}

fn options_backing(options: &CreateOptions) -> (String, String) {
    let text = |name| String::from_utf8_lossy(options.text(name).unwrap_or_default()).into_owned();
    (format!("/{}", text("backing_file")), text("backing_fmt"))
}

/// Changes an image that stands there, and commits that.
pub fn change(fs: &SimFs, path: &str, change: impl FnOnce(&Image) -> Result<()>) -> Result<()> {
    let image = open_for_writing(&context(fs), path)?;
    change(&image)?;
    writer(&image)?.commit(Durability::Durable)
}

/// Opens a qcow2 image to change it.
pub fn open_for_writing(context: &OpenContext<'_>, path: &str) -> Result<Image> {
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    open_filename(context, OsStr::new(path), Some("qcow2"), flags)
}

/// The image's writer.
pub fn writer(image: &Image) -> Result<&dyn formats::Writer> {
    image.driver().writer().ok_or_else(|| formats::Error::unsupported("the image cannot be written"))
}

/// Writes bytes of a pattern, as far as they fit.
pub fn put(image: &Image, at: u64, seed: u64, len: u64) -> Result<()> {
    let at = at.min(image.virtual_size());
    write(image, at, Write::Data(&pattern(seed, len.min(image.virtual_size() - at))))
}

/// Writes zeroes, as far as they fit.
pub fn zero(image: &Image, at: u64, len: u64, how: Zeroing) -> Result<()> {
    let at = at.min(image.virtual_size());
    write(image, at, Write::Zeroes { len: len.min(image.virtual_size() - at), how })
}

/// Writes one compressed cluster.
fn compress(image: &Image, at: u64, seed: u64, len: u64) -> Result<()> {
    let mut plain = pattern(seed, len);
    plain[len as usize / 4..].fill(seed as u8);
    let mut packed = vec![0; len as usize];
    let mut deflate = flate2::Compress::new_with_window_bits(flate2::Compression::fast(), false, 12);
    let finish = flate2::FlushCompress::Finish;
    let done = deflate.compress(&plain, &mut packed, finish);
    match done {
        Ok(flate2::Status::StreamEnd) => {
            packed.truncate(deflate.total_out() as usize);
            writer(image)?.write_compressed(formats::GuestOffset(at), &packed)
        }
        _ => put(image, at, seed, len),
    }
}

/// Bytes that differ from sector to sector.
pub fn pattern(seed: u64, len: u64) -> Vec<u8> {
    let byte =
        |at: u64| (seed.wrapping_mul(0x9e37_79b9).wrapping_add(at / 512 * 37 + at % 251) >> 3) as u8 | 1;
    (0..len).map(byte).collect()
}

/// The same with a hole in the middle.
fn sparse_pattern(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = pattern(seed, len);
    bytes[len as usize / 4..len as usize / 2].fill(0);
    bytes
}
