//! `compare`: tell whether two images hold the same data.

use std::ffi::OsStr;

use formats::shown::shown;
use formats::{CacheMode, Image, OpenFlags};
use store::ops::compare::{self, CompareError, Difference, Strictness};

use crate::command::{
    Args, Command, Env, FORCE_SHARE, HELP, IMAGE_OPTS, Id, OBJECT, Opt, PROGRESS, QUIET, Value,
};
use crate::image::{self, NameForm};
use crate::output::Output;
use crate::progress::{Meter, Wanted};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "compare",
    summary: "Tell whether two images hold the same data",
    syntax: "FILENAME1 FILENAME2",
    options: &[
        HELP,
        QUIET,
        OBJECT,
        Opt::new(
            Id::Cache,
            Some('T'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        IMAGE_OPTS,
        Opt::new(
            Id::Format,
            Some('f'),
            &["a-format", "left-format"],
            Value::Required("FMT"),
            "format of FILENAME1",
        ),
        Opt::new(
            Id::SecondFormat,
            Some('F'),
            &["b-format", "right-format"],
            Value::Required("FMT"),
            "format of FILENAME2",
        ),
        FORCE_SHARE,
        Opt::new(
            Id::Strict,
            Some('s'),
            &["strict"],
            Value::None,
            "sizes and allocation must be the same too",
        ),
        PROGRESS,
    ],
    operands: &[("FILENAME1, FILENAME2", "the images: names, or block options with --image-opts")],
    run,
};

/// Exit code when the images differ.
const DIFFERENT: u8 = 1;
/// Exit code when an image cannot be opened.
const NOT_OPENED: u8 = 2;
/// Exit code when the metadata cannot be read.
const NO_STATUS: u8 = 3;
/// Exit code when the data cannot be read.
const NOT_READ: u8 = 4;

/// Percent between two lines of progress.
const PROGRESS_STEP: u32 = 2;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let options = Options::parse(env, args)?;
    let [first_name, second_name] = args.operands() else {
        return Err(Failure::usage("Expecting two image file names"));
    };
    let wanted = Wanted::from_flags(options.progress, options.verdict == Verdict::Silent);
    let meter = Meter::new(env.out, wanted, PROGRESS_STEP);
    let flags = options.flags()?;
    let first = options.open(env, first_name, options.format.as_deref(), flags)?;
    let second = options.open(env, second_name, options.second_format.as_deref(), flags)?;
    let names = [first_name.as_os_str(), second_name.as_os_str()];
    let comparison = Comparison { out: env.out, options: &options, names, first: &first, second: &second };
    comparison.run(&meter)
}

/// Whether the verdict is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Printed,
    Silent,
}

struct Options {
    format: Option<String>,
    second_format: Option<String>,
    names: NameForm,
    cache: Option<String>,
    force_share: bool,
    strictness: Strictness,
    verdict: Verdict,
    progress: bool,
}

impl Options {
    fn parse(env: &Env<'_>, args: &Args) -> Result<Self, Failure> {
        let mut options = Self {
            format: None,
            second_format: None,
            names: NameForm::File,
            cache: None,
            force_share: false,
            strictness: Strictness::Content,
            verdict: Verdict::Printed,
            progress: false,
        };
        for option in args.options() {
            let option = option?;
            let text = || option.text().into_owned();
            match option.id {
                Id::Format => options.format = Some(text()),
                Id::SecondFormat => options.second_format = Some(text()),
                Id::ImageOpts => options.names = NameForm::Options,
                Id::Cache => options.cache = Some(text()),
                Id::ForceShare => options.force_share = true,
                Id::Strict => options.strictness = Strictness::Allocation,
                Id::Quiet => options.verdict = Verdict::Silent,
                Id::Progress => options.progress = true,
                _ => env.objects.define(option.value()).map_err(|failure| failure.with_code(NOT_OPENED))?,
            }
        }
        Ok(options)
    }

    fn flags(&self) -> Result<OpenFlags, Failure> {
        let cache = match &self.cache {
            None => CacheMode::WRITEBACK,
            Some(name) => image::cache_mode(name, || format!("Invalid source cache option: {name}"))
                .map_err(|failure| failure.with_code(NOT_OPENED))?,
        };
        Ok(OpenFlags { force_share: self.force_share, cache, ..OpenFlags::READ })
    }

    fn open(
        &self,
        env: &Env<'_>,
        name: &OsStr,
        format: Option<&str>,
        flags: OpenFlags,
    ) -> Result<Image, Failure> {
        image::named(name, format, self.names)
            .and_then(|name| Ok(name.open(&env.context(), flags)?))
            .map_err(|failure| failure.with_code(NOT_OPENED))
    }
}

struct Comparison<'a> {
    out: &'a Output,
    options: &'a Options,
    /// The images as they were named.
    names: [&'a OsStr; 2],
    first: &'a Image,
    second: &'a Image,
}

impl Comparison<'_> {
    fn run(&self, meter: &Meter<'_>) -> Outcome {
        let (one, two) = (self.first.virtual_size(), self.second.virtual_size());
        meter.start();
        if one != two && self.options.strictness == Strictness::Allocation {
            return self.different("Strict mode: Image size mismatch!");
        }
        let common = compare::common_part(self.first, self.second, self.options.strictness, meter);
        if let Some(difference) = common.map_err(|error| self.failure(error))? {
            return self.differs(difference);
        }
        if one != two {
            self.say("Warning: Image size mismatch!");
            let longer = if one > two { self.first } else { self.second };
            if let Some(difference) =
                compare::rest(longer, one.min(two), meter).map_err(|error| self.failure(error))?
            {
                return self.differs(difference);
            }
        }
        self.say("Images are identical.");
        Ok(SUCCESS)
    }

    fn differs(&self, difference: Difference) -> Outcome {
        self.different(&match difference {
            Difference::Content(offset) => format!("Content mismatch at offset {offset}!"),
            Difference::Allocation(offset) => {
                format!("Strict mode: Offset {offset} block status mismatch!")
            }
        })
    }

    fn different(&self, how: &str) -> Outcome {
        self.say(how);
        Ok(DIFFERENT)
    }

    fn failure(&self, mut error: CompareError) -> Failure {
        let (CompareError::Status { image, .. } | CompareError::Read { image, .. }) = &mut error;
        let given = if image == self.first.filename() { self.names[0] } else { self.names[1] };
        *image = shown(given);
        match &error {
            CompareError::Status { .. } => Failure::message(error.to_string()).with_code(NO_STATUS),
            CompareError::Read { source, .. } => {
                Failure::message(format!("{error}: {}", source.class())).with_code(NOT_READ)
            }
        }
    }

    fn say(&self, text: &str) {
        if self.options.verdict == Verdict::Printed {
            self.out.line(text);
        }
    }
}
