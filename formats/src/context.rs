//! What opening an image may do, and who decides.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::sync::Arc;

use crypto::{Secret, Secrets};
use journal::{Access, Caching, Disk, Following, Fs};

use crate::{Error, ErrorKind, Format, Result};

/// Everything outside the image that opening needs.
#[derive(Debug, Clone, Copy)]
pub struct OpenContext<'a> {
    /// The files.
    pub fs: &'a dyn Fs,
    /// Who decides about files that an image names.
    pub gate: &'a dyn Gate,
    /// What options refer to by id, if anything was defined.
    pub secrets: Option<&'a Secrets>,
}

impl OpenContext<'_> {
    /// The passphrase that an option refers to.
    pub(crate) fn passphrase(&self, id: &[u8]) -> Result<Arc<Secret>> {
        match self.secrets {
            Some(secrets) => Ok(secrets.passphrase(id)?),
            None => {
                let text = format!("No secret with id '{}'", crate::shown::shown_bytes(id));
                Err(Error::new(ErrorKind::NotFound, text))
            }
        }
    }
}

/// How to open an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags {
    /// Reading only, or writing too.
    pub access: Access,
    /// `-U`: take no locks that deny others, and read although others write.
    pub force_share: bool,
    /// Nobody may write the image meanwhile, even where its format would not mind (raw).
    pub deny_writers: bool,
    /// Whether the backing chain is opened.
    pub backing: bool,
    /// Whether the image's data is needed, or its metadata only (`info`).
    pub data: bool,
    /// Whether the image is opened to be checked: damage that a check reports does not stop it.
    pub check: bool,
    /// How far behind the image the one stands that is opened for writing with it: 1 is its backing
    /// image. The others behind it are only read.
    pub writable_backing: Option<usize>,
    /// The cache mode.
    pub cache: CacheMode,
}

impl OpenFlags {
    /// Reading, with the chain.
    pub const READ: Self = Self {
        access: Access::Read,
        force_share: false,
        deny_writers: false,
        backing: true,
        data: true,
        check: false,
        writable_backing: None,
        cache: CacheMode::WRITEBACK,
    };
}

/// A cache mode (`-t`, `-T`) as its three switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheMode {
    /// Past the page cache or through it.
    pub caching: Caching,
    /// Whether each write is durable when it returns.
    pub writethrough: bool,
    /// Whether flushes are ignored.
    pub no_flush: bool,
}

impl CacheMode {
    /// Through the cache, flushed when asked.
    pub const WRITEBACK: Self = Self { caching: Caching::Cached, writethrough: false, no_flush: false };

    /// The mode of that name: `none`, `writeback`, `writethrough`, `directsync`, `unsafe`.
    pub fn from_name(name: &str) -> Option<Self> {
        let mode = |caching, writethrough, no_flush| Some(Self { caching, writethrough, no_flush });
        match name {
            "none" | "off" => mode(Caching::Direct, false, false),
            "writeback" => mode(Caching::Cached, false, false),
            "writethrough" => mode(Caching::Cached, true, false),
            "directsync" => mode(Caching::Direct, true, false),
            "unsafe" => mode(Caching::Cached, false, true),
            _ => None,
        }
    }
}

/// A file about to be opened because an image names it.
#[derive(Debug, Clone, Copy)]
pub struct ImplicitFile<'a> {
    /// The image that names it, as a person knows it.
    pub named_by: &'a str,
    /// Its role: `backing`, `data-file`, `extent`.
    pub role: &'static str,
    /// The name as it stands in the image.
    pub name: &'a str,
}

/// Decides what is opened. What is refused is refused with the reason.
pub trait Gate: Debug + Send + Sync {
    /// Whether a file may be opened because an image names it.
    fn check(&self, file: ImplicitFile<'_>) -> Result<()>;

    /// Whether what a person has given as the name of an image may be one.
    fn admit_name(&self, filename: &OsStr) -> Result<()> {
        let _ = filename;
        Ok(())
    }

    /// Whether an opened file may be an image of that format; `None` if nobody has said which it is.
    fn admit(&self, disk: &dyn Disk, said: Option<Format>) -> Result<()> {
        let _ = (disk, said);
        Ok(())
    }

    /// What the names of files may lead to.
    fn following(&self) -> Following {
        Following::Links
    }
}

/// Allows everything: images that their user trusts.
#[derive(Debug, Clone, Copy, Default)]
pub struct PermissiveGate;

impl Gate for PermissiveGate {
    fn check(&self, _file: ImplicitFile<'_>) -> Result<()> {
        Ok(())
    }
}
