//! Another backing image.

use super::Session;
use crate::qcow2::feature::Autoclear;
use crate::qcow2::header::MAX_BACKING_NAME;
use crate::{BackingReference, Error, ErrorKind, Result};

impl Session {
    /// See [`crate::Overlay::set_backing`].
    pub fn set_backing(&mut self, reference: Option<&BackingReference>) -> Result<()> {
        let is_raw_elsewhere = self.header.autoclear.contains(Autoclear::RAW_DATA);
        let too_long = reference.is_some_and(|reference| reference.name.len() as u64 > MAX_BACKING_NAME);
        if too_long || (reference.is_some() && is_raw_elsewhere) {
            return Err(Error::invalid("Invalid argument"));
        }
        let mut header = self.header.clone();
        header.backing_name = reference.map(|reference| reference.name.clone());
        let format = reference.and_then(|reference| reference.format.as_ref());
        header.extensions.backing_format = format.map(|format| format.as_bytes().to_vec());
        if let Err(error) = header.serialize() {
            return Err(match error.kind() {
                ErrorKind::TooLarge => Error::new(ErrorKind::TooLarge, "No space left in the file header"),
                _ => error,
            });
        }
        self.header = header;
        Ok(())
    }
}
