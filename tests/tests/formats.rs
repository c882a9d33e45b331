//! The table of formats in `README.md` says what is so: each cell is tried here, with qemu-img as the judge.
//!
//! `TXIMG_TABLE=write` writes the table.

#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use testkit::oracle::oracle;
use testkit::run::{Outcome, Run};
use testkit::shapes;
use testkit::tximg::own;
use testkit::{scene, tximg, words};

/// Formats as the table calls them, and as options do.
const FORMATS: &[(&str, &str)] = &[
    ("raw", "raw"),
    ("qcow2", "qcow2"),
    ("QCOW (version 1)", "qcow"),
    ("QED", "qed"),
    ("VMDK", "vmdk"),
    ("VDI", "vdi"),
    ("VPC (VHD)", "vpc"),
    ("VHDX", "vhdx"),
    ("Parallels", "parallels"),
    ("LUKS", "luks"),
    ("Bochs", "bochs"),
    ("cloop", "cloop"),
    ("dmg", "dmg"),
];

/// Tries whether a format can do something.
type Tried = fn(&Trial<'_>) -> bool;

const COLUMNS: &[(&str, Tried)] = &[
    ("read", |trial| trial.reads()),
    ("made", |trial| trial.makes()),
    ("converted to", |trial| trial.converts()),
    ("written in place", |trial| trial.writes()),
    ("resized", |trial| trial.resizes()),
    ("over another image", |trial| trial.stands()),
    ("rebased", |trial| trial.rebases()),
    ("compressed", |trial| trial.compresses()),
    ("checked", |trial| trial.checks()),
    ("repaired", |trial| trial.repairs()),
];

const BEGIN: &str = "<!-- formats: begin -->\n";
const END: &str = "<!-- formats: end -->";

/// One format in a directory of its own, with `n.raw`, 3 MiB that compress somewhat, and `m.raw`, others.
struct Trial<'a> {
    dir: &'a Path,
    format: &'a str,
}

impl Trial<'_> {
    /// What every command is told besides.
    fn secret(&self) -> &'static str {
        if self.format == "luks" { "--object secret,id=s,data=x" } else { "" }
    }

    /// Options of a new image.
    fn making(&self) -> &'static str {
        if self.format == "luks" { "-o key-secret=s,iter-time=10" } else { "" }
    }

    /// An image as `tximg` and `qemu-img` are told it.
    fn image(&self, name: &str) -> String {
        match self.format {
            "luks" => format!("--image-opts driver=luks,key-secret=s,file.filename={name}"),
            format => format!("-f {format} {name}"),
        }
    }

    fn tximg(&self, command: &str, rest: &str) -> Outcome {
        own(self.dir, &format!("{command} {} {rest}", self.secret()))
    }

    fn stock(&self, command: &str, rest: &str) -> Outcome {
        let line = format!("{command} {} {rest}", self.secret());
        Run::new(&oracle().img, self.dir).args(words::split(&line)).run()
    }

    /// A new image with `n.raw` in it, made by tximg.
    fn converted(&self) -> bool {
        self.tximg("convert", &format!("-f raw -O {} {} n.raw a", self.format, self.making())).success()
    }

    /// Whether qemu-img reads from an image what is in a file.
    fn holds(&self, image: &str, content: &str) -> bool {
        self.stock("convert", &format!("-O raw {} judged.raw", self.image(image))).success()
            && self.stock("compare", &format!("-f raw -F raw judged.raw {content}")).success()
    }

    /// Every shape of the format is read as qemu-img reads it.
    fn reads(&self) -> bool {
        let mut shapes: Vec<_> = shapes::readable()
            .filter(|shape| shape.format == self.format && !shape.traits.huge)
            .map(|shape| (scene::linked(shape), shape.image))
            .collect();
        if self.format == "luks" && self.converted() {
            let dir = scene::empty();
            std::fs::copy(self.dir.join("a"), dir.path().join("a")).expect("scratch files can be copied");
            shapes.push((dir, "a"));
        }
        let same = |(dir, image): &(tempfile::TempDir, &str)| {
            let trial = Trial { dir: dir.path(), format: self.format };
            let line = |to: &str| format!("-O raw {} {to}", trial.image(image));
            trial.stock("convert", &line("stock.raw")).success()
                && trial.tximg("convert", &line("own.raw")).success()
                && trial.stock("compare", "-f raw -F raw stock.raw own.raw").success()
        };
        !shapes.is_empty() && shapes.iter().all(same)
    }

    fn makes(&self) -> bool {
        let made = self.tximg("create", &format!("-q -f {} {} a 3M", self.format, self.making()));
        made.success() && self.stock("info", &self.image("a")).success()
    }

    fn converts(&self) -> bool {
        self.converted() && self.holds("a", "n.raw")
    }

    fn writes(&self) -> bool {
        let line = match self.format {
            "luks" => "--target-image-opts m.raw driver=luks,key-secret=s,file.filename=a".to_owned(),
            format => format!("-O {format} m.raw a"),
        };
        self.converted()
            && self.tximg("convert", &format!("-n -f raw {line}")).success()
            && self.holds("a", "m.raw")
    }

    fn resizes(&self) -> bool {
        // A VPC disk has the next size that has a geometry.
        let size = if self.format == "vpc" { "virtual size: 5.01 MiB" } else { "virtual size: 5 MiB" };
        self.converted()
            && self.tximg("resize", &format!("-q {} 5M", self.image("a"))).success()
            && self.stock("info", &self.image("a")).out().contains(size)
    }

    fn stands(&self) -> bool {
        self.converted()
            && self.tximg("create", &format!("-q -f {0} -b a -F {0} o", self.format)).success()
            && self.holds("o", "n.raw")
    }

    fn rebases(&self) -> bool {
        self.stands()
            && self.tximg("convert", &format!("-f raw -O {} m.raw b", self.format)).success()
            && self.tximg("rebase", &format!("-b b -F {0} -f {0} o", self.format)).success()
            && self.holds("o", "n.raw")
    }

    fn compresses(&self) -> bool {
        let options = if self.format == "vmdk" { "-o subformat=streamOptimized" } else { self.making() };
        let plain = std::fs::metadata(self.dir.join("n.raw")).map_or(0, |plain| plain.len());
        self.tximg("convert", &format!("-c -f raw -O {} {options} n.raw a", self.format)).success()
            && self.holds("a", "n.raw")
            && std::fs::metadata(self.dir.join("a")).is_ok_and(|packed| packed.len() < plain)
    }

    fn checks(&self) -> bool {
        self.converted() && self.tximg("check", &format!("-q {}", self.image("a"))).success()
    }

    fn repairs(&self) -> bool {
        self.converted()
            && self.tximg("check", &format!("-q -r all {}", self.image("a"))).success()
            && self.holds("a", "n.raw")
    }
}

/// The table as it has to be.
fn table() -> String {
    let heads: Vec<_> = COLUMNS.iter().map(|(head, _)| *head).collect();
    let mut table = format!("| | {} |\n|---|{}\n", heads.join(" | "), ":-:|".repeat(heads.len()));
    for (name, format) in FORMATS {
        let cells = COLUMNS.iter().map(|(_, tried)| {
            let dir = scene::empty();
            prepare(dir.path());
            if tried(&Trial { dir: dir.path(), format }) { "✓" } else { "" }
        });
        table.push_str(&format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | ")));
    }
    table
}

/// Makes the files that images are made from.
fn prepare(dir: &Path) {
    let content = |factor: u64| {
        let byte = |at: u64| if (at >> 16).is_multiple_of(3) { 0 } else { ((at * factor) >> 7) as u8 };
        (0..3 << 20).map(byte).collect::<Vec<_>>()
    };
    std::fs::write(dir.join("n.raw"), content(7)).expect("scratch files can be written");
    std::fs::write(dir.join("m.raw"), content(13)).expect("scratch files can be written");
}

#[test]
fn the_table_of_formats_is_true() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let path = tximg::root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md can be read");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has a table of formats");
    let (told, after) = rest.split_once(END).expect("the table of formats ends");
    let found = table();
    if std::env::var_os("TXIMG_TABLE").is_some_and(|value| value == "write") {
        std::fs::write(&path, [before, BEGIN, &found, END, after].concat())
            .expect("README.md can be written");
    } else {
        assert_eq!(told, found, "TXIMG_TABLE=write cargo test -p testkit --test formats writes it");
    }
}
