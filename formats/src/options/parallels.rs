//! What Parallels can be told.

use super::dict::Dict;
use super::take;
use crate::Result;

/// What Parallels can be told: how its file grows.
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelsOptions {
    /// What becomes of the rest of a cluster that is written in part.
    pub unwritten: Unwritten,
    /// How much further than it must the file grows while it is written, in bytes.
    pub ahead: u64,
}

/// What becomes of the rest of a cluster that is written in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// It has its space.
    Reserved,
    /// It is a hole.
    Hole,
}

impl Default for ParallelsOptions {
    fn default() -> Self {
        Self { unwritten: Unwritten::Reserved, ahead: 128 << 20 }
    }
}

impl ParallelsOptions {
    pub(super) fn take(options: &mut Dict) -> Result<Self> {
        let default = Self::default();
        let ahead = take::size(options, "prealloc-size")?.unwrap_or(default.ahead);
        let modes = [("falloc", Unwritten::Reserved), ("truncate", Unwritten::Hole)];
        let unwritten = take::choice(options, "prealloc-mode", &modes)?.unwrap_or(default.unwritten);
        Ok(Self { unwritten, ahead })
    }
}
