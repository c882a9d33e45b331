//! Opening files and images whose requests can fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Access, Caching, OpenOptions, Permissions};

use super::claim::{Locking, Need};
use super::file::Opened;
use super::image::Opener;
use crate::blkdebug::rules::Rules;
use crate::blkdebug::{DRIVER, DebugDisk, Extra, User};
use crate::error::ResultExt;
use crate::image::{Below, NodeName, Parts};
use crate::options::BlkdebugNode;
use crate::options::blkdebug::rules::Sections;
use crate::options::blkdebug::{config, permissions};
use crate::raw::Raw;
use crate::{Error, ErrorKind, Format, Image, Result};

/// More is not read of a file with rules.
const MAX_CONFIG: u64 = 1 << 20;
/// What requests to formats are aligned to that count in sectors.
const SECTOR: u64 = 512;

/// Such a node, not locked yet where it is over a file.
struct Debugged {
    image: Image,
    disk: DebugDisk,
    locking: Locking,
}

impl Opener<'_> {
    /// The node alone.
    pub(super) fn open_bare_blkdebug(&self, node: BlkdebugNode, need: Need) -> Result<Image> {
        let Debugged { image, disk, locking } = self.open_blkdebug(node, need)?;
        need.claim(&disk, locking)?;
        Ok(image)
    }

    /// The node under an image.
    pub(super) fn open_blkdebug_below(&self, node: BlkdebugNode, need: Need) -> Result<Opened> {
        let Debugged { image, disk, locking } = self.open_blkdebug(node, need)?;
        Ok(Opened {
            below: Below::Image(Arc::new(image)),
            disk: Arc::new(disk.used_by(User::Format)),
            under_raw: Some(Arc::new(disk.used_by(User::Raw))),
            locking,
        })
    }

    fn open_blkdebug(&self, node: BlkdebugNode, need: Need) -> Result<Debugged> {
        let opener = self.with_switches(&node.generic)?;
        let mut sections = Sections::default();
        if let Some(path) = &node.config {
            config::parse(&self.read_config(path)?, &mut sections)?;
        }
        sections.put_options(node.inject, node.set_state)?;
        let rules = sections.into_rules()?;
        let extra = Extra {
            using: permissions(node.take_permissions)?,
            denying: permissions(node.unshare_permissions)?,
        };
        let below = opener.open_below(*node.image, need)?;
        let writes = [Permissions::WRITE, Permissions::WRITE_UNCHANGED];
        if opener.flags.access == Access::Read && writes.into_iter().any(|write| extra.using.contains(write))
        {
            return Err(Error::invalid("Block node is read-only"));
        }
        node.limits.check(alignment(&below.below))?;
        if let Some(key) = node.unknown.first_key() {
            let text = format!("Block protocol '{DRIVER}' doesn't support the option '{key}'");
            return Err(Error::invalid(text));
        }
        let locking = below.locking;
        let mut child = below.into_child("image");
        let name = NodeName::of_blkdebug(node.config.as_deref(), &node.spelled, &child);
        let path = PathBuf::from(name.display());
        let disk = DebugDisk::new(Arc::clone(&child.disk), path, Rules::new(rules), extra);
        child.disk = Arc::new(disk.clone());
        let backing = match &child.below {
            Below::Image(image) => image.backing().cloned(),
            Below::File(_) => None,
        };
        let image = Image::from_parts(Parts {
            name,
            driver_name: DRIVER,
            driver: Box::new(Raw::whole(Arc::clone(&child.disk), opener.flags.access)?),
            children: vec![child],
            backing_name: None,
            backing,
            probed: false,
        });
        Ok(Debugged { image, disk, locking })
    }

    /// The file with the rules.
    fn read_config(&self, path: &OsStr) -> Result<Vec<u8>> {
        let following = self.context.gate.following();
        let options = OpenOptions { access: Access::Read, caching: Caching::Cached, following };
        let file = self.context.fs.open(Path::new(path), options);
        let file = file.context(|| "Could not read blkdebug config file".to_owned())?;
        let cannot_read = || "Cannot read config file".to_owned();
        let len = file.len().context(cannot_read)?;
        if len > MAX_CONFIG {
            return Err(Error::new(ErrorKind::TooLarge, "File too large").context(cannot_read()));
        }
        // What is no file has no length, and says so when it is read.
        let mut text = vec![0; len.max(1) as usize];
        let got = file.read_at(0, &mut text).context(cannot_read)?;
        text.truncate(got);
        Ok(text)
    }
}

/// What requests to a node are aligned to.
fn alignment(below: &Below) -> u64 {
    match below {
        Below::Image(image) if !matches!(image.format(), Format::Raw | Format::Qcow2) => SECTOR,
        _ => 1,
    }
}
