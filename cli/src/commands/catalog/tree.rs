//! `catalog tree`: which image stands on which.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use formats::json;
use serde_json::Value as JsonValue;
use store::catalog::{Catalog, Edge, Entry, Role};

use super::{as_json, format_of, path_bytes};
use crate::command::{Args, Command, Env, HELP, Id, Opt, Value};
use crate::output::Output;
use crate::report::{Failure, Outcome, SUCCESS};

pub(crate) const COMMAND: Command = Command {
    name: "catalog tree",
    summary: "Draw which image stands on which",
    syntax: "[FILENAME]",
    options: &[
        HELP,
        Opt::new(
            Id::Output,
            None,
            &["output"],
            Value::Required("human|json|dot"),
            "form of the output; dot is the language of Graphviz",
        ),
    ],
    operands: &[("FILENAME", "the image at the root; every root if none is named")],
    run,
};

/// How the tree is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Human,
    Json,
    Dot,
}

fn run(env: &Env<'_>, args: &Args) -> Outcome {
    let mut form = Form::Human;
    for option in args.options() {
        form = match &*option?.text() {
            "human" => Form::Human,
            "json" => Form::Json,
            "dot" => Form::Dot,
            other => {
                let message = format!("--output expects 'human', 'json' or 'dot' not '{other}'");
                return Err(Failure::usage(message));
            }
        };
    }
    let catalog = super::open(env)?;
    let forest = Forest::of(&catalog)?;
    let roots = match args.operands() {
        [] => forest.roots(),
        [name] => vec![catalog.find(env.fs, Path::new(name))?.id],
        _ => return Err(Failure::usage("Expecting one image file name")),
    };
    match form {
        Form::Human => forest.draw(env.out, &roots),
        Form::Json => env.out.line(json::pretty(&forest.json(&roots))),
        Form::Dot => forest.dot(env.out, &roots),
    }
    Ok(SUCCESS)
}

/// Images above this level are not told: the longest chain that can be opened.
const MAX_DEPTH: usize = 512;

/// All images, each with what stands on it.
struct Forest {
    images: HashMap<i64, Entry>,
    /// By image, in the order of their paths: what stands on it, and as what it serves there.
    overlays: HashMap<i64, Vec<(i64, Role)>>,
    /// Images that stand on another.
    standing: HashSet<i64>,
}

/// A place in the walk through a forest.
#[derive(Debug, Clone, Copy)]
struct Visit {
    id: i64,
    /// What the one below serves as; `None` for a root.
    role: Option<Role>,
    depth: usize,
    /// Whether it is the last of those on the same image.
    last: bool,
}

impl Forest {
    fn of(catalog: &Catalog) -> Result<Self, Failure> {
        let mut edges = catalog.edges()?;
        let images: HashMap<i64, Entry> =
            catalog.images()?.into_iter().map(|entry| (entry.id, entry)).collect();
        edges.sort_by_key(|edge: &Edge| images.get(&edge.overlay).map(|entry| entry.path.clone()));
        let standing = edges.iter().map(|edge| edge.overlay).collect();
        let mut overlays: HashMap<i64, Vec<(i64, Role)>> = HashMap::new();
        for edge in edges {
            overlays.entry(edge.base).or_default().push((edge.overlay, edge.role));
        }
        Ok(Self { images, overlays, standing })
    }

    /// The images that stand on nothing, by path.
    fn roots(&self) -> Vec<i64> {
        let mut roots: Vec<&Entry> =
            self.images.values().filter(|entry| !self.standing.contains(&entry.id)).collect();
        roots.sort_by(|one, two| one.path.cmp(&two.path));
        roots.into_iter().map(|entry| entry.id).collect()
    }

    fn overlays_of(&self, id: i64) -> &[(i64, Role)] {
        self.overlays.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Every image from these up, each after what it stands on. One that has been met, in a loop or
    /// on two images, is told again but not followed.
    fn walk(&self, roots: &[i64]) -> Vec<Visit> {
        let mut met = HashSet::new();
        let mut visits = Vec::new();
        let root = |id: &i64| Visit { id: *id, role: None, depth: 0, last: true };
        let mut next: Vec<Visit> = roots.iter().rev().map(root).collect();
        while let Some(visit) = next.pop() {
            visits.push(visit);
            if visit.depth < MAX_DEPTH && met.insert(visit.id) {
                let above = self.overlays_of(visit.id).iter().rev().enumerate();
                next.extend(above.map(|(place, (id, role))| Visit {
                    id: *id,
                    role: Some(*role),
                    depth: visit.depth + 1,
                    last: place == 0,
                }));
            }
        }
        visits
    }

    fn draw(&self, out: &Output, roots: &[i64]) {
        // For each level above the root: whether more follows on it.
        let mut open: Vec<bool> = Vec::new();
        for visit in self.walk(roots) {
            let Some(entry) = self.images.get(&visit.id) else { continue };
            let mut line = Vec::new();
            if let Some(level) = visit.depth.checked_sub(1) {
                open.truncate(level);
                for more in &open {
                    line.extend_from_slice(if *more { "│   " } else { "    " }.as_bytes());
                }
                line.extend_from_slice(if visit.last { "└── " } else { "├── " }.as_bytes());
                open.push(!visit.last);
            } else {
                open.clear();
            }
            line.extend_from_slice(path_bytes(&entry.path));
            let serves = match visit.role {
                None | Some(Role::Backing) => String::new(),
                Some(role) => format!(", {} below", role.label()),
            };
            let there = if entry.identity.is_some() { "" } else { ", not there" };
            line.extend(format!(" ({}{serves}{there})", format_of(entry)).bytes());
            out.line(line);
        }
    }

    /// Each image with what stands on it under `overlays`.
    fn json(&self, roots: &[i64]) -> JsonValue {
        // From the last visit to the first: what stands on an image is complete before it.
        let mut waiting: Vec<Vec<JsonValue>> = vec![Vec::new()];
        for visit in self.walk(roots).iter().rev() {
            let Some(entry) = self.images.get(&visit.id) else { continue };
            waiting.resize_with(waiting.len().max(visit.depth + 2), Vec::new);
            let mut above = std::mem::take(&mut waiting[visit.depth + 1]);
            above.reverse();
            let mut node = as_json(entry);
            if let Some(role) = visit.role {
                node.insert("role".to_owned(), role.name().into());
            }
            node.insert("overlays".to_owned(), JsonValue::Array(above));
            waiting[visit.depth].push(JsonValue::Object(node));
        }
        let mut roots = waiting.swap_remove(0);
        roots.reverse();
        JsonValue::Array(roots)
    }

    fn dot(&self, out: &Output, roots: &[i64]) {
        out.line("digraph images {\n    rankdir=BT;\n    node [shape=box];");
        let mut met = HashSet::new();
        for visit in self.walk(roots) {
            let Some(entry) = self.images.get(&visit.id).filter(|entry| met.insert(entry.id)) else {
                continue;
            };
            let style = if entry.identity.is_some() { "" } else { ", style=dashed" };
            let label = json::text(path_bytes(&entry.path)).replace('\\', "\\\\").replace('"', "\\\"");
            out.line(format!("    i{} [label=\"{label}\\n{}\"{style}];", entry.id, format_of(entry)));
            for (overlay, role) in self.overlays_of(entry.id) {
                let style = match role {
                    Role::Backing => String::new(),
                    role => format!(" [label=\"{}\"]", role.label()),
                };
                out.line(format!("    i{overlay} -> i{}{style};", entry.id));
            }
        }
        out.line("}");
    }
}
