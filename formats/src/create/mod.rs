//! New images.
//!
//! ```text
//!   list      -o a=b,c        names and values
//!   spec      which options a format has, their help
//!   options   names and values that a format knows: CreateOptions
//!     │
//!   create    drafts of the files, the format laid out in them: NewImage
//!   measure   how large that would become
//! ```
//!
//! Nothing that is made stands under its name before [`NewImage::publish`].

mod files;
mod fill;
mod list;
mod measure;
mod options;
mod spec;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Access, Draft, DraftOptions};

pub(crate) use self::fill::{extend, fill, grow};
pub use self::list::{Item, OptionList};
pub use self::measure::{Measured, Measurement, measure};
pub use self::options::CreateOptions;
pub use self::spec::{OptionKind, OptionSpec, OptionTable, creatable};
use crate::encryption::options::Prefixed;
use crate::options::{DriverName, driver, name};
use crate::qcow2::Qcow2;
use crate::qcow2::create::{Parameters, lay_out};
use crate::qcow2::session::Files;
use crate::raw::{Raw, SECTOR};
use crate::registry::{self, Creation, NewFiles, Registered};
use crate::shown::shown;
use crate::{Durability, Error, Format, Image, OpenContext, Result, luks, qcow};

/// What is allocated when an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preallocation {
    /// Nothing.
    Off,
    /// The tables, but no space for what they point to.
    Metadata,
    /// Space for everything, by reserving it.
    Falloc,
    /// Space for everything, by writing it.
    Full,
}

impl Preallocation {
    /// The mode of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"off" => Some(Self::Off),
            b"metadata" => Some(Self::Metadata),
            b"falloc" => Some(Self::Falloc),
            b"full" => Some(Self::Full),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Falloc => "falloc",
            Self::Full => "full",
        }
    }

    /// The mode that the options name.
    pub fn from_options(options: &CreateOptions) -> Result<Self> {
        let Some(name) = options.text("preallocation") else { return Ok(Self::Off) };
        Self::from_name(name).ok_or_else(|| {
            Error::invalid(format!("invalid parameter value: {}", String::from_utf8_lossy(name)))
        })
    }
}

/// An image to be made.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// Where it shall stand.
    pub target: &'a Path,
    /// Its format.
    pub format: Format,
    /// Its options, the size of the virtual disk (`size`) and the backing file among them.
    pub options: &'a CreateOptions,
    /// The backing image if it is open, to be read through the new image.
    pub backing: Option<Arc<Image>>,
    /// Whether the files need not survive a crash.
    pub durability: Durability,
}

/// An image that is being made: it can be written, and then published.
#[derive(Debug)]
pub struct NewImage {
    image: Image,
    /// The files, in the order in which they are published.
    drafts: Vec<Box<dyn Draft>>,
}

impl NewImage {
    /// The image, to be written. It has a writer.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Commits what was written and gives the files their names, the image's last.
    pub fn publish(self) -> Result<()> {
        if let Some(writer) = self.image.driver().writer() {
            // Publishing a draft makes its bytes durable.
            writer.commit(Durability::Volatile)?;
        }
        for draft in self.drafts {
            draft.publish()?;
        }
        Ok(())
    }
}

/// Begins a new image.
pub fn create(context: &OpenContext<'_>, request: CreateRequest<'_>) -> Result<NewImage> {
    match request.format {
        Format::Raw => create_raw(context, request),
        Format::Qcow => create_qcow(context, request),
        Format::Qcow2 => create_qcow2(context, request),
        Format::Luks => create_luks(context, request),
        other => match registry::find(other) {
            Some(registered) => create_registered(context, request, registered),
            None => {
                Err(Error::unsupported(format!("Creating images of format '{other}' is not supported yet")))
            }
        },
    }
}

/// The file that the format is laid out in.
fn begin(context: &OpenContext<'_>, request: &CreateRequest<'_>, path: &Path) -> Result<Box<dyn Draft>> {
    let hint = request.options.number("extent_size_hint").filter(|&hint| hint > 0);
    if hint.is_some_and(|hint| hint > u64::from(u32::MAX)) {
        return Err(Error::invalid("Extent size hint is too large"));
    }
    let options = DraftOptions {
        nocow: request.options.flag("nocow"),
        extent_size_hint: hint,
        volatile: request.durability == Durability::Volatile,
    };
    let path = file_path(path.as_os_str())?;
    context.fs.draft(&path, options).map_err(|error| match error.kind() {
        // The complaint about a lock names the file itself.
        journal::ErrorKind::Locked => error.into(),
        _ => Error::from(error).context(format!("Could not create '{}'", shown(path.as_os_str()))),
    })
}

/// The file that a target's name means.
///
/// Protocols of which no image can be made are refused.
pub fn file_path(target: &OsStr) -> Result<PathBuf> {
    match name::protocol(target).map(DriverName::from_protocol).transpose()? {
        None | Some(DriverName::File | DriverName::HostDevice) => Ok(name::without_protocol(target).into()),
        Some(DriverName::Format(format)) => Err(driver::not_supported(format.name())),
        Some(DriverName::Null(driver)) => Err(no_creation(driver)),
        Some(DriverName::Blkdebug) => Err(no_creation("blkdebug")),
        Some(DriverName::Vvfat) => Err(no_creation("vvfat")),
        Some(DriverName::Quorum) => Err(driver::not_supported("quorum")),
        Some(DriverName::Filter(filter)) => Err(driver::not_supported(filter.name())),
        Some(DriverName::Unsupported(driver)) => Err(driver::not_supported(driver)),
    }
}

/// The refusal of a protocol that makes no files.
fn no_creation(protocol: &str) -> Error {
    Error::unsupported(format!("Protocol driver '{protocol}' does not support image creation"))
}

fn create_raw(context: &OpenContext<'_>, request: CreateRequest<'_>) -> Result<NewImage> {
    let preallocation = Preallocation::from_options(request.options)?;
    let size = request.options.size().unwrap_or(0);
    let size = size
        .checked_next_multiple_of(SECTOR)
        .filter(|&size| size <= i64::MAX as u64)
        .ok_or_else(|| Error::invalid("Invalid argument").context("Could not resize file"))?;
    let draft = begin(context, &request, request.target)?;
    if preallocation == Preallocation::Metadata {
        return Err(Error::unsupported("Unsupported preallocation mode: metadata"));
    }
    let disk = draft.disk();
    grow(&*disk, size, preallocation).map_err(|error| match (error.kind(), error.os_code()) {
        // Not the operating system's refusal, but a device that is too small.
        (journal::ErrorKind::Unsupported, None) => Error::unsupported("Cannot grow device files"),
        _ => Error::from(error).context("Could not resize file"),
    })?;
    let driver = Raw::whole(disk, Access::Write)?;
    let image = Image::new(shown(request.target.as_ref()), Box::new(driver), None);
    Ok(NewImage { image, drafts: vec![draft] })
}

fn create_registered(
    context: &OpenContext<'_>,
    request: CreateRequest<'_>,
    registered: &Registered,
) -> Result<NewImage> {
    let mut files = files::Drafts::new(context, &request);
    let mut driver = match registered.create {
        Creation::InOneFile(create) => create(request.options, files.begin(request.target.as_os_str())?)?,
        Creation::InFiles(create) => create(request.options, &mut files)?,
    };
    let drafts = files.into_drafts();
    if let Some(backing) = &request.backing {
        driver.stand_on(backing.driver())?;
    }
    let image = Image::new(shown(request.target.as_ref()), driver, request.backing);
    Ok(NewImage { image, drafts })
}

fn create_luks(context: &OpenContext<'_>, request: CreateRequest<'_>) -> Result<NewImage> {
    let draft = begin(context, &request, request.target)?;
    let driver = luks::lay_out(request.options, context, draft.disk())?;
    let image = Image::new(shown(request.target.as_ref()), Box::new(driver), None);
    Ok(NewImage { image, drafts: vec![draft] })
}

fn create_qcow(context: &OpenContext<'_>, request: CreateRequest<'_>) -> Result<NewImage> {
    let draft = begin(context, &request, request.target)?;
    if Preallocation::from_options(request.options)? == Preallocation::Metadata {
        return Err(Error::unsupported("Unsupported preallocation mode: metadata"));
    }
    let driver = qcow::create::lay_out(request.options, context, draft.disk())?;
    let image = Image::new(shown(request.target.as_ref()), driver, request.backing);
    Ok(NewImage { image, drafts: vec![draft] })
}

fn create_qcow2(context: &OpenContext<'_>, request: CreateRequest<'_>) -> Result<NewImage> {
    let mut drafts = Vec::new();
    let main = begin(context, &request, request.target)?;
    if let Some(name) = request.options.text("data_file") {
        let path = PathBuf::from(OsStr::from_bytes(name));
        if file_path(path.as_os_str())? == file_path(request.target.as_os_str())? {
            let hint = format!("Is another process using the image [{}]?", shown(path.as_os_str()));
            return Err(Error::invalid("Failed to get shared \"resize\" lock").with_hint(hint));
        }
        drafts.push(begin(context, &request, &path)?);
    }
    let parameters = Parameters::from_options(request.options)?;
    let files = Files { main: main.disk(), data: drafts.first().map(|draft| draft.disk()) };
    drafts.push(main);
    let encrypt = Prefixed { options: request.options, prefix: "encrypt." };
    let session = lay_out(&parameters, files, || encrypt.passphrase(context))?;
    let driver = Qcow2::create(session);
    let image = Image::new(shown(request.target.as_ref()), Box::new(driver), request.backing);
    Ok(NewImage { image, drafts })
}
