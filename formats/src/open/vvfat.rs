//! Opening directories as disks.

use journal::{Access, Following};

use super::image::Opener;
use crate::image::{NodeName, Parts};
use crate::options::VvfatNode;
use crate::registry::require_reading;
use crate::shown::shown;
use crate::vvfat::Vvfat;
use crate::{Error, ErrorKind, Image, Result};

const DRIVER: &str = "vvfat";

impl Opener<'_> {
    /// A directory as a disk.
    pub(super) fn open_vvfat(&self, node: &VvfatNode) -> Result<Image> {
        let opener = self.with_switches(&node.generic)?;
        if self.context.gate.following() == Following::Nothing {
            let text = format!("'{}' is a directory, which is not opened", shown(&node.directory));
            return Err(Error::new(ErrorKind::Refused, text));
        }
        Vvfat::check(node)?;
        match (node.writable, opener.flags.access) {
            (true, Access::Read) => {
                return Err(Error::invalid("Unable to set VVFAT to 'rw' when drive is read-only"));
            }
            (true, Access::Write) => {
                return Err(Error::unsupported("Writing through the driver 'vvfat' is not supported yet"));
            }
            (false, _) => require_reading(&opener.flags)?,
        }
        let driver = Box::new(Vvfat::open(node)?);
        if let Some(key) = node.unknown.first_key() {
            let text = format!("Block protocol '{DRIVER}' doesn't support the option '{key}'");
            return Err(Error::invalid(text));
        }
        let own = node.spelled.iter().map(|(key, value)| (*key, value.into())).collect();
        Ok(Image::from_parts(Parts {
            name: NodeName::without_file(DRIVER, own),
            driver_name: DRIVER,
            driver,
            children: Vec::new(),
            backing_name: None,
            backing: None,
            probed: false,
        }))
    }
}
