//! `bench`: measure how fast requests to an image are.

use std::ffi::OsStr;
use std::sync::Arc;

use formats::{CacheMode, Image, OpenContext, OpenFlags};
use journal::aio::Interface;
use journal::{Access, Caching, RealFs, Transaction};
use store::ops::bench::{self, Action, Flush, Meanwhile, Path, Request};

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, Given, HELP, IMAGE_OPTS, Id, Opt, Value,
};
use crate::image::{self, NameForm};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size::{self, MAX_INT, MAX_SIZE};

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    summary: "Measure how fast requests to an image are",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        IMAGE_OPTS,
        Opt::new(
            Id::Cache,
            Some('t'),
            &["cache"],
            Value::Required("CACHE"),
            "cache mode: none, writeback (default), writethrough, directsync, unsafe",
        ),
        Opt::new(Id::Count, Some('c'), &["count"], Value::Required("COUNT"), "number of requests (75000)"),
        Opt::new(
            Id::Depth,
            Some('d'),
            &["depth"],
            Value::Required("DEPTH"),
            "requests in flight at a time (64)",
        ),
        Opt::new(
            Id::Offset,
            Some('o'),
            &["offset"],
            Value::Required("OFFSET"),
            "where the first request starts (0)",
        ),
        Opt::new(
            Id::BufferSize,
            Some('s'),
            &["buffer-size"],
            Value::Required("BUFFER_SIZE"),
            "bytes in each request (4096)",
        ),
        Opt::new(
            Id::StepSize,
            Some('S'),
            &["step-size"],
            Value::Required("STEP_SIZE"),
            "distance from one request to the next (the size of a request)",
        ),
        Opt::new(
            Id::Aio,
            Some('i'),
            &["aio"],
            Value::Required("AIO"),
            "how requests reach the kernel: threads, native, io_uring",
        ),
        Opt::new(Id::Native, Some('n'), &["native"], Value::None, "the same as --aio native"),
        Opt::new(Id::Write, Some('w'), &["write"], Value::None, "write instead of reading"),
        Opt::new(Id::Pattern, None, &["pattern"], Value::Required("PATTERN"), "the byte to write (0)"),
        Opt::new(
            Id::FlushInterval,
            None,
            &["flush-interval"],
            Value::Required("FLUSH_INTERVAL"),
            "flush after every so many writes (0: never)",
        ),
        Opt::new(Id::NoDrain, None, &["no-drain"], Value::None, "keep requests in flight while flushing"),
        FORCE_SHARE,
        Opt::new(Id::Quiet, Some('q'), &[], Value::None, "print errors only"),
    ],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let options = Options::parse(args)?;
    let [name] = args.operands() else {
        return Err(Failure::usage("Expecting one image file name"));
    };
    let request = options.request()?;
    let image = options.open(env, name)?;
    announce(env, &request);
    let took = bench::run(&image, &request).map_err(|error| {
        let report = error.report();
        Failure::message(format!("Failed request: {}", report.rsplit(": ").next().unwrap_or_default()))
    })?;
    env.out.line(format!("Run completed in {:3.3} seconds.", took.as_secs_f64()));
    Ok(SUCCESS)
}

fn announce(env: &Env<'_>, request: &Request) {
    let Request { count, depth, offset, size, step, action, .. } = request;
    let what = if *action == Action::Read { "read" } else { "write" };
    env.out.line(format!(
        "Sending {count} {what} requests, {size} bytes each, {depth} in parallel (starting at offset {offset}, step size {step})"
    ));
    if let Action::Write { flush: Some(flush), .. } = action {
        env.out.line(format!("Sending flush every {} requests", flush.interval));
    }
    env.out.flush();
}

struct Options {
    format: Option<String>,
    names: NameForm,
    cache: CacheMode,
    force_share: bool,
    count: u64,
    depth: u64,
    offset: u64,
    size: u64,
    step: u64,
    path: Path,
    access: Access,
    pattern: u8,
    flush_interval: u64,
    meanwhile: Meanwhile,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: None,
            names: NameForm::File,
            cache: CacheMode::WRITEBACK,
            force_share: false,
            count: 75_000,
            depth: 64,
            offset: 0,
            size: 4096,
            step: 0,
            path: Path::Threads,
            access: Access::Read,
            pattern: 0,
            flush_interval: 0,
            meanwhile: Meanwhile::Drain,
        }
    }
}

impl Options {
    fn parse(args: &Args) -> Result<Self, Failure> {
        let mut options = Self::default();
        for option in args.options() {
            options.take(&option?)?;
        }
        Ok(options)
    }

    fn take(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        let value = given.value();
        match given.id {
            Id::Format => self.format = Some(given.text().into_owned()),
            Id::ImageOpts => self.names = NameForm::Options,
            Id::Cache => self.cache = image::cache_mode(&given.text(), || "Invalid cache mode".to_owned())?,
            Id::Count => self.count = size::count(value, "request count", 1..=MAX_INT)?,
            Id::Depth => self.depth = size::count(value, "queue depth", 1..=MAX_INT)?,
            Id::Offset => self.offset = size::size(value, "offset", 0..=MAX_SIZE)?,
            Id::BufferSize => self.size = size::size(value, "buffer size", 1..=MAX_INT)?,
            Id::StepSize => self.step = size::size(value, "step size", 0..=MAX_INT)?,
            Id::Aio => self.add_path(path_of(&given.text())?),
            Id::Native => self.add_path(Path::Queue(Interface::Native)),
            Id::Write => self.access = Access::Write,
            Id::Pattern => {
                self.pattern = size::count(value, "pattern byte", 0..=u64::from(u8::MAX))? as u8;
            }
            Id::FlushInterval => {
                self.flush_interval = size::count(value, "flush interval", 0..=MAX_INT)?;
            }
            Id::NoDrain => self.meanwhile = Meanwhile::Continue,
            Id::ForceShare => self.force_share = true,
            // -q is taken and changes nothing: the figures are the command's purpose.
            _ => {}
        }
        Ok(())
    }

    /// Given several paths, the native one is taken, else io_uring.
    fn add_path(&mut self, path: Path) {
        if self.path == Path::Threads || path == Path::Queue(Interface::Native) {
            self.path = path;
        }
    }

    fn request(&self) -> Result<Request, Failure> {
        let writes = self.access == Access::Write;
        if self.flush_interval > 0 && !writes {
            return Err(Failure::message("--flush-interval is only available in write tests"));
        }
        if self.flush_interval > 0 && self.flush_interval < self.depth {
            return Err(Failure::message("Flush interval can't be smaller than depth"));
        }
        let flush = Flush { interval: self.flush_interval, meanwhile: self.meanwhile };
        let action = match self.access {
            Access::Read => Action::Read,
            Access::Write => {
                Action::Write { pattern: self.pattern, flush: (flush.interval > 0).then_some(flush) }
            }
        };
        Ok(Request {
            count: self.count,
            depth: self.depth as usize,
            offset: self.offset,
            size: self.size as usize,
            step: if self.step == 0 { self.size } else { self.step },
            action,
            path: self.path,
        })
    }

    fn open(&self, env: &Env<'_>, name: &OsStr) -> Result<Image, Failure> {
        let named = image::named(name, self.format.as_deref(), self.names)?;
        let flags = OpenFlags {
            access: self.access,
            force_share: self.force_share,
            cache: self.cache,
            ..OpenFlags::READ
        };
        // Requests are timed as they reach the file, so they cannot wait for a commit.
        let files = Transaction::at_once(Arc::new(RealFs));
        let image = named.open(&OpenContext { fs: &files, ..env.context() }, flags)?;
        if self.path == Path::Queue(Interface::Native) && self.cache.caching != Caching::Direct {
            return Err(Failure::message(format!(
                "Could not open '{}': aio=native was specified, but it requires cache.direct=on, \
                 which was not specified.",
                formats::shown::shown(name)
            )));
        }
        Ok(image)
    }
}

fn path_of(aio: &str) -> Result<Path, Failure> {
    match aio {
        "threads" => Ok(Path::Threads),
        "native" => Ok(Path::Queue(Interface::Native)),
        "io_uring" => Ok(Path::Queue(Interface::Uring)),
        _ => Err(Failure::message(format!("Invalid aio option: {aio}"))),
    }
}
