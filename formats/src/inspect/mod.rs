//! What a file from a stranger is: one verdict, and nothing else is opened for it.
//!
//! ```text
//!   Sample (its first and last bytes) ──► signatures ──► one format, none, or several
//!                                    └──► rules ───────► what its header asks for
//!   the format's driver, without what the image names ──► size, references, damage
//! ```
//!
//! At most [`Sample::START`] and [`Sample::END`] bytes are looked at, and a VMDK descriptor; how much a driver reads is bounded
//! by its format.

mod concern;
mod gate;
mod luks;
mod sample;
mod signatures;
mod vmdk;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use journal::{Disk, DiskKind, Following, OpenOptions};

pub use self::concern::{Code, Concern, Policy, Reference, Role};
use self::gate::ClosedGate;
pub use self::gate::StrictGate;
use self::sample::Sample;
pub use self::signatures::Content;
use self::signatures::Signatures;
use crate::error::ResultExt;
use crate::qcow2::feature::Incompatible;
use crate::qcow2::header::{Header, Purpose};
use crate::shown::shown;
use crate::{Error, ErrorKind, Format, Image, OpenContext, OpenFlags, Result, open_filename};

/// What is asked of a file.
#[derive(Debug, Clone)]
pub struct Question {
    /// What it is said to be.
    pub format: Option<Format>,
    /// How much its maker is believed.
    pub policy: Policy,
    /// The largest disk that is wanted, in bytes.
    pub max_size: Option<u64>,
    /// How it is opened; nothing behind it is.
    pub flags: OpenFlags,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The format in which it would be read: what it was said to be, or what it looks like.
    pub format: Format,
    /// The formats that it looks like; none means raw.
    pub formats: Vec<Format>,
    /// What else it looks like, as a raw disk may.
    pub contents: Vec<Content>,
    /// Bytes of the file.
    pub file_size: u64,
    /// Bytes of the virtual disk, if the image can be opened.
    pub virtual_size: Option<u64>,
    /// Whether guest data is encrypted.
    pub encrypted: bool,
    /// The files that the image names.
    pub references: Vec<Reference>,
    /// What is against it.
    pub concerns: Vec<Concern>,
}

/// Looks at the file of that name: a plain name, never a protocol, and no symbolic link.
pub fn inspect(context: &OpenContext<'_>, filename: &OsStr, question: &Question) -> Result<Inspection> {
    let disk = open_plainly(context, filename)?;
    let looked = Looked::at(&*disk, question.format)?;
    let mut found = Inspection {
        format: looked.format,
        formats: looked.signatures.formats,
        contents: looked.signatures.contents,
        file_size: disk.len()?,
        virtual_size: None,
        encrypted: false,
        references: looked.references,
        concerns: looked.concerns,
    };
    let closed = OpenContext { gate: &ClosedGate, ..*context };
    let flags = OpenFlags { backing: false, data: false, ..question.flags };
    match open_filename(&closed, filename, Some(found.format.name()), flags) {
        Ok(image) => found.learn(&image)?,
        // A file that it names was not opened: that is told already.
        Err(error) if error.kind() == ErrorKind::Refused && !found.references.is_empty() => {}
        Err(error) => found.concerns.push(Concern::of_failure(&error)),
    }
    found.judge(question);
    Ok(found)
}

impl Inspection {
    /// Takes over what the driver knows.
    fn learn(&mut self, image: &Image) -> Result<()> {
        self.virtual_size = Some(image.virtual_size());
        self.encrypted = image.driver().details()?.encrypted;
        if let Some(backing) = image.driver().backing() {
            let reference = Reference { role: Role::Backing, name: backing.name.clone() };
            if !self.references.contains(&reference) {
                self.references.push(reference);
            }
        }
        Ok(())
    }

    /// Adds what follows from the whole, and leaves out what does not count.
    fn judge(&mut self, question: &Question) {
        self.concerns.extend(self.references.iter().map(Reference::concern));
        if let (Some(size), Some(max)) = (self.virtual_size, question.max_size)
            && size > max
        {
            let detail = format!("The disk has {size} bytes, and at most {max} are wanted");
            self.concerns.push(Concern::new(Code::TooLarge, detail));
        }
        self.concerns.retain(|concern| concern.code.counts(question.policy));
    }
}

/// What the bytes of a file say.
struct Looked {
    format: Format,
    signatures: Signatures,
    references: Vec<Reference>,
    concerns: Vec<Concern>,
}

impl Looked {
    fn at(disk: &dyn Disk, said: Option<Format>) -> Result<Self> {
        let sample = Sample::of(disk)?;
        let signatures = Signatures::of(&sample);
        let format = said.or(signatures.formats.first().copied()).unwrap_or(Format::Raw);
        let mut concerns = signatures.concerns(said);
        let mut references = Vec::new();
        match format {
            Format::Qcow2 => qcow2(disk, &mut references, &mut concerns),
            Format::Vmdk => vmdk::look(disk, &sample, &mut references, &mut concerns)?,
            Format::Luks => concerns.extend(luks::concerns(&sample)),
            Format::Qed => concerns.push(Concern::new(
                Code::UnsafeFormat,
                "QED images are no longer made, and others refuse them from strangers",
            )),
            _ => {}
        }
        Ok(Self { format, signatures, references, concerns })
    }
}

/// What a qcow2 header asks for. One that cannot be read is the driver's to refuse.
fn qcow2(disk: &dyn Disk, references: &mut Vec<Reference>, concerns: &mut Vec<Concern>) {
    let Ok(header) = Header::read(disk, Purpose::Check) else { return };
    if header.incompatible.contains(Incompatible::DATA_FILE) {
        let name = header.extensions.data_file.clone().unwrap_or_default();
        references.push(Reference { role: Role::DataFile, name });
    }
    if header.incompatible.contains(Incompatible::CORRUPT) {
        concerns.push(Concern::new(Code::MarkedCorrupt, "The image is marked as corrupt"));
    }
    if header.incompatible.contains(Incompatible::EXTENDED_L2) {
        concerns.push(Concern::new(Code::ExtendedL2, "The image has subclusters, which others refuse"));
    }
}

/// Opens a file by its own name, and only a regular one.
fn open_plainly(context: &OpenContext<'_>, filename: &OsStr) -> Result<Arc<dyn Disk>> {
    gate::refuse_protocol(filename)?;
    let options = OpenOptions { following: Following::Nothing, ..OpenOptions::READ };
    let opened = context.fs.open(Path::new(filename), options);
    let disk = opened.context(|| format!("Could not open '{}'", shown(filename)))?;
    match disk.status()?.kind {
        DiskKind::Regular => Ok(disk),
        _ => {
            let text = format!("'{}' is not a regular file", shown(filename));
            Err(Error::new(ErrorKind::Refused, text))
        }
    }
}
