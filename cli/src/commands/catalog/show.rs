//! `catalog show`: what is known of images.

use std::os::unix::ffi::OsStrExt;

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::{self, Catalog, Dependent, Edge, Entry, LogEntry, Spared, State};

use super::{as_json, format_of, path_bytes, path_json, size_of};
use crate::command::{Args, Command, Env, FILENAME, HELP, OUTPUT};
use crate::image::Form;
use crate::output::{time, words};
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog show",
    summary: "Tell what is known of images",
    syntax: "FILENAME...",
    options: &[HELP, OUTPUT],
    operands: &[FILENAME],
    run,
};

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let form = Form::only(args)?;
    let catalog = super::open(env)?;
    let mut pages = Vec::new();
    for entry in super::named(env, &catalog, args)? {
        pages.push(Page::of(env, &catalog, entry)?);
    }
    match form {
        Form::Json => {
            let list = pages.iter().map(Page::json).collect();
            env.out.line(json::pretty(&JsonValue::Array(list)));
        }
        Form::Human => {
            let texts: Vec<Vec<u8>> = pages.iter().map(Page::human).collect();
            env.out.print(texts.join(&b'\n'));
        }
    }
    Ok(SUCCESS)
}

/// What is told of one image.
struct Page {
    entry: Entry,
    state: State,
    /// What it needs, and where that is.
    needs: Vec<(Edge, Option<Entry>)>,
    dependents: Vec<Dependent>,
    last: Option<LogEntry>,
}

impl Page {
    fn of(env: &Env<'_>, catalog: &Catalog, entry: Entry) -> Result<Self, Failure> {
        let mut needs = Vec::new();
        for edge in catalog.needs(entry.id)? {
            let base = catalog.image(edge.base)?;
            needs.push((edge, base));
        }
        Ok(Self {
            state: catalog::state(env.fs, &entry),
            needs,
            dependents: catalog::dependents(catalog, &env.context(), &entry.path, Spared::default())?,
            last: catalog.log(env.fs, Some(&entry.path))?.into_iter().next(),
            entry,
        })
    }

    fn human(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut line = |key: &str, value: &[u8]| {
            text.extend_from_slice(&[key.as_bytes(), b": ", value, b"\n"].concat());
        };
        line("image", path_bytes(&self.entry.path));
        line("file format", format_of(&self.entry).as_bytes());
        line("virtual size", size_of(&self.entry).as_bytes());
        for (edge, base) in &self.needs {
            let mut value = edge.name.as_bytes().to_vec();
            if let Some(base) = base.as_ref().filter(|base| base.path != edge.name) {
                value.extend([b" (actual path: ", path_bytes(&base.path), b")"].concat());
            }
            line(edge.role.label(), &value);
        }
        for dependent in &self.dependents {
            line("dependent", path_bytes(&dependent.path));
        }
        if let Some(digest) = &self.entry.digest {
            line("digest", words::hexadecimal(digest).as_bytes());
        }
        line("state", self.state.name().as_bytes());
        if let Some(last) = &self.last {
            let time = time::from_nanoseconds(last.started);
            line("last change", &[time.as_bytes(), b" ", &words::quoted(&last.command)].concat());
        }
        text
    }

    fn json(&self) -> JsonValue {
        let mut map = as_json(&self.entry);
        map.insert("state".to_owned(), self.state.name().into());
        for (edge, base) in &self.needs {
            let path = base.as_ref().map(|base| path_json(&base.path));
            let need = serde_json::json!({
                "filename": path_json(&edge.name), "full-filename": path, "format": edge.format,
            });
            map.insert(edge.role.name().to_owned(), need);
        }
        let dependents: Vec<_> = self.dependents.iter().map(|dependent| path_json(&dependent.path)).collect();
        map.insert("dependents".to_owned(), dependents.into());
        JsonValue::Object(map)
    }
}
