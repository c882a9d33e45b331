//! `info`: tell what an image is.

use formats::json;
use store::ops::info;

use crate::command::{
    Args, Command, Env, FILENAME, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, Id, OBJECT, OUTPUT, Opt, Value,
};
use crate::image::{Form, Subject};
use crate::output::node;
use crate::report::{Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "info",
    summary: "Tell what an image is",
    syntax: "FILENAME",
    options: &[
        HELP,
        FORMAT,
        OUTPUT,
        Opt::new(
            Id::BackingChain,
            Some('b'),
            &["backing-chain"],
            Value::None,
            "tell of every image in the backing chain",
        ),
        OBJECT,
        IMAGE_OPTS,
        FORCE_SHARE,
    ],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut subject = Subject::default();
    let mut whole_chain = false;
    for option in args.options() {
        let option = option?;
        match option.id {
            Id::BackingChain => whole_chain = true,
            _ => subject.take(env, &option)?,
        }
    }
    let name = subject.name(subject.operand(args)?)?;
    let images = if whole_chain {
        info::chain(&env.context(), &name, subject.flags())?
    } else {
        vec![info::info(&env.context(), &name, subject.flags())?]
    };
    match subject.form {
        Form::Human => env.out.print(node::human(&images)),
        Form::Json => {
            let mut images: Vec<_> = images.iter().map(node::json).collect();
            let value = if whole_chain { images.into() } else { images.remove(0) };
            env.out.line(json::pretty(&value));
        }
    }
    Ok(SUCCESS)
}
