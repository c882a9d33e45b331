//! `rebase`: puts an image onto another backing image, or onto none.
//!
//! What the image does not hold itself comes from behind it. Where the new backing image shows
//! something else than the old one, that is written into the image first. All of it, the
//! reference included, becomes visible with one commit.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use formats::error::ResultExt;
use formats::open::open_new_backing;
use formats::options::DriverName;
use formats::shown::shown;
use formats::{BackingReference, Durability, Error, Image, OpenContext, OpenFlags, Result};

use crate::chain;
use crate::copy::{Beneath, Copy, Method, Replacement, Unreadable, workers};
use crate::{ImageName, Progress};

/// What to put onto what.
#[derive(Debug)]
pub struct Rebase {
    /// The image.
    pub image: ImageName,
    /// How it is opened.
    pub flags: OpenFlags,
    /// The name of what is to be behind it: a relative one counts from the image's directory.
    pub onto: Option<OsString>,
    /// The name of the format of that.
    pub format: Option<String>,
    /// What becomes of its content.
    pub content: Content,
    /// How it is written.
    pub transfer: Transfer,
    /// Pieces of work at a time.
    pub parallel: usize,
}

/// What becomes of an image's content when another image is put behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It stays the same. The new backing image is opened with these flags.
    Kept(OpenFlags),
    /// It is whatever the new backing image makes of it. The old one is not opened; nor is the new one,
    /// but where it is to be remembered which one it was.
    Trusted,
}

/// How bytes are written into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// As they are.
    Plain,
    /// Compressed.
    Compressed,
}

impl Rebase {
    /// Does it.
    pub fn run(&self, context: &OpenContext<'_>, progress: &dyn Progress) -> Result<()> {
        let backing = self.content != Content::Trusted;
        let image = self.image.open(context, OpenFlags { backing, ..self.flags })?;
        self.check(&image)?;
        let opened = match (self.content, &self.onto) {
            (Content::Kept(flags), Some(name)) => Some(self.open_new(context, &image, name, flags)?),
            // What is not there yet cannot be known.
            (Content::Trusted, Some(name)) if image.driver().identity()?.is_some() => {
                let flags = OpenFlags { backing: false, ..OpenFlags::READ };
                self.open_new(context, &image, name, flags).ok()
            }
            _ => None,
        };
        self.change_reference(&image)?;
        if let (Some(new), Some(writer)) = (&opened, image.driver().writer()) {
            writer.follow(new.image().driver());
        }
        if self.content != Content::Trusted {
            let replacement = match &opened {
                None => Replacement { image: None, is_in_chain: false },
                Some(New::InChain(image)) => Replacement { image: Some(image), is_in_chain: true },
                Some(New::Other(image)) => Replacement { image: Some(image), is_in_chain: false },
            };
            self.write_differences(&image, replacement, progress)?;
        }
        match image.driver().writer() {
            Some(writer) => writer.commit(Durability::Durable).context(|| self.could_not_change()),
            None => Ok(()),
        }
    }

    /// What can be told before anything is opened that the image does not name.
    fn check(&self, image: &Image) -> Result<()> {
        if image.driver().details()?.dirty.is_none() {
            return Err(Error::unsupported("could not get block driver info"));
        }
        let can_compress = image.driver().writer().is_some_and(|writer| writer.compression().is_some());
        if self.transfer == Transfer::Compressed && !can_compress {
            return Err(Error::unsupported("Compression not supported for this file format"));
        }
        match self.format.as_deref().filter(|name| DriverName::from_name(name).is_err()) {
            Some(unknown) => Err(Error::invalid(format!("Invalid format name: '{unknown}'"))),
            None => Ok(()),
        }
    }

    fn open_new<'a>(
        &self,
        context: &OpenContext<'_>,
        image: &'a Image,
        name: &OsStr,
        flags: OpenFlags,
    ) -> Result<New<'a>> {
        let full =
            chain::full_name(image, name).context(|| "Could not resolve backing filename".to_owned())?;
        if let Some(behind) = chain::find(context, image, &full) {
            return Ok(New::InChain(behind.image));
        }
        open_new_backing(context, &full, self.format.as_deref(), flags)
            .context(|| format!("Could not open new backing file '{}'", shown(name)))
            .map(|image| New::Other(Box::new(image)))
    }

    fn change_reference(&self, image: &Image) -> Result<()> {
        let reference = self
            .onto
            .as_ref()
            .map(|name| BackingReference { name: name.as_bytes().to_vec(), format: self.format.clone() });
        match image.driver().writer().and_then(|writer| writer.overlay()) {
            _ if reference.as_ref().is_some_and(|reference| reference.format.is_none()) => {
                Err(Error::invalid("backing format must be specified"))
            }
            Some(overlay) => overlay.set_backing(reference.as_ref()),
            None => Err(Error::unsupported("Operation not supported")),
        }
        .context(|| self.could_not_change())
    }

    fn could_not_change(&self) -> String {
        let name = self.onto.as_ref().map(|name| shown(name)).unwrap_or_default();
        format!("Could not change the backing file to '{name}'")
    }

    fn write_differences(
        &self,
        image: &Image,
        replacement: Replacement<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let copy = Copy {
            sources: std::slice::from_ref(image),
            skip: 0,
            len: image.virtual_size(),
            target: image,
            beneath: Beneath::Replaced(replacement),
            method: match self.transfer {
                Transfer::Plain => Method::Plain,
                Transfer::Compressed => Method::Compressed,
            },
            min_sparse: 1,
            unreadable: Unreadable::Fails,
            workers: workers(self.parallel),
            rate: None,
        };
        copy.run(progress)
    }
}

/// The new backing image, opened.
enum New<'a> {
    /// It stands behind the image already.
    InChain(&'a Image),
    /// It does not.
    Other(Box<Image>),
}

impl New<'_> {
    fn image(&self) -> &Image {
        match self {
            Self::InChain(image) => image,
            Self::Other(image) => image,
        }
    }
}
