//! Changing a volume.

use journal::Zeroing;

use super::{AnyHeader, Luks};
use crate::amend::AmendRequest;
use crate::encryption::amend::SlotRequest;
use crate::encryption::options::Prefixed;
use crate::raw::SECTOR;
use crate::resize::Remainder;
use crate::{Allocation, Amend, Amendment, Durability, Error, GuestOffset, NewSize, Resize, Result, Writer};

/// Zeroes that are encrypted at a time.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Sectors are written in place, and zeroes are sectors as any others.
impl Writer for Luks {
    fn granularity(&self) -> u64 {
        match &self.header {
            AnyHeader::One(_) => SECTOR,
            AnyHeader::Two(header) => header.sector_size(),
        }
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        Ok(self.encryption()?.encrypting(self.raw.prepare(at, len)?))
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.raw.link(allocation)
    }

    fn zero(&self, at: GuestOffset, len: u64, _how: Zeroing) -> Result<()> {
        let run = self.prepare(at, len)?;
        let mut done = 0;
        while done < run.len {
            let step = (run.len - done).min(ZEROES.len() as u64);
            run.disk.write_bulk_at(run.offset.0 + done, &ZEROES[..step as usize])?;
            done += step;
        }
        Ok(())
    }

    /// Nothing is given back: which sectors are in use would be seen from outside.
    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Keep)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn zeroes_are_data(&self) -> bool {
        true
    }

    /// Of version 2 the header may tell the size.
    fn resizer(&self) -> Option<&dyn Resize> {
        matches!(self.header, AnyHeader::One(_)).then_some(self as _)
    }

    fn amender(&self) -> Option<&dyn Amend> {
        Some(self)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        if let AnyHeader::One(header) = &self.header {
            header.commit(durability)?;
        }
        self.raw.commit(durability)
    }
}

impl Resize for Luks {
    fn resize(&self, request: &NewSize) -> Result<Remainder> {
        self.raw.resize(request)
    }
}

impl Amend for Luks {
    fn plan(&self, request: &AmendRequest<'_>) -> Result<Amendment> {
        if matches!(self.header, AnyHeader::Two(_)) {
            return Err(Error::unsupported(
                "Key slots of LUKS version 2 cannot be changed here; cryptsetup does that",
            ));
        }
        let slots = SlotRequest::new(Prefixed { options: request.options, prefix: "" }, request)?;
        Ok(Amendment { size: None, features: None, slots: Some(slots) })
    }

    fn add(&self, amendment: &Amendment) -> Result<()> {
        let Some(slots) = &amendment.slots else { return Ok(()) };
        let passphrase = self.passphrase.as_ref();
        let passphrase = passphrase.ok_or_else(|| Error::invalid("The image was opened without its key"))?;
        match &self.header {
            AnyHeader::One(header) => header.change(slots, passphrase),
            AnyHeader::Two(_) => Ok(()),
        }
    }

    fn remove(&self, _amendment: &Amendment) -> Result<()> {
        Ok(())
    }
}
