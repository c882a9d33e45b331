//! Opening the files of a Parallels bundle.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use journal::{Access, Disk};

use super::claim::Need;
use super::image::{Opener, full_name};
use crate::error::ResultExt;
use crate::image::Child;
use crate::options::{Dict, ParallelsOptions, ParsedNode, Scalar, Slot};
use crate::parallels::{Behind, Parallels};
use crate::prl_xml::descriptor::{Descriptor, Layer, LayerKind};
use crate::prl_xml::{Part, PrlXml};
use crate::raw::Raw;
use crate::registry::{Source, require_reading};
use crate::shown::shown;
use crate::{Driver, Error, OpenFlags, Result};

/// More files are not opened for one disk.
const MAX_FILES: usize = 1024;

impl Opener<'_> {
    /// A bundle, and the files that its descriptor names if their data is needed.
    pub(super) fn open_prl_xml(
        &self,
        disk: Arc<dyn Disk>,
        children: &mut Vec<Child>,
        need: Need,
    ) -> Result<PrlXml> {
        require_reading(&self.flags)?;
        let descriptor = Descriptor::read(&*disk)?;
        let mut bundle = PrlXml { size: descriptor.size, parts: Vec::new(), disk };
        if !self.flags.data {
            return Ok(bundle);
        }
        let count: usize = descriptor.storages.iter().map(|storage| storage.layers.len()).sum();
        if count > MAX_FILES {
            return Err(Error::corrupt(format!("The disk has more than {MAX_FILES} files")));
        }
        for storage in descriptor.storages {
            let layers = storage.layers.iter().map(|layer| self.open_layer(layer, children, need));
            bundle.parts.push(Part { range: storage.range, layers: layers.collect::<Result<_>>()? });
        }
        Ok(bundle)
    }

    fn open_layer(&self, layer: &Layer, children: &mut Vec<Child>, need: Need) -> Result<Box<dyn Driver>> {
        self.pass_gate(children, "extent", layer.file.as_bytes())?;
        let filename = path_of(children, &layer.file);
        let mut options = Dict::default();
        options.put("driver", Scalar::text("file"));
        options.put("filename", Scalar::Text(filename.clone()));
        let file = self.open_below(ParsedNode::new(None, options, Slot::File)?.node, need)?;
        need.of_data_file().claim(&*file.disk, file.locking)?;
        let disk = Arc::clone(&file.disk);
        children.push(file.into_child("extent"));
        let (name, flags) = (shown(&filename), OpenFlags { access: Access::Read, ..self.flags });
        Ok(match layer.kind {
            LayerKind::Plain => Box::new(Raw::whole(disk, Access::Read)?),
            LayerKind::Expandable => {
                let source = Source::alone(disk, &flags, &name);
                let opened = Parallels::open(source, &ParallelsOptions::default(), Behind::Nothing);
                Box::new(opened.context(|| format!("Could not open '{name}'"))?)
            }
        })
    }
}

/// Where a file of the bundle is. What looks like a protocol in its name is a part of that.
fn path_of(children: &[Child], name: &str) -> OsString {
    let is_absolute = name.starts_with('/');
    let protected = if is_absolute { name.to_owned() } else { format!("./{name}") };
    full_name(children, OsStr::new(&protected).as_encoded_bytes())
}
