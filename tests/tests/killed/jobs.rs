//! The commands that are killed, and the files that they change.

use std::fs;
use std::path::{Path, PathBuf};

use journal::SimFs;
use tempfile::TempDir;
use testkit::judge::{Judge, Opinion};
use testkit::script;

/// A command on some images.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub name: &'static str,
    /// The command line, without the program.
    pub line: &'static str,
    /// What happens before, see [`testkit::script`].
    setup: &'static str,
    /// The images that it changes; a name that does not end in `qcow2` is a raw file's.
    pub images: &'static [&'static str],
}

impl Job {
    /// Whether a program that knows nothing of recovery must find this file old or new: raw data is
    /// changed in place, and a name changes before what says it.
    pub fn promises(&self, image: &str) -> bool {
        image.ends_with("qcow2") && self.name != "mv"
    }
}

/// What most jobs start from: two snapshots, two bitmaps, a base, and a raw file.
const RICH: &str = "
    noise source.raw 300k 3
    img create -q -f qcow2 other.qcow2 3M
    io -f qcow2 other.qcow2 | write -P 8 100k 300k
    img create -q -f qcow2 base.qcow2 2M
    io -f qcow2 base.qcow2 | write -P 1 0 512k
    img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 2M
    io -f qcow2 top.qcow2 | write -P 2 64k 128k
    img snapshot -c s0 top.qcow2
    io -f qcow2 top.qcow2 | write -P 3 100k 256k | write -z 1M 64k
    img snapshot -c s1 top.qcow2
    io -f qcow2 top.qcow2 | write -P 4 700k 64k
";
const MARKED: &str = "
    img create -q -f qcow2 top.qcow2 2M
    img bitmap --add top.qcow2 b0
    io -f qcow2 top.qcow2 | write -P 4 700k 64k
    img bitmap --add -g 4k top.qcow2 b1
    io -f qcow2 top.qcow2 | write -P 5 1M 64k
";
const LEAKY: &str = "
    img create -q -f qcow2 top.qcow2 2M
    io -f qcow2 top.qcow2 | write -P 4 700k 64k
    poke top.qcow2 rb[0][4] = 9
";

/// A base that is a raw file.
const OVER_RAW: &str = "
    noise base.raw 700k 5
    img create -q -f qcow2 -b base.raw -F raw top.qcow2 1M
    io -f qcow2 top.qcow2 | write -P 2 64k 256k | write -z 512k 64k | write -P 3 900k 64k
";
/// An image of the older version.
const OLDER: &str = "
    img create -q -f qcow2 -o compat=0.10 top.qcow2 2M
    io -f qcow2 top.qcow2 | write -P 4 700k 64k
    img snapshot -c s0 top.qcow2
    io -f qcow2 top.qcow2 | write -P 5 600k 164k
";

/// Lines that change three images and make a fourth.
const BATCH: &str = "
    img create -q -f qcow2 other.qcow2 3M
    io -f qcow2 other.qcow2 | write -P 8 100k 300k
    img create -q -f qcow2 base.qcow2 2M
    io -f qcow2 base.qcow2 | write -P 1 0 512k
    img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 2M
    io -f qcow2 top.qcow2 | write -P 2 64k 128k
    text steps 'create -q -f qcow2 -b base.qcow2 -F qcow2 new.qcow2\\x0asnapshot -c s0 base.qcow2\\x0a\
        resize -q other.qcow2 +1M\\x0arebase -F qcow2 -b other.qcow2 top.qcow2\\x0asnapshot -c s0 top.qcow2\\x0a'
";

const fn job(
    name: &'static str,
    line: &'static str,
    setup: &'static str,
    images: &'static [&'static str],
) -> Job {
    Job { name, line, setup, images }
}

const TOP: &[&str] = &["top.qcow2"];
const BOTH: &[&str] = &["top.qcow2", "base.qcow2"];
const NEW: &[&str] = &["new.qcow2"];
const RAW_BASE: &[&str] = &["top.qcow2", "base.raw"];
const SEVERAL: &[&str] = &["top.qcow2", "base.qcow2", "other.qcow2", "new.qcow2"];
const MOVED: &[&str] = &["top.qcow2", "base.qcow2", "moved.qcow2"];

/// Every command that changes an image.
pub const JOBS: &[Job] = &[
    job("create", "create -q -f qcow2 -o preallocation=metadata new.qcow2 4M", RICH, NEW),
    job("convert", "convert -c -O qcow2 top.qcow2 new.qcow2", RICH, NEW),
    job("create over", "create -q -f qcow2 other.qcow2 4M", RICH, &["other.qcow2"]),
    job("convert over", "convert -O qcow2 source.raw other.qcow2", RICH, &["other.qcow2"]),
    job("convert raw", "convert -O raw top.qcow2 source.raw", RICH, &["source.raw"]),
    job("dd", "dd -O qcow2 bs=64k count=4 if=source.raw of=new.qcow2", RICH, NEW),
    job("convert -n", "convert -n -O qcow2 source.raw top.qcow2", RICH, TOP),
    job("snapshot -c", "snapshot -c s2 top.qcow2", RICH, TOP),
    job("snapshot -a", "snapshot -a s0 top.qcow2", RICH, TOP),
    job("snapshot -d", "snapshot -d s0 top.qcow2", RICH, TOP),
    job("rebase", "rebase -F qcow2 -b other.qcow2 top.qcow2", RICH, TOP),
    job("rebase -u", "rebase -u -F qcow2 -b other.qcow2 top.qcow2", RICH, TOP),
    job("rebase -b ''", "rebase -b '' top.qcow2", RICH, TOP),
    job("commit", "commit -q top.qcow2", RICH, BOTH),
    job("commit -d", "commit -q -d top.qcow2", RICH, BOTH),
    job("commit to raw", "commit -q top.qcow2", OVER_RAW, RAW_BASE),
    job("resize", "resize -q top.qcow2 +3M", RICH, TOP),
    job("resize --shrink", "resize -q --shrink top.qcow2 900k", MARKED, TOP),
    job("amend", "amend -o lazy_refcounts=on,refcount_bits=32 top.qcow2", RICH, TOP),
    job("amend compat", "amend -o compat=1.1 top.qcow2", OLDER, TOP),
    job("amend several", "amend -f qcow2 -o size=5M,lazy_refcounts=on,refcount_bits=64 top.qcow2", RICH, TOP),
    job("resize raw", "resize -q -f raw source.raw 200k --shrink", RICH, &["source.raw"]),
    job("bitmap --add", "bitmap --add top.qcow2 b2", MARKED, TOP),
    job("bitmap --remove", "bitmap --remove top.qcow2 b0", MARKED, TOP),
    job("bitmap --merge", "bitmap --merge b1 --disable top.qcow2 b0", MARKED, TOP),
    job("bitmap --clear", "bitmap --clear top.qcow2 b0", MARKED, TOP),
    job("bitmap --disable", "bitmap --disable top.qcow2 b0", MARKED, TOP),
    job("check -r leaks", "check -q -r leaks top.qcow2", LEAKY, TOP),
    job("check -r all", "check -q -r all top.qcow2", LEAKY, TOP),
    job("batch", "batch steps", BATCH, SEVERAL),
    job("mv", "mv base.qcow2 moved.qcow2", RICH, MOVED),
    job("rm", "rm other.qcow2", RICH, &["other.qcow2"]),
];

/// What a job starts from, and what it comes to.
#[derive(Debug)]
pub struct Stage {
    pub job: Job,
    template: TempDir,
    pub old: Vec<Opinion>,
    pub new: Vec<Opinion>,
    /// Names that may be there.
    names: Vec<PathBuf>,
}

impl Stage {
    /// Makes the files of a job.
    pub fn new(job: Job) -> Self {
        let template = TempDir::new().unwrap();
        script::run(job.setup, template.path());
        let old = look(template.path(), job);
        Self { job, template, old, new: Vec::new(), names: Vec::new() }
    }

    /// A copy of the files.
    pub fn room(&self) -> TempDir {
        let room = TempDir::new().unwrap();
        self.furnish(room.path());
        room
    }

    /// Copies the files into a directory.
    pub fn furnish(&self, room: &Path) {
        fs::create_dir_all(room).unwrap();
        for entry in fs::read_dir(self.template.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), room.join(entry.file_name())).unwrap();
        }
    }

    /// Takes what an undisturbed run left for the new state.
    pub fn learn(&mut self, room: &Path) {
        self.new = look(room, self.job);
        self.names = names(room);
        self.names.extend(names(self.template.path()));
        assert_ne!(self.new, self.old, "{} changes nothing", self.job.name);
        for opinion in self.new.iter().flatten() {
            let objection =
                opinion.as_ref().map_or_else(|error| Some(error.clone()), |found| found.objection());
            assert_eq!(objection, None, "{} leaves what is not sound", self.job.name);
        }
    }

    /// Names that should not be there.
    pub fn litter(&self, room: &Path) -> Vec<PathBuf> {
        names(room).into_iter().filter(|name| !self.names.contains(name)).collect()
    }
}

/// What the images of a job are now.
pub fn look(room: &Path, job: Job) -> Vec<Opinion> {
    judged(room, job.images)
}

/// What images in a directory are.
pub fn judged(room: &Path, images: &[impl AsRef<str>]) -> Vec<Opinion> {
    let fs = SimFs::new();
    for name in names(room) {
        fs.add_file(Path::new("/").join(&name), &fs::read(room.join(&name)).unwrap());
    }
    let tree = fs.freeze();
    let judge = |name: &str| {
        let path = Path::new("/").join(name);
        let mut judge = if name.ends_with("qcow2") { Judge::of_qcow2(path) } else { Judge::of_raw(path) };
        judge.judge(&tree).clone()
    };
    images.iter().map(|name| judge(name.as_ref())).collect()
}

/// The names in a directory.
pub fn names(room: &Path) -> Vec<PathBuf> {
    fs::read_dir(room).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}
