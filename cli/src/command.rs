//! What a command is: a name, a table of options, and a function.
//!
//! The parser and the help text read the same tables, so neither can know an option that the other
//! does not.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use formats::inspect::StrictGate;
use formats::{Gate, OpenContext, PermissiveGate};
use journal::Transaction;
use store::catalog::Unrecorded;

use crate::getopt::{Occurrence, Parsed};
use crate::object::Objects;
use crate::output::Output;
use crate::program::Program;
use crate::report::{Failure, Outcome};

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// What it is for, as one line.
    pub(crate) summary: &'static str,
    /// The syntax of the operands.
    pub(crate) syntax: &'static str,
    /// Every option it knows, in the order in which ambiguous ones are listed.
    pub(crate) options: &'static [Opt],
    /// What the operands mean.
    pub(crate) operands: &'static [(&'static str, &'static str)],
    /// Does it.
    pub(crate) run: fn(&Env<'_>, &Args) -> Outcome,
}

impl Command {
    /// Whether an operand may be a negative number.
    pub(crate) fn has_signed_operand(&self) -> bool {
        self.operands.iter().any(|(name, _)| name.starts_with("[+|-]"))
    }
}

/// An option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Which one it is to the command.
    pub(crate) id: Id,
    /// `-x`.
    pub(crate) short: Option<char>,
    /// `--name`, and its synonyms.
    pub(crate) long: &'static [&'static str],
    /// Whether a value follows.
    pub(crate) value: Value,
    /// What it does, for the help.
    pub(crate) help: &'static str,
    /// The long names that qemu-img 10.0.2 does not know: they are never found by a prefix, so
    /// that no prefix which works there becomes ambiguous here.
    extra: &'static [&'static str],
    /// Whether the option as a whole is tximg's own, and does not exist under qemu-img's name.
    own: bool,
}

/// Whose command line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// qemu-img's, to the letter.
    Stock,
    /// tximg's, which has more commands and options.
    Own,
}

/// Whether a value follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// No.
    None,
    /// Yes; this is how the help calls it.
    Required(&'static str),
}

/// Options of every command.
pub(crate) const COMMON: &[Opt] = &[
    Opt::new(
        Id::LockTimeout,
        None,
        &["lock-timeout"],
        Value::Required("SECONDS"),
        "wait so long for images that others have locked, instead of giving up at once",
    )
    .extra(&["lock-timeout"])
    .own(),
    Opt::new(
        Id::Untrusted,
        None,
        &["untrusted"],
        Value::None,
        "believe no image: each is what -f says or is refused, and nothing that it names is opened",
    )
    .extra(&["untrusted"])
    .own(),
];

impl Command {
    /// Every option it knows, and those that every command knows.
    pub(crate) fn all_options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.options.iter().chain(COMMON)
    }
}

impl Opt {
    /// An option of qemu-img.
    pub(crate) const fn new(
        id: Id,
        short: Option<char>,
        long: &'static [&'static str],
        value: Value,
        help: &'static str,
    ) -> Self {
        Self { id, short, long, value, help, extra: &[], own: false }
    }

    /// The same option, some of whose long names are tximg's own.
    pub(crate) const fn extra(self, extra: &'static [&'static str]) -> Self {
        Self { extra, ..self }
    }

    /// The same option as one that does not exist under qemu-img's name.
    pub(crate) const fn own(self) -> Self {
        Self { own: true, ..self }
    }

    /// Whether it exists in that dialect.
    pub(crate) fn is_in(&self, dialect: Dialect) -> bool {
        !self.own || dialect == Dialect::Own
    }

    /// Whether that long name is tximg's own.
    pub(crate) fn is_extra(&self, long: &str) -> bool {
        self.extra.contains(&long)
    }
}

/// The options of all commands, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Add,
    Aio,
    Allow,
    Apply,
    Backing,
    BackingCache,
    BackingChain,
    BackingFormat,
    BackingUnsafe,
    Base,
    Bitmaps,
    BufferSize,
    Cache,
    Clear,
    Compress,
    CopyRange,
    Count,
    Create,
    Delete,
    Depth,
    Digest,
    Disable,
    Discard,
    Drop,
    DryRun,
    Enable,
    Explain,
    FlushInterval,
    Force,
    ForceShare,
    Format,
    Granularity,
    Help,
    ImageOpts,
    List,
    LockTimeout,
    MaxLength,
    MaxSize,
    Merge,
    Native,
    NoCreate,
    NoDrain,
    Object,
    Offset,
    OobWrites,
    Options,
    Output,
    Parallel,
    Pattern,
    Preallocation,
    Progress,
    Quiet,
    Rate,
    Remove,
    Repair,
    Salvage,
    Scan,
    SecondFormat,
    Shrink,
    Size,
    SkipBrokenBitmaps,
    Snapshot,
    SourceCache,
    SparseSize,
    StartOffset,
    StepSize,
    Strict,
    TargetFormat,
    TargetImageOpts,
    TargetIsZero,
    Trace,
    Untrusted,
    Version,
    Write,
}

/// The arguments of one command, sorted.
#[derive(Debug)]
pub(crate) struct Args {
    parsed: Parsed,
}

/// An option as it was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Which option.
    pub(crate) id: Id,
    value: Option<&'a OsStr>,
}

impl<'a> Given<'a> {
    /// The value; empty for an option without one.
    pub(crate) fn value(&self) -> &'a OsStr {
        self.value.unwrap_or_default()
    }

    /// The value as a time in seconds, perhaps with a fraction.
    fn seconds(&self) -> Result<Duration, Failure> {
        let text = self.text();
        let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.ok_or_else(|| {
            Failure::usage(format!("--lock-timeout expects a number of seconds, not '{text}'"))
        })
    }

    /// The value as text, as sentences show what is none.
    pub(crate) fn text(&self) -> std::borrow::Cow<'a, str> {
        formats::shown::shown(self.value()).into()
    }
}

impl Args {
    pub(crate) fn new(parsed: Parsed) -> Self {
        Self { parsed }
    }

    /// The options in the order given. An error stands where the command line goes wrong, after
    /// the options before it: what an earlier option's value has wrong is reported first.
    ///
    /// What every command knows is not among them: whoever runs the command has asked for it.
    pub(crate) fn options(&self) -> impl Iterator<Item = Result<Given<'_>, Failure>> {
        self.parsed.options.iter().filter_map(|option| match option {
            Ok(Occurrence { opt, .. }) if opt.id == Id::Help => Some(Err(Failure::help())),
            Ok(Occurrence { opt, value }) => {
                let given = Given { id: opt.id, value: value.as_deref() };
                match opt.id {
                    Id::LockTimeout => given.seconds().err().map(Err),
                    Id::Untrusted => None,
                    _ => Some(Ok(given)),
                }
            }
            Err(problem) => Some(Err(Failure::getopt(problem))),
        })
    }

    /// How long to wait for images that others have locked; not at all if that was said in a way that
    /// makes no sense.
    pub(crate) fn lock_timeout(&self) -> Duration {
        let mut given =
            self.parsed.options.iter().flatten().filter(|option| option.opt.id == Id::LockTimeout);
        let last =
            given.next_back().map(|option| Given { id: option.opt.id, value: option.value.as_deref() });
        last.and_then(|given| given.seconds().ok()).unwrap_or_default()
    }

    /// Whether images are believed.
    pub(crate) fn is_untrusted(&self) -> bool {
        self.parsed.options.iter().flatten().any(|option| option.opt.id == Id::Untrusted)
    }

    /// Who decides about what images name.
    pub(crate) fn gate(&self) -> &'static dyn Gate {
        if self.is_untrusted() { &StrictGate } else { &PermissiveGate }
    }

    /// Everything that is not an option.
    pub(crate) fn operands(&self) -> &[OsString] {
        &self.parsed.positionals
    }
}

/// What a command runs in.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    /// The program's names.
    pub(crate) program: &'a Program,
    /// Standard output.
    pub(crate) out: &'a Output,
    /// The files, as the command's transaction shows them.
    pub(crate) fs: &'a Transaction,
    /// What the catalog does not know of them yet.
    pub(crate) unrecorded: &'a RefCell<Unrecorded>,
    /// What `--object` has defined.
    pub(crate) objects: &'a Objects,
    /// Who decides about what images name.
    pub(crate) gate: &'a dyn Gate,
}

/// Whether images that need the one that is changed count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Force {
    /// They stop the command.
    #[default]
    Off,
    /// They do not.
    On,
}

impl<'a> Env<'a> {
    /// What opening images needs: the files, the secrets and the gate.
    pub(crate) fn context(&self) -> OpenContext<'a> {
        OpenContext { fs: self.fs, gate: self.gate, secrets: Some(self.objects.secrets()) }
    }
}

/// `-h`
pub(crate) const HELP: Opt =
    Opt::new(Id::Help, Some('h'), &["help"], Value::None, "print this help and exit");
/// `-q`
pub(crate) const QUIET: Opt = Opt::new(Id::Quiet, Some('q'), &["quiet"], Value::None, "print errors only");
/// `-p`
pub(crate) const PROGRESS: Opt =
    Opt::new(Id::Progress, Some('p'), &["progress"], Value::None, "print how far the work is");
/// `--object`
pub(crate) const OBJECT: Opt = Opt::new(
    Id::Object,
    None,
    &["object"],
    Value::Required("OBJDEF"),
    "define an object that image options refer to, such as a secret",
);
/// `-f`
pub(crate) const FORMAT: Opt = Opt::new(
    Id::Format,
    Some('f'),
    &["format"],
    Value::Required("FMT"),
    "format of the image; found by looking at it if not given",
);
/// `--image-opts`
pub(crate) const IMAGE_OPTS: Opt = Opt::new(
    Id::ImageOpts,
    None,
    &["image-opts"],
    Value::None,
    "take FILENAME as block options (driver=...,file.filename=...), not as a name",
);
/// `-U`
pub(crate) const FORCE_SHARE: Opt = Opt::new(
    Id::ForceShare,
    Some('U'),
    &["force-share"],
    Value::None,
    "read although another process may be writing",
);
/// `--force`, for commands that the guard of dependents may refuse.
pub(crate) const FORCE: Opt = Opt::new(
    Id::Force,
    None,
    &["force"],
    Value::None,
    "do it although other images are known to need this one",
)
.own();
/// `--output`
pub(crate) const OUTPUT: Opt =
    Opt::new(Id::Output, None, &["output"], Value::Required("human|json"), "form of the output");
/// `FILENAME`
pub(crate) const FILENAME: (&str, &str) =
    ("FILENAME", "the image: a name, or block options with --image-opts");
