//! `convert`: copy images into a new one, perhaps of another format.

use std::ffi::{OsStr, OsString};

use formats::OpenFlags;
use formats::create::OptionList;
use journal::Access;
use store::catalog::Spared;
use store::ops::convert::{BitmapPolicy, Content, Convert, Target, Transfer, UnreadablePolicy};
use store::{NewTarget, SnapshotSelector};

use crate::command::{
    Args, Command, Env, FORCE, FORCE_SHARE, Force, HELP, IMAGE_OPTS, Id, OBJECT, Opt, QUIET, Value,
};
use crate::guard::Change;
use crate::image::{self, NameForm};
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::{options_help, selector, size};

pub(crate) const COMMAND: Command = Command {
    name: "convert",
    summary: "Copy images into a new one, perhaps of another format",
    syntax: "FILENAME [FILENAME2 ...] OUTPUT_FILENAME",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        Opt::new(Id::ImageOpts, None, &["image-opts", "source-image-opts"], Value::None, IMAGE_OPTS.help),
        Opt::new(
            Id::Format,
            Some('f'),
            &["source-format"],
            Value::Required("FMT"),
            "format of the sources; found by looking at them if not given",
        ),
        Opt::new(
            Id::SourceCache,
            Some('T'),
            &["source-cache"],
            Value::Required("SRC_CACHE"),
            "cache mode of the sources (writeback)",
        ),
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &["snapshot", "source-snapshot"],
            Value::Required("SNAPSHOT"),
            "read this internal snapshot: its name or id, or snapshot.id=ID or snapshot.name=NAME",
        )
        .extra(&["source-snapshot"]),
        Opt::new(
            Id::SparseSize,
            Some('S'),
            &["sparse-size"],
            Value::Required("SPARSE_SIZE"),
            "leave out zeroes where at least so many bytes follow one another (4k); 0 writes every byte",
        ),
        Opt::new(
            Id::TargetFormat,
            Some('O'),
            &["output-format", "target-format"],
            Value::Required("OUTPUT_FMT"),
            "format of the new image (raw)",
        )
        .extra(&["target-format"]),
        Opt::new(
            Id::Options,
            Some('o'),
            &["options", "target-options"],
            Value::Required("OPTIONS"),
            "options of the new image's format; '-o help' lists them",
        )
        .extra(&["target-options"]),
        Opt::new(
            Id::Cache,
            Some('t'),
            &["output-cache", "target-cache"],
            Value::Required("CACHE"),
            "cache mode of the new image (unsafe)",
        )
        .extra(&["target-cache"]),
        Opt::new(
            Id::Backing,
            Some('B'),
            &["backing"],
            Value::Required("BACKING_FILENAME"),
            "let the new image hold only what differs from this one",
        ),
        Opt::new(
            Id::BackingFormat,
            Some('F'),
            &["backing-format"],
            Value::Required("BACKING_FMT"),
            "format of BACKING_FILENAME",
        ),
        FORCE_SHARE,
        Opt::new(
            Id::TargetImageOpts,
            None,
            &["target-image-opts"],
            Value::None,
            "take OUTPUT_FILENAME as block options, not as a name",
        ),
        Opt::new(
            Id::Salvage,
            None,
            &["salvage"],
            Value::None,
            "go on after read errors, with zeroes for what cannot be read",
        ),
        Opt::new(
            Id::TargetIsZero,
            None,
            &["target-is-zero"],
            Value::None,
            "with -n: trust that the target is all zeroes",
        ),
        Opt::new(Id::Bitmaps, None, &["bitmaps"], Value::None, "copy persistent bitmaps too"),
        Opt::new(
            Id::SkipBrokenBitmaps,
            None,
            &["skip-broken-bitmaps"],
            Value::None,
            "with --bitmaps: leave out bitmaps that cannot be trusted",
        ),
        Opt::new(Id::Rate, Some('r'), &["rate"], Value::Required("RATE"), "bytes per second at most"),
        Opt::new(
            Id::Parallel,
            Some('m'),
            &["parallel"],
            Value::Required("NUM"),
            "pieces of work in flight at a time, 1 to 16 (8)",
        ),
        Opt::new(Id::OobWrites, Some('W'), &["oob-writes"], Value::None, "allow writes out of order"),
        Opt::new(
            Id::CopyRange,
            Some('C'),
            &["copy-range-offloading"],
            Value::None,
            "let the kernel copy where it can",
        ),
        Opt::new(Id::Compress, Some('c'), &["compress"], Value::None, "compress the new image")
            .extra(&["compress"]),
        Opt::new(
            Id::NoCreate,
            Some('n'),
            &["no-create"],
            Value::None,
            "write into OUTPUT_FILENAME, which exists, instead of making it",
        )
        .extra(&["no-create"]),
        Opt::new(Id::Progress, Some('p'), &["progress"], Value::None, "print how far the work is")
            .extra(&["progress"]),
        FORCE,
    ],
    operands: &[
        ("FILENAME, FILENAME2, ...", "the images to copy, one after another"),
        ("OUTPUT_FILENAME", "the image to make"),
    ],
    run,
};

/// The command line as it was given.
#[derive(Debug)]
struct Given {
    quiet: bool,
    progress: bool,
    source_form: NameForm,
    source_format: Option<String>,
    source_cache: String,
    force_share: bool,
    snapshot: Option<SnapshotSelector>,
    target_format: Option<String>,
    options: OptionList,
    has_options: bool,
    target_cache: String,
    target_form: NameForm,
    no_create: bool,
    target_is_zero: bool,
    backing: Option<OsString>,
    backing_format: Option<OsString>,
    compress: bool,
    offload: bool,
    sparse_size: Option<u64>,
    bitmaps: bool,
    skip_broken_bitmaps: bool,
    salvage: bool,
    parallel: u64,
    rate: Option<u64>,
    force: Force,
}

/// Pieces of work in flight if `-m` does not say.
const PARALLEL: u64 = 8;
/// The most that `-m` may say.
const MAX_PARALLEL: u64 = 16;
/// The shortest run of zeroes that is left out if `-S` does not say, in bytes.
const SPARSE_SIZE: u64 = 4096;
/// The most that `-S` may say, in bytes.
const MAX_SPARSE_SIZE: u64 = 16 << 20;
const SECTOR: u64 = 512;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = read(env, args)?;
    given.check()?;
    let (target, sources) = match args.operands() {
        [sources @ .., target] if !sources.is_empty() => (Some(target), sources),
        _ => (None, &[][..]),
    };
    if given.options.asks_for_help() {
        return options_help::print(env, given.target_format(), target.map(OsString::as_os_str));
    }
    let Some(target) = target else { return Err(Failure::message("Must specify image file name")) };
    let request = given.request(sources, target)?;
    protect(env, &request.target, given.force)?;
    let wanted = Wanted::from_flags(given.progress, given.quiet);
    let meter = Meter::new(env.out, wanted, 1);
    meter.start();
    request.run(&env.context(), &meter)?;
    Ok(SUCCESS)
}

/// Images may need what the target holds now.
fn protect(env: &Env<'_>, target: &Target, force: Force) -> Result<(), Failure> {
    let (path, change) = match target {
        Target::New(new) => (new.file(), Change::Replace),
        Target::Existing { name, .. } => (name.file(), Change::Write),
    };
    path.map_or(Ok(()), |path| env.protect(&path, change, force, Spared::default()))
}

fn read(env: &Env<'_>, args: &Args) -> Result<Given, Failure> {
    let mut given = Given {
        quiet: false,
        progress: false,
        source_form: NameForm::File,
        source_format: None,
        source_cache: "writeback".to_owned(),
        force_share: false,
        snapshot: None,
        target_format: None,
        options: OptionList::default(),
        has_options: false,
        target_cache: "unsafe".to_owned(),
        target_form: NameForm::File,
        no_create: false,
        target_is_zero: false,
        backing: None,
        backing_format: None,
        compress: false,
        offload: false,
        sparse_size: None,
        bitmaps: false,
        skip_broken_bitmaps: false,
        salvage: false,
        parallel: PARALLEL,
        rate: None,
        force: Force::Off,
    };
    for option in args.options() {
        let option = option?;
        let text = || option.text().into_owned();
        match option.id {
            Id::Quiet => given.quiet = true,
            Id::Progress => given.progress = true,
            Id::Object => env.objects.define(option.value())?,
            Id::ImageOpts => given.source_form = NameForm::Options,
            Id::Format => given.source_format = Some(text()),
            Id::SourceCache => given.source_cache = text(),
            Id::ForceShare => given.force_share = true,
            Id::Snapshot => given.add_snapshot(selector::snapshot(env, &option)?),
            Id::TargetFormat => given.target_format = Some(text()),
            Id::Options => {
                given.options.add(option.value())?;
                given.has_options = true;
            }
            Id::Cache => given.target_cache = text(),
            Id::TargetImageOpts => given.target_form = NameForm::Options,
            Id::NoCreate => given.no_create = true,
            Id::Force => given.force = Force::On,
            Id::TargetIsZero => given.target_is_zero = true,
            Id::Backing => given.backing = Some(option.value().to_owned()),
            Id::BackingFormat => given.backing_format = Some(option.value().to_owned()),
            Id::Compress => given.compress = true,
            Id::CopyRange => given.offload = true,
            Id::SparseSize => given.sparse_size = Some(sparse_size(option.value())?),
            Id::Bitmaps => given.bitmaps = true,
            Id::SkipBrokenBitmaps => given.skip_broken_bitmaps = true,
            Id::Salvage => given.salvage = true,
            Id::Parallel => {
                given.parallel = size::count(option.value(), "number of coroutines", 1..=MAX_PARALLEL)?;
            }
            Id::Rate => given.rate = Some(size::size(option.value(), "rate limit", 0..=size::MAX_SIZE)?),
            // Writes are always made in the order in which they are ready.
            Id::OobWrites => {}
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    Ok(given)
}

fn sparse_size(text: &OsStr) -> Result<u64, Failure> {
    const WHAT: &str = "buffer size for sparse output";
    let bytes = size::size(text, WHAT, 0..=size::MAX_SIZE)?;
    if bytes % SECTOR != 0 || bytes > MAX_SPARSE_SIZE {
        return Err(Failure::message(format!(
            "Invalid {WHAT} specified. Valid sizes are multiples of {SECTOR} up to {MAX_SPARSE_SIZE}. \
             Select 0 to disable sparse detection (fully allocates output)."
        )));
    }
    Ok(bytes)
}

impl Given {
    /// An exact selector counts before any other.
    fn add_snapshot(&mut self, selector: SnapshotSelector) {
        let exact = |selector: &SnapshotSelector| matches!(selector, SnapshotSelector::Exact { .. });
        if exact(&selector) || !self.snapshot.as_ref().is_some_and(exact) {
            self.snapshot = Some(selector);
        }
    }

    fn target_format(&self) -> &str {
        self.target_format.as_deref().unwrap_or("raw")
    }

    /// What does not go together.
    fn check(&self) -> Result<(), Failure> {
        let target_opts = self.target_form == NameForm::Options;
        let source_opts = self.source_form == NameForm::Options;
        let rules = [
            (target_opts && self.target_format.is_some(), "--image-opts and --format are mutually exclusive"),
            (source_opts && self.source_format.is_some(), "--image-opts and --format are mutually exclusive"),
            (target_opts && !self.no_create, "--target-image-opts requires use of -n flag"),
            (self.no_create && self.has_options, "-o has no effect when skipping image creation"),
            (self.compress && self.offload, "Cannot enable copy offloading when -c is used"),
            (self.sparse_size.is_some() && self.offload, "Cannot enable copy offloading when -S is used"),
            (self.salvage && self.offload, "Cannot use copy offloading in salvaging mode"),
            (self.target_is_zero && !self.no_create, "--target-is-zero requires use of -n flag"),
            (self.skip_broken_bitmaps && !self.bitmaps, "Use of --skip-broken-bitmaps requires --bitmaps"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, message)) => Err(Failure::message(*message)),
            None => Ok(()),
        }
    }

    fn request(&self, sources: &[OsString], target: &OsStr) -> Result<Convert, Failure> {
        let cache = image::cache_mode(&self.source_cache, || {
            format!("Invalid source cache option: {}", self.source_cache)
        })?;
        let name = |name: &OsString| image::named(name, self.source_format.as_deref(), self.source_form);
        Ok(Convert {
            sources: sources.iter().map(name).collect::<Result<_, _>>()?,
            source_flags: OpenFlags {
                force_share: self.force_share,
                deny_writers: true,
                cache,
                ..OpenFlags::READ
            },
            snapshot: self.snapshot.clone(),
            target: self.target(target)?,
            transfer: match (self.compress, self.offload) {
                (true, _) => Transfer::Compressed,
                (false, true) => Transfer::Offload,
                (false, false) => Transfer::Plain,
            },
            min_sparse: self.sparse_size.unwrap_or(SPARSE_SIZE),
            bitmaps: match (self.bitmaps, self.skip_broken_bitmaps) {
                (false, _) => BitmapPolicy::None,
                (true, false) => BitmapPolicy::All,
                (true, true) => BitmapPolicy::SkipBroken,
            },
            unreadable: if self.salvage { UnreadablePolicy::Salvage } else { UnreadablePolicy::Fail },
            parallel: usize::try_from(self.parallel).unwrap_or(1),
            rate: self.rate,
        })
    }

    fn target(&self, name: &OsStr) -> Result<Target, Failure> {
        let cache =
            image::cache_mode(&self.target_cache, || format!("Invalid cache option: {}", self.target_cache))?;
        if !self.no_create {
            return Ok(Target::New(NewTarget {
                filename: name.to_owned(),
                format: self.target_format().to_owned(),
                options: self.options.clone(),
                backing: self.backing.clone(),
                backing_format: self.backing_format.clone(),
            }));
        }
        let format = (self.target_form == NameForm::File).then(|| self.target_format());
        Ok(Target::Existing {
            name: image::named(name, format, self.target_form)?,
            flags: OpenFlags { access: Access::Write, cache, ..OpenFlags::READ },
            content: match (self.target_is_zero, &self.backing) {
                (true, _) => Content::Zeroes,
                (false, Some(_)) => Content::Backing,
                (false, None) => Content::Unknown,
            },
        })
    }
}
