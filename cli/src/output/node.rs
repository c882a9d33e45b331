//! What `info` tells of an image, for people and as JSON.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use formats::json;
use formats::shown::printed;
use serde_json::{Map, Value};
use store::ops::info::{BackingInfo, NodeInfo};

use super::snapshots;
use crate::size;

/// Spaces by which what belongs to something stands in.
const STEP: usize = 4;

/// The images of a chain, apart by an empty line. Names are printed byte for byte.
pub(crate) fn human(chain: &[NodeInfo]) -> Vec<u8> {
    let texts: Vec<Vec<u8>> = chain
        .iter()
        .map(|image| {
            let mut page = Page::default();
            page.image(image, "");
            page.text
        })
        .collect();
    texts.join(&b'\n')
}

/// Indented lines.
#[derive(Debug, Default)]
struct Page {
    text: Vec<u8>,
    indent: usize,
}

impl Page {
    fn line(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.heading(key);
        self.text.pop();
        self.text.push(b' ');
        self.text.extend_from_slice(value.as_ref());
        self.text.push(b'\n');
    }

    fn heading(&mut self, key: &str) {
        self.text.extend(std::iter::repeat_n(b' ', self.indent));
        self.text.extend_from_slice(key.as_bytes());
        self.text.extend_from_slice(b":\n");
    }

    fn size(&mut self, key: &str, bytes: u64) {
        self.line(key, format!("{} ({bytes} bytes)", size::human(bytes)));
    }

    /// A node, and those under it. `path` is where it stands.
    fn image(&mut self, node: &NodeInfo, path: &str) {
        self.line("image", node.filename.as_bytes());
        self.line("file format", node.format);
        self.size("virtual size", node.virtual_size);
        self.disk_size(node);
        if node.encrypted {
            self.line("encrypted", "yes");
        }
        if let Some(bytes) = node.cluster_size {
            self.line("cluster_size", bytes.to_string());
        }
        if node.dirty == Some(true) {
            self.line("cleanly shut down", "no");
        }
        if let Some(backing) = &node.backing {
            self.backing(backing);
        }
        if !node.snapshots.is_empty() {
            self.text.extend(snapshots::table(&node.snapshots, self.indent));
        }
        self.rest(node, path);
    }

    fn file(&mut self, node: &NodeInfo, path: &str) {
        self.line("filename", node.filename.as_bytes());
        self.line("protocol type", node.format);
        self.size("file length", node.virtual_size);
        self.disk_size(node);
        self.rest(node, path);
    }

    fn disk_size(&mut self, node: &NodeInfo) {
        let text = node.actual_size.map_or_else(|| "unavailable".to_owned(), size::human);
        self.line("disk size", text);
    }

    fn backing(&mut self, backing: &BackingInfo) {
        let mut text = backing.filename.as_bytes().to_vec();
        match &backing.full_filename {
            None => text.extend_from_slice(b" (cannot determine actual path)"),
            Some(full) if *full != backing.filename => {
                text.extend_from_slice(b" (actual path: ");
                text.extend_from_slice(full.as_bytes());
                text.push(b')');
            }
            Some(_) => {}
        }
        self.line("backing file", text);
        if let Some(format) = &backing.format {
            self.line("backing file format", format);
        }
    }

    fn rest(&mut self, node: &NodeInfo, path: &str) {
        let data = node.specific.as_ref().and_then(|specific| specific.get("data"));
        if let Some(Value::Object(map)) = data
            && !map.is_empty()
        {
            self.heading("Format specific information");
            self.indent += STEP;
            self.members(map);
            self.indent -= STEP;
        }
        for child in &node.children {
            let path = format!("{path}/{}", child.role);
            self.heading(&format!("Child node '{path}'"));
            self.indent += STEP;
            if child.node.is_file() {
                self.file(&child.node, &path);
            } else {
                self.image(&child.node, &path);
            }
            self.indent -= STEP;
        }
    }

    fn members(&mut self, map: &Map<String, Value>) {
        for (key, value) in json::in_order(map) {
            self.member(&key.replace('-', " "), value);
        }
    }

    fn member(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(_) | Value::Array(_) => {
                self.heading(key);
                self.indent += STEP;
                self.nested(value);
                self.indent -= STEP;
            }
            Value::String(text) => self.line(key, printed(text.as_bytes())),
            plain => self.line(key, plain.to_string()),
        }
    }

    fn nested(&mut self, value: &Value) {
        match value {
            Value::Object(map) => self.members(map),
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.member(&format!("[{place}]"), item);
                }
            }
            _ => {}
        }
    }
}

/// A node as `info --output=json` shows it.
pub(crate) fn json(node: &NodeInfo) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    put("filename", Some(text(&node.filename)));
    put("format", Some(node.format.into()));
    put("dirty-flag", node.dirty.map(Value::from));
    put("actual-size", node.actual_size.map(Value::from));
    put("virtual-size", Some(node.virtual_size.into()));
    put("cluster-size", node.cluster_size.map(Value::from));
    put("encrypted", node.encrypted.then_some(true.into()));
    put("compressed", node.compressed.then_some(true.into()));
    if let Some(backing) = &node.backing {
        put("backing-filename", Some(text(&backing.filename)));
        put("full-backing-filename", backing.full_filename.as_deref().map(text));
        put("backing-filename-format", backing.format.clone().map(Value::from));
    }
    put("snapshots", (!node.snapshots.is_empty()).then(|| snapshots::json(&node.snapshots)));
    put("format-specific", node.specific.clone());
    put("children", Some(node.children.iter().map(|child| child_json(&child.role, &child.node)).collect()));
    Value::Object(map)
}

fn child_json(role: &str, node: &NodeInfo) -> Value {
    serde_json::json!({ "name": role, "info": json(node) })
}

fn text(name: &OsStr) -> Value {
    json::text(name.as_bytes()).into()
}
