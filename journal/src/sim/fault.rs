//! Calls that fail on demand.

use std::io;
use std::path::Path;

use crate::{Error, Result};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With an input/output error, nothing done.
    Io,
    /// With a full disk, nothing done.
    NoSpace,
    /// With a quota that is used up, nothing done.
    Quota,
    /// Interrupted by a signal, nothing done.
    Interrupted,
    /// With an input/output error; a sync also loses what it was to make durable, as on btrfs.
    /// After the other faults of a sync the cache still shows it.
    Reverting,
    /// With a full disk, after the first half of a write's sectors were done. Calls that write
    /// nothing fail as with [`Fault::NoSpace`].
    Half,
    /// With a full disk, after the first so many bytes of a write were done. Calls that write
    /// nothing fail as with [`Fault::NoSpace`].
    Short(usize),
}

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// For one call.
    Once,
    /// For that call and all later ones.
    ForEver,
}

impl Fault {
    pub(super) fn error(self, call: Call<'_>) -> Error {
        let code = match self {
            Self::Io | Self::Reverting => libc::EIO,
            Self::Quota => libc::EDQUOT,
            Self::Interrupted => libc::EINTR,
            Self::NoSpace | Self::Half | Self::Short(_) => libc::ENOSPC,
        };
        Error::os(call.op, call.path, call.offset, io::Error::from_raw_os_error(code))
    }
}

/// A call that can fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) op: &'static str,
    pub(super) path: &'a Path,
    pub(super) offset: Option<u64>,
}

impl<'a> Call<'a> {
    pub(super) fn new(op: &'static str, path: &'a Path) -> Self {
        Self { op, path, offset: None }
    }

    pub(super) fn at(op: &'static str, path: &'a Path, offset: u64) -> Self {
        Self { op, path, offset: Some(offset) }
    }
}

/// Counts calls, and knows which are to fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    calls: u64,
    plans: Vec<(u64, Fault, Lasting)>,
}

impl Faults {
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn plan(&mut self, call: u64, fault: Fault, lasting: Lasting) {
        self.plans.push((call, fault, lasting));
    }

    /// Counts a call; fails if a fault is planned for it.
    pub(super) fn check(&mut self, call: Call<'_>) -> Result<()> {
        self.next().map_or(Ok(()), |fault| Err(fault.error(call)))
    }

    /// Counts a call; the fault that is planned for it.
    pub(super) fn next(&mut self) -> Option<Fault> {
        let number = self.calls;
        self.calls += 1;
        self.plans.iter().find_map(|&(call, fault, lasting)| {
            let hit = match lasting {
                Lasting::Once => number == call,
                Lasting::ForEver => number >= call,
            };
            hit.then_some(fault)
        })
    }
}
