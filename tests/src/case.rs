//! A case: one command line in one scene, for both programs.

use std::ffi::OsString;

use crate::run::Outcome;
use crate::shapes::Shape;
use crate::words;

/// A command line as a part of a case's name: it stays when other lines come and go.
pub fn label(line: &str) -> String {
    let mut label = line.replace(' ', "_").replace('\'', "\"");
    if label.len() > 120 {
        // Long lines differ somewhere in the middle.
        let sum = line.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        label = format!("{}…{sum:08x}", label.chars().take(80).collect::<String>());
    }
    label
}

/// What generators must know of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// The virtual disk is too large to be written out as a raw file.
    pub huge: bool,
    /// It has a backing image.
    pub backed: bool,
    /// It has internal snapshots, the first of them with the name or id that `-l` can find.
    pub snapshots: bool,
    /// It has persistent bitmaps.
    pub bitmaps: bool,
    /// It has an external data file.
    pub data_file: bool,
}

impl Traits {
    /// Nothing special.
    pub const PLAIN: Self =
        Self { huge: false, backed: false, snapshots: false, bitmaps: false, data_file: false };
    /// Too large to be written out.
    pub const HUGE: Self = Self { huge: true, ..Self::PLAIN };
    /// With a backing image.
    pub const BACKED: Self = Self { backed: true, ..Self::PLAIN };
    /// With internal snapshots.
    pub const SNAPSHOTS: Self = Self { snapshots: true, ..Self::PLAIN };
    /// With persistent bitmaps.
    pub const BITMAPS: Self = Self { bitmaps: true, ..Self::PLAIN };
    /// With an external data file.
    pub const DATA_FILE: Self = Self { data_file: true, ..Self::PLAIN };
}

/// Where a case happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In the shape's own directory, shared with all cases: the command only reads.
    Shared,
    /// In a directory per program that sees the shape's files through links: it makes new files.
    Linked,
    /// In a directory per program with files of its own: it changes what is there.
    Own,
}

/// One command line in one scene.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique name, `family/shape/variant`.
    pub name: String,
    /// The files it starts from; none in an empty directory.
    pub shape: Option<&'static Shape>,
    /// Where it happens.
    pub stage: Stage,
    /// Further steps before the command, see [`crate::script`].
    pub setup: String,
    /// The arguments.
    pub args: Vec<OsString>,
    /// Standard input.
    pub stdin: Vec<u8>,
}

impl Case {
    /// A case that only reads a shape. In `line`, `{img}` and `{fmt}` are the shape's.
    pub fn reads(name: impl Into<String>, shape: &'static Shape, line: &str) -> Self {
        Self::new(name, Some(shape), Stage::Shared, line)
    }

    /// A case that makes new files from a shape.
    pub fn makes(name: impl Into<String>, shape: &'static Shape, line: &str) -> Self {
        Self::new(name, Some(shape), Stage::Linked, line)
    }

    /// A case that starts from what `setup` makes.
    pub fn after(name: impl Into<String>, setup: impl Into<String>, line: &str) -> Self {
        Self { setup: setup.into(), ..Self::new(name, None, Stage::Own, line) }
    }

    /// A case in an empty directory.
    pub fn alone(name: impl Into<String>, line: &str) -> Self {
        Self::new(name, None, Stage::Own, line)
    }

    /// Adds steps before the command.
    #[must_use]
    pub fn setup(mut self, script: impl Into<String>) -> Self {
        self.setup = script.into();
        self
    }

    /// Gives it standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Whether a command that ended so has done what it does: a repair may leave damage behind.
    pub fn took_effect(&self, outcome: &Outcome) -> bool {
        const DAMAGE_LEFT: i32 = 2;
        const LEAKS_LEFT: i32 = 3;
        let is_check = self.args.first().is_some_and(|arg| arg == "check");
        outcome.success() || is_check && matches!(outcome.code(), Some(DAMAGE_LEFT | LEAKS_LEFT))
    }

    /// Whether the command changes an existing file where it stands, so that a failure shows.
    pub fn writes_in_place(&self) -> bool {
        self.args.iter().any(|arg| arg == "-n" || arg == "-w")
    }

    fn new(name: impl Into<String>, shape: Option<&'static Shape>, stage: Stage, line: &str) -> Self {
        let line = match shape {
            Some(shape) => line.replace("{img}", shape.image).replace("{fmt}", shape.format),
            None => line.to_owned(),
        };
        let args = words::split(&line);
        Self { name: name.into(), shape, stage, setup: String::new(), args, stdin: Vec::new() }
    }
}
