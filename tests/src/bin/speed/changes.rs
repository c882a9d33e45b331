//! The table of the commands that change an image.
//!
//! Each tool works on copies of its own, in turn with the other. What a row needs before each run,
//! and how the image becomes what it was, is done by the tool itself and not measured.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::oracle;
use testkit::script;

use crate::cost::{Cost, measure, median, must_run, syncs};
use crate::{Options, Tools};

/// Ratio of time that is wanted at most.
const TIME: f64 = 1.0;
/// Ratio of bytes written that is wanted at most where bulk data moves.
const BYTES: f64 = 1.07;
/// Syncs that a command may make.
const SYNCS: usize = 4;
/// Peak memory that is wanted at most, in bytes.
const MEMORY: u64 = 128 << 20;

/// Images, and commands that change them, one after another.
struct Group {
    /// What a row is about.
    images: &'static str,
    /// Steps that make each tool's images.
    setup: &'static [&'static str],
    rows: &'static [Change],
}

/// A row of the table. Steps are command lines of the tool, or `cp FROM TO` (a copy of its own of a
/// prepared image), `link NAME` (a prepared image that is only read), `poke …`, `io …` (see
/// [`testkit::script`]).
struct Change {
    name: &'static str,
    before: &'static [&'static str],
    args: &'static str,
    after: &'static [&'static str],
    /// Whether bulk data moves, so that the bytes written are those of the data.
    bulk: bool,
}

const PLAIN: Change = Change { name: "", before: &[], args: "", after: &[], bulk: false };

// Rows of several groups.
const SNAPSHOT_CREATE: Change = Change {
    name: "snapshot -c",
    args: "snapshot -c one base.qcow2",
    after: &["snapshot -d one base.qcow2"],
    ..PLAIN
};

const SNAPSHOT_APPLY: Change = Change {
    name: "snapshot -a",
    before: &["snapshot -c one base.qcow2"],
    args: "snapshot -a one base.qcow2",
    after: &["snapshot -d one base.qcow2"],
    ..PLAIN
};

const SNAPSHOT_DELETE: Change = Change {
    name: "snapshot -d",
    before: &["snapshot -c one base.qcow2"],
    args: "snapshot -d one base.qcow2",
    ..PLAIN
};

const BITMAP_ADD: Change = Change {
    name: "bitmap --add",
    args: "bitmap --add base.qcow2 c",
    after: &["bitmap --remove base.qcow2 c"],
    ..PLAIN
};

const BITMAP_MERGE: Change = Change {
    name: "bitmap --merge",
    before: &[
        "bitmap --add base.qcow2 a",
        "bitmap --add base.qcow2 b",
        "io -f qcow2 base.qcow2 | write -q 0 64k | write -q 5G 64k",
    ],
    args: "bitmap --merge a base.qcow2 b",
    after: &["bitmap --remove base.qcow2 a", "bitmap --remove base.qcow2 b"],
    ..PLAIN
};

const LAZY_REFCOUNTS: Change = Change {
    name: "amend, lazy refcounts",
    args: "amend -o lazy_refcounts=on base.qcow2",
    after: &["amend -o lazy_refcounts=off base.qcow2"],
    ..PLAIN
};

const GROUPS: &[Group] = &[
    Group {
        images: "6 GiB of data",
        setup: &["link disk.qcow2", "link other.qcow2", "cp disk.qcow2 base.qcow2"],
        rows: &[
            Change {
                name: "commit, 512 MiB",
                before: &["cp top.qcow2 top.qcow2"],
                args: "commit -q top.qcow2",
                bulk: true,
                ..PLAIN
            },
            Change {
                name: "rebase onto another base",
                before: &["cp over.qcow2 over.qcow2"],
                args: "rebase -q -f qcow2 -b other.qcow2 -F qcow2 over.qcow2",
                bulk: true,
                ..PLAIN
            },
            Change {
                name: "rebase onto none",
                before: &["cp over.qcow2 over.qcow2"],
                args: "rebase -q -f qcow2 -b '' over.qcow2",
                after: &["cp over.qcow2 over.qcow2"],
                bulk: true,
            },
            SNAPSHOT_CREATE,
            SNAPSHOT_APPLY,
            SNAPSHOT_DELETE,
            Change {
                name: "resize, larger",
                args: "resize -q base.qcow2 4T",
                after: &["resize -q --shrink base.qcow2 6G"],
                ..PLAIN
            },
            BITMAP_ADD,
            BITMAP_MERGE,
            LAZY_REFCOUNTS,
            Change {
                name: "amend, wider refcounts",
                args: "amend -o refcount_bits=32 base.qcow2",
                after: &["amend -o refcount_bits=16 base.qcow2"],
                ..PLAIN
            },
            Change {
                name: "check -r all",
                before: &["damage base.qcow2 1"],
                args: "check -q -r all base.qcow2",
                ..PLAIN
            },
            Change {
                name: "resize, smaller",
                before: &["cp disk.qcow2 base.qcow2"],
                args: "resize -q --shrink base.qcow2 3G",
                ..PLAIN
            },
        ],
    },
    Group {
        images: "6 GiB of data, raw base",
        setup: &["cp disk.raw base.raw"],
        rows: &[Change {
            name: "commit, 512 MiB",
            before: &["cp top-raw.qcow2 top.qcow2"],
            args: "commit -q top.qcow2",
            bulk: true,
            ..PLAIN
        }],
    },
    Group {
        images: "1 TiB of metadata",
        setup: &["cp tera.qcow2 base.qcow2"],
        rows: &[
            Change {
                name: "commit, nothing on top",
                before: &["cp top-tera.qcow2 top.qcow2"],
                args: "commit -q top.qcow2",
                ..PLAIN
            },
            SNAPSHOT_CREATE,
            SNAPSHOT_APPLY,
            SNAPSHOT_DELETE,
            Change {
                name: "resize, larger",
                args: "resize -q base.qcow2 2T",
                after: &["resize -q --shrink base.qcow2 1T"],
                ..PLAIN
            },
            BITMAP_ADD,
            BITMAP_MERGE,
            LAZY_REFCOUNTS,
            Change {
                name: "check -r all",
                before: &["damage base.qcow2 400"],
                args: "check -q -r all base.qcow2",
                ..PLAIN
            },
            Change {
                name: "resize, smaller",
                before: &["cp tera.qcow2 base.qcow2"],
                args: "resize -q --shrink base.qcow2 512G",
                ..PLAIN
            },
            Change {
                name: "amend, wider refcounts",
                before: &["cp tera.qcow2 base.qcow2"],
                args: "amend -o refcount_bits=32 base.qcow2",
                ..PLAIN
            },
        ],
    },
];

/// An overlay that rows begin with.
struct Overlay {
    name: &'static str,
    /// A prepared image that is behind it while it is filled.
    behind: &'static str,
    /// What it says is behind it, and the format of that.
    base: &'static str,
    format: &'static str,
    /// How many pieces of 64 MiB it holds.
    pieces: u64,
}

/// Makes the overlays that the rows begin with, unless an earlier call did.
fn prepare(dir: &Path, qemu_img: &Path) {
    let overlay = |name, behind, base, format, pieces| Overlay { name, behind, base, format, pieces };
    let overlays = [
        overlay("other.qcow2", "disk.qcow2", "disk.qcow2", "qcow2", 8),
        overlay("over.qcow2", "disk.qcow2", "disk.qcow2", "qcow2", 1),
        overlay("top.qcow2", "disk.qcow2", "base.qcow2", "qcow2", 8),
        overlay("top-raw.qcow2", "disk.qcow2", "base.raw", "raw", 8),
        overlay("top-tera.qcow2", "tera.qcow2", "base.qcow2", "qcow2", 0),
    ];
    let wanted = overlays.iter().filter(|overlay| !dir.join(overlay.name).exists());
    wanted.for_each(|overlay| overlay.make(dir, qemu_img));
}

impl Overlay {
    fn make(&self, dir: &Path, qemu_img: &Path) {
        let Self { name, behind, base, format, pieces } = self;
        must_run(qemu_img, dir, &format!("create -q -f qcow2 -b {behind} -F qcow2 part"));
        for piece in 1..=*pieces {
            let at = piece * 512;
            script::run(&format!("io -f qcow2 part | write -q -P {piece} {at}M 64M"), dir);
        }
        must_run(qemu_img, dir, &format!("rebase -u -f qcow2 -b {base} -F {format} part"));
        fs::rename(dir.join("part"), dir.join(name)).expect("an overlay can be renamed");
    }
}

/// Prints the table.
pub fn table(options: &Options, tools: &Tools) {
    prepare(&options.dir, &tools.theirs);
    println!("| work | image | qemu-img | tximg | time | bytes | syncs | memory | |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for group in GROUPS {
        let is_wanted = |row: &&Change| format!("{}, {}", row.name, group.images).contains(&options.only);
        let rows: Vec<&Change> = group.rows.iter().filter(is_wanted).collect();
        if rows.is_empty() {
            continue;
        }
        let theirs = Side::new(&tools.theirs, &options.dir, "theirs");
        let ours = Side::new(&tools.ours, &options.dir, "ours");
        for side in [&theirs, &ours] {
            side.steps(group.setup);
        }
        for row in rows {
            println!("{}", line(row, group.images, options.runs, &theirs, &ours));
        }
    }
}

fn line(row: &Change, images: &str, runs: usize, theirs: &Side, ours: &Side) -> String {
    let (their_syncs, syncs) = (theirs.count_syncs(row), ours.count_syncs(row));
    // What was counted warmed the caches up.
    let pairs: Vec<(Cost, Cost)> = (0..runs).map(|_| (theirs.measure(row), ours.measure(row))).collect();
    let of = |pick: fn(&Cost, &Cost) -> f64| median(pairs.iter().map(|(theirs, ours)| pick(theirs, ours)));
    let time = of(|theirs, ours| ours.seconds / theirs.seconds);
    let bytes = of(|theirs, ours| ours.written as f64 / theirs.written.max(1) as f64);
    let memory = pairs.iter().map(|(_, ours)| ours.peak_rss).max().unwrap_or(0);
    let met = time <= TIME && syncs <= SYNCS && memory <= MEMORY && (!row.bulk || bytes <= BYTES);
    format!(
        "| {} | {images} | {:.3} s | {:.3} s | {time:.2} | {bytes:.3} | {syncs} of {their_syncs} | {} MiB | {} |",
        row.name,
        of(|theirs, _| theirs.seconds),
        of(|_, ours| ours.seconds),
        memory >> 20,
        if met { "met" } else { "missed" }
    )
}

/// A tool and its images, which go with it.
struct Side<'a> {
    program: &'a Path,
    prepared: &'a Path,
    dir: PathBuf,
}

impl<'a> Side<'a> {
    fn new(program: &'a Path, prepared: &'a Path, name: &str) -> Self {
        let dir = prepared.join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a directory can be made");
        Self { program, prepared, dir }
    }

    fn steps(&self, steps: &[&str]) {
        steps.iter().for_each(|step| self.step(step));
    }

    fn step(&self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["cp", from, to] => {
                let _ = fs::remove_file(self.dir.join(to));
                let cp = oracle::in_path("cp").expect("cp");
                must_run(&cp, &self.dir, &format!("--sparse=always ../{from} {to}"));
            }
            ["link", name] => {
                symlink(self.prepared_path(name), self.dir.join(name)).expect("a link can be made");
            }
            ["damage", name, block] => self.damage(name, block),
            ["io", ..] => script::run(step, &self.dir),
            _ => drop(must_run(self.program, &self.dir, step)),
        }
    }

    fn prepared_path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.prepared.join(name)).expect("it was prepared")
    }

    /// Makes some of the counts that a refcount block holds too large, and others too small.
    fn damage(&self, name: &str, block: &str) {
        for entry in 0..200 {
            let value = [0, 2][entry % 2];
            let place = format!("rb[{block}][{}]", 1000 + entry * 7);
            script::run(&format!("poke {name} {place} = {value}"), &self.dir);
        }
    }

    fn count_syncs(&self, row: &Change) -> usize {
        self.steps(row.before);
        let syncs = syncs(self.program, &self.dir, row.args);
        self.steps(row.after);
        syncs
    }

    fn measure(&self, row: &Change) -> Cost {
        self.steps(row.before);
        let cost = measure(self.program, &self.dir, row.args);
        self.steps(row.after);
        cost
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
