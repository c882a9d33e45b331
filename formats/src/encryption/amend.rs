//! Changes of key slots.

use std::sync::Arc;

use crypto::luks::{Header, Material, SLOTS, SlotChange};
use crypto::{Secret, SectorCipher};
use journal::Disk;

use super::options::{DEFAULT_ITER_TIME, Prefixed};
use crate::amend::{AmendRequest, Force};
use crate::error::ResultExt;
use crate::{Error, Result};

/// What a header, and key material behind it, lie in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The file.
    pub(crate) disk: &'a dyn Disk,
    /// Where the header begins in it.
    pub(crate) start: u64,
    /// Bytes of it that are the header's and its key slots', if that is known.
    pub(crate) len: Option<u64>,
}

/// A change of key slots that was found to make sense.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    state: State,
    /// The slot, if one is named.
    slot: Option<usize>,
    force: Force,
}

#[derive(Debug, Clone)]
enum State {
    Active { new: Arc<Secret>, iter_time: u64 },
    Inactive { old: Option<Arc<Secret>> },
}

/// Options that make a request.
const OPTIONS: [&str; 5] = ["state", "new-secret", "old-secret", "keyslot", "iter-time"];

impl SlotRequest {
    /// Whether the options ask for a change of key slots.
    pub(crate) fn is_in(options: Prefixed<'_>) -> bool {
        OPTIONS.iter().any(|name| options.is_given(name))
    }

    /// Reads the options.
    pub(crate) fn new(options: Prefixed<'_>, request: &AmendRequest<'_>) -> Result<Self> {
        let refuse = |text: String| Err(Error::invalid(text));
        let missing = || Error::invalid("Parameter 'state' is missing");
        let active = options.state()?.ok_or_else(missing)?;
        let secret =
            |name: &str| options.text(name).map(|id| request.context.passphrase(id.as_bytes())).transpose();
        let slot = || match options.number("keyslot") {
            None => Ok(None),
            Some(slot) => match usize::try_from(slot).ok().filter(|&slot| slot < SLOTS) {
                Some(slot) => Ok(Some(slot)),
                None => {
                    let last = SLOTS - 1;
                    // QEMU keeps it in 32 bits.
                    let slot = slot as u32;
                    let text = format!("Invalid keyslot {slot} specified, must be between 0 and {last}");
                    Err(Error::invalid(text))
                }
            },
        };
        if active {
            if !options.is_given("new-secret") {
                return refuse("'new-secret' is required to activate a keyslot".to_owned());
            }
            if options.is_given("old-secret") {
                return refuse("'old-secret' must not be given when activating keyslots".to_owned());
            }
            let slot = slot()?;
            let Some(new) = secret("new-secret")? else { return Err(missing()) };
            let iter_time = options.number("iter-time").unwrap_or(DEFAULT_ITER_TIME);
            return Ok(Self { state: State::Active { new, iter_time }, slot, force: request.force });
        }
        for name in ["new-secret", "iter-time"] {
            if options.is_given(name) {
                return refuse(format!("'{name}' must not be given when erasing keyslots"));
            }
        }
        let old = secret("old-secret")?;
        Ok(Self { state: State::Inactive { old }, slot: slot()?, force: request.force })
    }

    /// Changes the header, and writes it and the key material. The passphrase is one that opens it.
    pub(crate) fn apply(&self, header: &mut Header, place: Place<'_>, passphrase: &Secret) -> Result<()> {
        let mut changed = header.clone();
        let materials = match &self.state {
            State::Active { new, iter_time } => {
                let slot = self.slot_to_fill(header)?;
                let key = header
                    .unlock(passphrase.bytes(), |offset, buf| place.read(offset, buf))
                    .context(|| "Failed to retrieve the master key".to_owned())?;
                vec![changed.change_slot(slot, SlotChange::Set(&key, new.bytes(), *iter_time))?]
            }
            State::Inactive { old } => {
                let slots = self.slots_to_erase(header, place, old.as_deref())?;
                let erased = slots.into_iter().map(|slot| changed.change_slot(slot, SlotChange::Erase));
                erased.collect::<crypto::Result<_>>()?
            }
        };
        for Material { offset, bytes } in materials {
            place.disk.write_at(place.at(offset, bytes.len())?, &bytes)?;
        }
        let bytes = changed.serialize();
        place.disk.write_at(place.at(0, bytes.len())?, &bytes)?;
        *header = changed;
        Ok(())
    }

    fn slot_to_fill(&self, header: &Header) -> Result<usize> {
        let is_free = |slot: usize| header.slots.get(slot).is_some_and(|slot| slot.iterations.is_none());
        match self.slot {
            Some(slot) if self.force == Force::Off && !is_free(slot) => Err(Error::invalid(format!(
                "Refusing to overwrite active keyslot {slot} - please erase it first"
            ))),
            Some(slot) => Ok(slot),
            None => (0..SLOTS)
                .find(|&slot| is_free(slot))
                .ok_or_else(|| Error::invalid("Can't add a keyslot - all keyslots are in use")),
        }
    }

    fn slots_to_erase(&self, header: &Header, place: Place<'_>, old: Option<&Secret>) -> Result<Vec<usize>> {
        let refuse = |text: String| Err(Error::invalid(text));
        let active: Vec<usize> = (0..SLOTS).filter(|&slot| header.slots[slot].iterations.is_some()).collect();
        let is_careful = self.force == Force::Off;
        match (self.slot, old) {
            (Some(slot), old) => {
                if let Some(old) = old
                    && !place.opens(header, slot, old)?
                {
                    return refuse(format!(
                        "Given keyslot {slot} doesn't contain the given old password for erase operation"
                    ));
                }
                if is_careful && !active.contains(&slot) {
                    return refuse(format!("Given keyslot {slot} is already erased (inactive) "));
                }
                if is_careful && active.len() == 1 {
                    return refuse(format!(
                        "Attempt to erase the only active keyslot {slot} which will erase all the data in the image irreversibly - refusing operation"
                    ));
                }
                Ok(vec![slot])
            }
            (None, Some(old)) => {
                let mut matching = Vec::new();
                for &slot in &active {
                    if place.opens(header, slot, old)? {
                        matching.push(slot);
                    }
                }
                if matching.is_empty() {
                    return refuse("No keyslots match given (old) password for erase operation".to_owned());
                }
                if is_careful && matching.len() == active.len() {
                    return refuse(
                        "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation".to_owned(),
                    );
                }
                Ok(matching)
            }
            (None, None) => refuse(
                "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given".to_owned(),
            ),
        }
    }
}

impl Place<'_> {
    /// Where bytes are in the file whose offset counts from the header's beginning.
    fn at(&self, offset: u64, len: usize) -> Result<u64> {
        let end = offset.saturating_add(len as u64);
        if self.len.is_some_and(|len| end > len) {
            return Err(Error::corrupt("Request for data outside of extension header"));
        }
        Ok(self.start.saturating_add(offset))
    }

    /// Reads bytes by their offset from the header's beginning.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        Ok(self.disk.read_padded(self.at(offset, buf.len())?, buf)?)
    }

    /// The cipher of what the header protects.
    pub(crate) fn unlock(&self, header: &Header, passphrase: &Secret) -> Result<SectorCipher> {
        let key = header.unlock(passphrase.bytes(), |offset, buf| self.read(offset, buf))?;
        Ok(header.payload_cipher(&key)?)
    }

    /// Whether the passphrase opens that slot.
    fn opens(&self, header: &Header, slot: usize, passphrase: &Secret) -> Result<bool> {
        let Some(slot) = header.slots.get(slot) else { return Ok(false) };
        let mut material = header.new_material();
        self.read(slot.key_offset, &mut material)?;
        Ok(header.open_slot(slot, passphrase.bytes(), material)?.is_some())
    }
}
