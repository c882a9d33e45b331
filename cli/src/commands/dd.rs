//! `dd`: copy a part of an image, perhaps to another format.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use formats::OpenFlags;
use formats::create::OptionList;
use journal::Access;
use store::catalog::Spared;
use store::ops::dd::{Dd, Streams, Target};
use store::{ImageName, NewTarget, SnapshotSelector};

use crate::command::{
    Args, Command, Env, FORCE, FORCE_SHARE, FORMAT, Force, HELP, IMAGE_OPTS, Id, OBJECT, Opt, Value,
};
use crate::guard::Change;
use crate::image::{self, NameForm};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::{selector, size};

pub(crate) const COMMAND: Command = Command {
    name: "dd",
    summary: "Copy a part of an image, perhaps to another format",
    syntax: "[bs=BLOCK_SIZE] [count=BLOCKS] [skip=BLOCKS] [isize=BYTES] [osize=BYTES] if=INPUT of=OUTPUT",
    options: &[
        HELP,
        OBJECT,
        IMAGE_OPTS,
        FORMAT,
        Opt::new(
            Id::TargetFormat,
            Some('O'),
            &["output-format"],
            Value::Required("OUTPUT_FMT"),
            "format of OUTPUT (raw)",
        ),
        FORCE_SHARE,
        Opt::new(
            Id::NoCreate,
            Some('n'),
            &[],
            Value::None,
            "write into OUTPUT, which exists, instead of making it",
        ),
        Opt::new(
            Id::Snapshot,
            Some('l'),
            &[],
            Value::Required("SNAPSHOT"),
            "read this internal snapshot of INPUT",
        ),
        FORCE,
    ],
    operands: &[
        ("bs=BLOCK_SIZE", "bytes in a block (512)"),
        ("count=BLOCKS", "copy so many blocks (all)"),
        ("skip=BLOCKS", "leave out so many blocks of INPUT (0)"),
        ("isize=BYTES", "bytes to expect from standard input"),
        ("osize=BYTES", "size of the virtual disk of OUTPUT"),
        ("if=INPUT", "the image to read; standard input if not given and isize= is"),
        ("of=OUTPUT", "the image to make; standard output if not given and osize= is"),
    ],
    run,
};

/// The command line as it was given.
#[derive(Debug)]
struct Given {
    format: Option<String>,
    form: NameForm,
    target_format: Option<String>,
    force_share: bool,
    no_create: bool,
    snapshot: Option<SnapshotSelector>,
    force: Force,
    operands: Operands,
}

/// The `name=value` operands.
#[derive(Debug, Default)]
struct Operands {
    input: Option<OsString>,
    output: Option<OsString>,
    block_size: Option<u64>,
    count: Option<u64>,
    skip: Option<u64>,
    input_size: Option<u64>,
    output_size: Option<u64>,
}

/// Bytes in a block if `bs=` does not say.
const BLOCK_SIZE: u64 = 512;

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = read(env, args)?;
    let request = given.request()?;
    let (path, change) = match &request.target {
        Target::New(new) => (new.file(), Change::Replace),
        Target::Existing { name, .. } => (name.file(), Change::Write),
        Target::Stream => (None, Change::Write),
    };
    if let Some(path) = path {
        env.protect(&path, change, given.force, Spared::default())?;
    }
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    request.run(&env.context(), Streams { input: &mut input, output: &mut output })?;
    Ok(SUCCESS)
}

fn read(env: &Env<'_>, args: &Args) -> Result<Given, Failure> {
    let mut given = Given {
        format: None,
        form: NameForm::File,
        target_format: None,
        force_share: false,
        no_create: false,
        snapshot: None,
        force: Force::Off,
        operands: Operands::default(),
    };
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::Object => env.objects.define(option.value())?,
            Id::ImageOpts => given.form = NameForm::Options,
            Id::Format => given.format = Some(option.text().into_owned()),
            Id::TargetFormat => given.target_format = Some(option.text().into_owned()),
            Id::ForceShare => given.force_share = true,
            Id::NoCreate => given.no_create = true,
            Id::Force => given.force = Force::On,
            Id::Snapshot => given.snapshot = Some(selector::snapshot(env, &option)?),
            other => unreachable!("{other:?} is not an option of this command"),
        }
    }
    for operand in args.operands() {
        given.operands.add(operand)?;
    }
    Ok(given)
}

impl Operands {
    fn add(&mut self, operand: &OsStr) -> Result<(), Failure> {
        let bytes = operand.as_bytes();
        let equals = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        let name = &bytes[..equals];
        let value = OsStr::from_bytes(bytes.get(equals + 1..).unwrap_or_default());
        match name {
            b"if" => self.input = Some(value.to_owned()),
            b"of" => self.output = Some(value.to_owned()),
            b"bs" => self.block_size = Some(size::size(value, "bs", 1..=size::MAX_INT)?),
            b"count" => self.count = Some(size::count(value, "count", 0..=size::MAX_SIZE)?),
            b"skip" => self.skip = Some(size::count(value, "skip", 0..=size::MAX_SIZE)?),
            b"isize" => self.input_size = Some(size::size(value, "isize", 0..=size::MAX_SIZE)?),
            b"osize" => self.output_size = Some(size::size(value, "osize", 0..=size::MAX_SIZE)?),
            other => {
                let message = [b"unrecognized operand ", other].concat();
                return Err(Failure::message(OsString::from_vec(message)));
            }
        }
        Ok(())
    }
}

impl Given {
    fn request(&self) -> Result<Dd, Failure> {
        let Operands { input, output, .. } = &self.operands;
        // A stream stands in for a file only where its size says that one is meant.
        let streams = (self.operands.input_size.is_some(), self.operands.output_size.is_some());
        if (input.is_none() && !streams.0) || (output.is_none() && !streams.1) {
            return Err(Failure::message("Must specify both input and output files"));
        }
        let source = input.as_ref().map(|name| image::named(name, self.format.as_deref(), self.form));
        Ok(Dd {
            source: source.transpose()?,
            source_flags: OpenFlags { force_share: self.force_share, ..OpenFlags::READ },
            snapshot: self.snapshot.clone(),
            target: self.target(),
            block_size: self.operands.block_size.unwrap_or(BLOCK_SIZE),
            count: self.operands.count,
            skip: self.operands.skip.unwrap_or(0),
            input_size: self.operands.input_size,
            output_size: self.operands.output_size,
        })
    }

    fn target(&self) -> Target {
        let format = self.target_format.as_deref().unwrap_or("raw");
        match &self.operands.output {
            None => Target::Stream,
            Some(name) if self.no_create => Target::Existing {
                name: ImageName::File { name: name.clone(), format: Some(format.to_owned()) },
                flags: OpenFlags { access: Access::Write, ..OpenFlags::READ },
            },
            Some(name) => Target::New(NewTarget {
                filename: name.clone(),
                format: format.to_owned(),
                options: OptionList::default(),
                backing: None,
                backing_format: None,
            }),
        }
    }
}
