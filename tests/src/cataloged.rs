//! Commands that share a catalog.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Outcome, Run, SMALL_ADDRESS_SPACE};
use crate::words::split;
use crate::{oracle, scene, tximg};

/// A directory with a catalog of its own.
#[derive(Debug)]
pub struct Scene {
    dir: TempDir,
    /// The catalog.
    pub catalog: PathBuf,
}

impl Default for Scene {
    fn default() -> Self {
        let dir = scene::empty();
        let catalog = dir.path().join("state/catalog.sqlite");
        std::fs::create_dir(dir.path().join("images")).expect("scratch files can be written");
        Self { dir, catalog }
    }
}

impl Scene {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where commands run.
    pub fn images(&self) -> PathBuf {
        self.dir.path().join("images").canonicalize().expect("it was made")
    }

    /// A command, started under a name.
    pub fn command(&self, name: &str, line: &str) -> Run {
        let run = Run::new(tximg::binary(), &self.images()).named(name).catalog(&self.catalog);
        run.address_space(SMALL_ADDRESS_SPACE).args(split(line))
    }

    /// Runs a command of tximg.
    pub fn run(&self, line: &str) -> Outcome {
        self.command("tximg", line).run()
    }

    /// What a command prints that succeeds and complains of nothing.
    pub fn out(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert!(outcome.success() && outcome.stderr.is_empty(), "{line}: {}", outcome.err());
        outcome.out().replace(&format!("{}/", self.images().display()), "")
    }

    /// The same, as JSON.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Runs qemu-img.
    pub fn stock(&self, line: &str) {
        let outcome = Run::new(&oracle::oracle().img, &self.images()).args(split(line)).run();
        assert!(outcome.success(), "{line}: {}", outcome.err());
    }

    /// Makes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.images().join(name), bytes).expect("scratch files can be written");
    }

    /// A file's bytes.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.images().join(name)).expect("the file is there")
    }

    /// A base with two overlays, one of which has an overlay.
    pub fn chain(&self) {
        self.out("create -q -f qcow2 base.qcow2 1M");
        self.out("create -q -f qcow2 -b base.qcow2 -F qcow2 one.qcow2");
        self.out("create -q -f qcow2 -b base.qcow2 -F qcow2 two.qcow2");
        self.out("create -q -f qcow2 -b one.qcow2 -F qcow2 top.qcow2");
    }
}

/// What the objects of a list have under a key.
pub fn names(list: &Value, key: &str) -> Vec<String> {
    let name = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
    list.as_array().expect("it is a list").iter().map(name).collect()
}
