//! Where in a scenario something was interrupted, as failures name it.

use std::fmt;

use journal::sim::{CrashId, Fault, Lasting};

use crate::meddle::Meddling;

/// Where a program was interrupted: `fault/crash/crash in the recovery`, or `crash/meddling.image`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub fault: Option<Injected>,
    pub crashes: Vec<CrashId>,
    /// What was done then, to which of the images.
    pub meddled: Option<(Meddling, usize)>,
}

/// A fault, and the number of the call that it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injected {
    pub call: u64,
    pub kind: usize,
    pub lasting: Lasting,
}

/// The faults, with their names in ids.
pub const FAULTS: [(&str, Fault); 7] = [
    ("eio", Fault::Io),
    ("enospc", Fault::NoSpace),
    ("edquot", Fault::Quota),
    ("eintr", Fault::Interrupted),
    ("half", Fault::Half),
    ("short", Fault::Short(700)),
    ("revert", Fault::Reverting),
];

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.map(|fault| fault.to_string());
        let crashes = self.crashes.iter().map(ToString::to_string);
        let meddled = self.meddled.map(|(kind, image)| format!("{}.{image}", kind.name()));
        f.write_str(&fault.into_iter().chain(crashes).chain(meddled).collect::<Vec<_>>().join("/"))
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = if self.lasting == Lasting::Once { "once" } else { "ever" };
        write!(f, "{}.{}.{lasting}", self.call, FAULTS[self.kind].0)
    }
}

impl std::str::FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut place = Self::default();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            match part.split('.').collect::<Vec<_>>()[..] {
                [call, name, lasting] => {
                    let kind = FAULTS.iter().position(|fault| fault.0 == name).ok_or("no such fault")?;
                    let call = call.parse().map_err(|_| "no such call".to_owned())?;
                    let lasting = if lasting == "once" { Lasting::Once } else { Lasting::ForEver };
                    place.fault = Some(Injected { call, kind, lasting });
                }
                [name, image] => {
                    let kind = Meddling::ALL.iter().find(|kind| kind.0 == name).ok_or("no such meddling")?;
                    place.meddled = Some((kind.1, image.parse().map_err(|_| "no such image".to_owned())?));
                }
                _ => place.crashes.push(part.parse()?),
            }
        }
        Ok(place)
    }
}

impl Place {
    /// The place that a crash there leads to.
    pub fn then(&self, crash: &CrashId) -> Self {
        let mut place = self.clone();
        place.crashes.push(crash.clone());
        place
    }
}
