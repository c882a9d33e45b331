//! `catalog`: what is known of images beyond what each of them says.

pub(super) mod dependents;
pub(super) mod forget;
pub(super) mod list;
pub(super) mod scan;
pub(super) mod show;
pub(super) mod tree;
pub(super) mod verify;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use formats::json;
use formats::shown::shown;
use serde_json::{Map, Value};
use store::catalog::{Catalog, CatalogError, Entry, Place};

use crate::command::{Args, Command, Env, HELP};
use crate::output::words;
use crate::report::{Failure, Outcome};
use crate::size;

/// The command by itself, which has no work of its own.
pub(crate) const COMMAND: Command = Command {
    name: "catalog",
    summary: "Keep track of images and of what they need",
    syntax: "scan|list|show|tree|dependents|verify|forget ...",
    options: &[HELP],
    operands: &[
        ("scan DIRECTORY...", "look for images in directories"),
        ("list", "list the images that are known"),
        ("show FILENAME...", "tell what is known of images"),
        ("tree [FILENAME]", "draw which image stands on which"),
        ("dependents FILENAME...", "list the images that need this one"),
        ("verify [FILENAME...]", "tell whether images still are what they were"),
        ("forget FILENAME...", "take images out of the catalog"),
    ],
    run,
};

fn run(_env: &Env<'_>, args: &Args) -> Outcome {
    for option in args.options() {
        option?;
    }
    Err(match args.operands().first() {
        None => Failure::usage("Expecting what to do with the catalog"),
        Some(word) => Failure::usage(format!("The catalog has no command '{}'", shown(word))),
    })
}

/// Opens the catalog with everything in it that is known by now.
pub(crate) fn open(env: &Env<'_>) -> Result<Catalog, Failure> {
    let place = Place::from_environment().ok_or(CatalogError::NoPlace)?;
    let mut catalog = Catalog::open(&place)?;
    match catalog.absorb(&env.context()) {
        // Whoever may not write may still read.
        Err(error @ CatalogError::Database { .. }) => {
            tracing::warn!(%error, "The newest events are missing.")
        }
        result => result?,
    }
    Ok(catalog)
}

/// The images that the operands name, or all.
fn chosen(env: &Env<'_>, catalog: &Catalog, args: &Args) -> Result<Vec<Entry>, Failure> {
    if args.operands().is_empty() {
        return Ok(catalog.images()?);
    }
    let find = |name| catalog.find(env.fs, Path::new(name));
    Ok(args.operands().iter().map(find).collect::<Result<_, _>>()?)
}

/// The images that the operands name; there must be some.
fn named(env: &Env<'_>, catalog: &Catalog, args: &Args) -> Result<Vec<Entry>, Failure> {
    match args.operands() {
        [] => Err(Failure::usage("Expecting image file names")),
        _ => chosen(env, catalog, args),
    }
}

/// The format as it is told.
fn format_of(entry: &Entry) -> &str {
    entry.format.as_deref().unwrap_or("unknown")
}

/// The size as it is told.
fn size_of(entry: &Entry) -> String {
    entry.size.map_or_else(|| "unknown".to_owned(), size::human)
}

/// An image for programs.
fn as_json(entry: &Entry) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    put("filename", Some(path_json(&entry.path)));
    put("format", entry.format.clone().map(Value::from));
    put("virtual-size", entry.size.map(Value::from));
    put("present", Some(entry.identity.is_some().into()));
    put("digest", entry.digest.as_ref().map(|digest| words::hexadecimal(digest).into()));
    map
}

/// A path for programs.
pub(crate) fn path_json(path: impl AsRef<OsStr>) -> Value {
    json::text(path.as_ref().as_bytes()).into()
}

/// A path for people, byte for byte.
pub(crate) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
