//! `bitmap`: change the persistent bitmaps of an image.

use std::ffi::OsString;

use store::ops::bitmap::{Action, ChangeBitmap};

use crate::command::{Args, Command, Env, FILENAME, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, Opt, Value};
use crate::image::{self, NameForm};
use crate::report::{Failure, Outcome, SUCCESS};
use crate::size::{self, MAX_SIZE};

pub(crate) const COMMAND: Command = Command {
    name: "bitmap",
    summary: "Change the persistent bitmaps of an image",
    syntax: "FILENAME BITMAP",
    options: &[
        HELP,
        OBJECT,
        IMAGE_OPTS,
        Opt::new(Id::Add, None, &["add"], Value::None, "make BITMAP and let it record writes"),
        Opt::new(Id::Remove, None, &["remove"], Value::None, "remove BITMAP"),
        Opt::new(Id::Clear, None, &["clear"], Value::None, "forget all that BITMAP has recorded"),
        Opt::new(Id::Enable, None, &["enable"], Value::None, "let BITMAP record writes"),
        Opt::new(Id::Disable, None, &["disable"], Value::None, "let BITMAP record no writes"),
        Opt::new(
            Id::Merge,
            None,
            &["merge"],
            Value::Required("SOURCE"),
            "add what the bitmap SOURCE has recorded to BITMAP",
        ),
        Opt::new(
            Id::Granularity,
            Some('g'),
            &["granularity"],
            Value::Required("SIZE"),
            "bytes for each bit of a bitmap that --add makes",
        ),
        Opt::new(
            Id::Base,
            Some('b'),
            &["source-file"],
            Value::Required("SRC_FILENAME"),
            "the image with the bitmap for --merge",
        ),
        Opt::new(
            Id::SecondFormat,
            Some('F'),
            &["source-format"],
            Value::Required("SRC_FMT"),
            "format of SRC_FILENAME",
        ),
        Opt::new(Id::Format, Some('f'), &["format"], Value::Required("FMT"), FORMAT.help).extra(&["format"]),
    ],
    operands: &[FILENAME, ("BITMAP", "name of the bitmap")],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let given = Given::read(env, args)?;
    given.request(args)?.run(&env.context())?;
    Ok(SUCCESS)
}

/// The options as they were given.
#[derive(Debug, Default)]
struct Given {
    format: Option<String>,
    form: NameForm,
    source: Option<OsString>,
    source_format: Option<String>,
    granularity: u64,
    actions: Vec<Action>,
}

impl Given {
    fn read(env: &Env<'_>, args: &Args) -> Result<Self, Failure> {
        let mut given = Self::default();
        for option in args.options() {
            let option = option?;
            match option.id {
                Id::Format => given.format = Some(option.text().into_owned()),
                Id::ImageOpts => given.form = NameForm::Options,
                Id::Base => given.source = Some(option.value().to_owned()),
                Id::SecondFormat => given.source_format = Some(option.text().into_owned()),
                Id::Granularity => {
                    given.granularity = size::size(option.value(), "granularity", 0..=MAX_SIZE)?;
                }
                Id::Add => given.actions.push(Action::Add),
                Id::Remove => given.actions.push(Action::Remove),
                Id::Clear => given.actions.push(Action::Clear),
                Id::Enable => given.actions.push(Action::Enable),
                Id::Disable => given.actions.push(Action::Disable),
                Id::Merge => given.actions.push(Action::Merge(option.text().into_owned())),
                _ => env.objects.define(option.value())?,
            }
        }
        Ok(given)
    }

    /// What is asked for, if the options fit together.
    fn request(self, args: &Args) -> Result<ChangeBitmap, Failure> {
        let refused = |text: &str| Err(Failure::message(text));
        if self.actions.is_empty() {
            return refused("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
        }
        if self.granularity > 0 && !self.actions.contains(&Action::Add) {
            return refused("granularity only supported with --add");
        }
        if self.source_format.is_some() && self.source.is_none() {
            return refused("-F only supported with -b");
        }
        let merges = self.actions.iter().any(|action| matches!(action, Action::Merge(_)));
        if self.source.is_some() && !merges {
            return refused("Merge bitmap source file only supported with --merge");
        }
        let [image, name] = args.operands() else {
            return refused("Expecting filename and bitmap name");
        };
        let source = self.source.as_deref();
        let source = source.map(|name| image::named(name, self.source_format.as_deref(), NameForm::File));
        Ok(ChangeBitmap {
            image: image::named(image, self.format.as_deref(), self.form)?,
            name: formats::shown::shown(name),
            actions: self.actions,
            granularity: Some(self.granularity).filter(|&bytes| bytes > 0),
            source: source.transpose()?,
        })
    }
}
