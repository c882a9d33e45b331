//! `create`: a new image, empty or over a backing image.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use formats::create::{self, CreateOptions, CreateRequest, OptionList, OptionTable, creatable, file_path};
use formats::open::open_new_backing;
use formats::options::name;
use formats::{Durability, Error, ErrorKind, Format, OpenContext, OpenFlags, Result};

/// An image to be made, as a person asks for it.
#[derive(Debug, Clone)]
pub struct Create {
    /// Where it shall stand.
    pub filename: OsString,
    /// The name of its format.
    pub format: String,
    /// Its options.
    pub options: OptionList,
    /// Size of the virtual disk in bytes, if it is not among the options.
    pub size: Option<u64>,
    /// Name of the backing file, which counts more than an option.
    pub backing: Option<OsString>,
    /// Format of the backing file, which counts more than an option.
    pub backing_format: Option<OsString>,
    /// Whether the backing file is looked at.
    pub trust: BackingTrust,
}

/// What is believed of a backing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackingTrust {
    /// It must open; its size is the new image's if no other is given.
    Verify,
    /// Everything: it is not opened.
    Blind,
}

/// A request that was found to be sound.
#[derive(Debug)]
pub struct CreatePlan {
    filename: OsString,
    format: Format,
    format_name: String,
    options: CreateOptions,
}

impl Create {
    /// Finds out what the request means. Nothing is made.
    pub fn plan(&self, context: &OpenContext<'_>) -> Result<CreatePlan> {
        self.plan_unnamed(context).map_err(|error| name_target(error, &self.filename))
    }

    fn plan_unnamed(&self, context: &OpenContext<'_>) -> Result<CreatePlan> {
        let format = creatable(&self.format)?;
        file_path(&self.filename)?;
        let mut options = OptionTable::for_file(format).parse(&self.options)?;
        if let Some(size) = self.size {
            if options.is_given("size") {
                return Err(Error::invalid("The image size must be specified only once"));
            }
            options.set_size(size)?;
        }
        options.set_backing(self.backing.as_deref(), self.backing_format.as_deref())?;
        self.settle_backing(context, &mut options)?;
        // The largest number stands for none.
        if options.size().is_none_or(|size| size == u64::MAX) {
            return Err(Error::invalid("Image creation needs a size parameter"));
        }
        let (filename, format_name) = (self.filename.clone(), self.format.clone());
        Ok(CreatePlan { filename, format, format_name, options })
    }

    /// Checks the backing file, and takes the size from it if there is no other.
    fn settle_backing(&self, context: &OpenContext<'_>, options: &mut CreateOptions) -> Result<()> {
        if !options.is_given("backing_file") {
            return Ok(());
        }
        let name = OsStr::from_bytes(options.text("backing_file").unwrap_or_default()).to_owned();
        if name.is_empty() {
            return Err(Error::invalid("Expected backing file name, got empty string"));
        }
        if name == self.filename {
            return Err(Error::invalid(
                "Error: Trying to create an image with the same filename as the backing file",
            ));
        }
        let format = options.text("backing_fmt").map(|format| String::from_utf8_lossy(format).into_owned());
        let without_format = || Error::invalid("Backing file specified without backing format");
        if self.trust == BackingTrust::Blind {
            return if format.is_some() { Ok(()) } else { Err(without_format()) };
        }
        let full_name = name::relative_to(&self.filename, &name);
        // Of its data nothing is needed, and no key for it.
        let flags = OpenFlags { data: false, ..OpenFlags::READ };
        let image = open_new_backing(context, &full_name, format.as_deref(), flags)
            .map_err(|error| error.with_hint("Could not open backing image."))?;
        if format.is_none() {
            return Err(without_format().with_hint(format!("Detected format of {}.", image.format())));
        }
        if options.size().is_none_or(|size| size == u64::MAX) {
            options.set_size(image.virtual_size())?;
        }
        Ok(())
    }
}

impl CreatePlan {
    /// What is told before the image is made.
    pub fn announcement(&self) -> Vec<u8> {
        self.options.announcement(self.filename.as_bytes(), &self.format_name)
    }

    /// Makes the image.
    pub fn run(&self, context: &OpenContext<'_>) -> Result<()> {
        let request = CreateRequest {
            target: Path::new(&self.filename),
            format: self.format,
            options: &self.options,
            backing: None,
            durability: Durability::Durable,
        };
        create::create(context, request)
            .and_then(create::NewImage::publish)
            .map_err(|error| name_target(self.explain_size(error), &self.filename))
    }

    /// Of a size that is too large, it is said in the same words for every format.
    fn explain_size(&self, error: Error) -> Error {
        /// "File too large", as the operating system numbers it.
        const EFBIG: i32 = 27;
        let floor = error.floor().and_then(journal::Error::os_code);
        if error.kind() != ErrorKind::TooLarge && floor != Some(EFBIG) {
            return error;
        }
        let hint = if self.options.knows("cluster_size") { " (try using a larger cluster size)" } else { "" };
        let format = &self.format_name;
        let text = format!("The image size is too large for file format '{format}'{hint}");
        Error::new(ErrorKind::TooLarge, text)
    }
}

fn name_target(error: Error, filename: &OsStr) -> Error {
    error.context(formats::shown::shown(filename))
}
