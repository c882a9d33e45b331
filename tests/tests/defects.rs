//! Defects of qemu-img 10.0 that lose data without a word, and that tximg must not have.
//!
//! Each test is named after one. Where a kill brings it about, the command is killed as it enters
//! each system call that changes a file: stock qemu-img must then see the old image or the new
//! one, and after the next command of tximg the same is true. The same kills of qemu-img itself
//! are counted and told, not judged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::cataloged::Scene;
use testkit::oracle::{in_path, oracle};
use testkit::script;
use testkit::tximg::binary;

/// System calls that change files or names, or make them durable.
const CALLS: &[&str] = &[
    "pwrite64",
    "pwritev",
    "copy_file_range",
    "fallocate",
    "ftruncate",
    "fdatasync",
    "fsync",
    "linkat",
    "renameat",
    "unlinkat",
];
/// The calls of a kind at which a command is killed, or fails: all of the first, then fewer.
const MOMENTS: [u32; 11] = [1, 2, 3, 4, 5, 6, 7, 9, 12, 20, 50];

/// What an image shows: its size, bitmaps, content, and so on.
type Face = Vec<String>;

/// A command on files.
struct Case {
    /// What happens before, see [`testkit::script`].
    setup: &'static str,
    line: &'static str,
    /// What the user must find old or new.
    face: fn(&Path) -> Face,
}

impl Case {
    fn room(&self) -> TempDir {
        let room = TempDir::new().unwrap();
        script::run(self.setup, room.path());
        room
    }

    /// The files, as often as they are needed.
    fn copy_of(&self, template: &TempDir) -> TempDir {
        let room = TempDir::new().unwrap();
        for entry in fs::read_dir(template.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), room.path().join(entry.file_name())).unwrap();
        }
        room
    }

    fn run(&self, program: &Path, room: &Path, inject: Option<&str>) -> Output {
        let mut words = vec![program.as_os_str().to_owned()];
        if let Some(inject) = inject {
            let strace = ["-f", "-qq", "-o", "/dev/null", "-e", inject].map(Into::into);
            words.splice(0..0, [in_path("strace").unwrap().into_os_string()].into_iter().chain(strace));
        }
        words.extend(testkit::words::split(self.line));
        Command::new(&words[0]).args(&words[1..]).current_dir(room).env("TXIMG_CATALOG", "").output().unwrap()
    }

    /// Kills a program at each call; tells how often, and how often it left something that is neither
    /// old nor new.
    fn kill(&self, program: &Path) -> (u32, Vec<String>) {
        let template = self.room();
        let whole = self.copy_of(&template);
        assert!(self.run(program, whole.path(), None).status.success(), "{} fails undisturbed", self.line);
        let known = [(self.face)(template.path()), (self.face)(whole.path())];
        assert_ne!(known[0], known[1], "{} changes nothing", self.line);
        let (mut kills, mut wrong) = (0, Vec::new());
        for call in CALLS {
            for moment in MOMENTS {
                let room = self.copy_of(&template);
                let inject = format!("inject={call}:signal=SIGKILL:when={moment}");
                if self.run(program, room.path(), Some(&inject)).status.success() {
                    break;
                }
                kills += 1;
                let mut faces = vec![("", (self.face)(room.path()))];
                if program == binary() {
                    let _ = self.recover(room.path());
                    faces.push((" after recovery", (self.face)(room.path())));
                }
                let is_wrong = |(_, face): &&(&str, Face)| !known.contains(face);
                let torn = faces.iter().filter(is_wrong);
                wrong.extend(torn.map(|(when, face)| format!("{call} {moment}{when}: {face:?}")));
            }
        }
        (kills, wrong)
    }

    fn recover(&self, room: &Path) -> Output {
        let mut recover = Command::new(binary());
        recover.args(["recover", "--scan", "."]).current_dir(room).env("TXIMG_CATALOG", "");
        recover.output().unwrap()
    }

    /// Kills tximg, which must be right, and qemu-img, of which it is told.
    fn test(&self) {
        if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
            return;
        }
        let (kills, wrong) = self.kill(binary());
        assert!(wrong.is_empty(), "{} wrong of {kills} kills: {wrong:#?}", wrong.len());
        assert!(kills > 5, "{} was killed only {kills} times", self.line);
        let (stock_kills, stock_wrong) = self.kill(&oracle().img);
        tell(&format!(
            "{}: neither old nor new after {} of {stock_kills} kills of qemu-img, 0 of {kills} of tximg",
            self.line,
            stock_wrong.len()
        ));
    }
}

/// Says something in spite of the test harness.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// What qemu-img says, whether it succeeds or not.
fn stock(room: &Path, args: &[&str]) -> String {
    let output = Command::new(&oracle().img).args(args).current_dir(room).output().unwrap();
    format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stdout))
}

/// A hash of what a guest reads, in the image or in a snapshot of it.
fn content(room: &Path, image: &str, snapshot: Option<&str>) -> String {
    let selector = snapshot.map(|name| format!("snapshot.name={name}"));
    let mut args = vec!["convert", "-O", "raw"];
    args.extend(selector.iter().flat_map(|selector| ["-l", selector.as_str()]));
    args.extend([image, ".content"]);
    let path = room.join(".content");
    let _ = fs::remove_file(&path);
    stock(room, &args);
    let bytes = fs::read(&path);
    let _ = fs::remove_file(&path);
    bytes
        .map_or_else(|_| "unreadable".to_owned(), |bytes| format!("{} {}", bytes.len(), blake3::hash(&bytes)))
}

/// The check's result: leaks are wrong, too.
fn check(room: &Path) -> String {
    let said = stock(room, &["check", "-q", "top.qcow2"]);
    said.split(' ').next().unwrap_or_default().to_owned()
}

fn plain_face(room: &Path) -> Face {
    vec![content(room, "top.qcow2", None), check(room)]
}

#[test]
fn rebase_writes_the_header_before_the_l2_tables() {
    let case = Case {
        setup: "
            img create -q -f qcow2 base.qcow2 4M
            io -f qcow2 base.qcow2 | write -P 1 0 2M
            img create -q -f qcow2 other.qcow2 4M
            io -f qcow2 other.qcow2 | write -P 9 1M 2M
            img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 4M
            io -f qcow2 top.qcow2 | write -P 2 64k 64k
        ",
        line: "rebase -F qcow2 -b other.qcow2 top.qcow2",
        face: |room| {
            let info = stock(room, &["info", "--output=json", "-U", "top.qcow2"]);
            let names_other = info.contains("\"backing-filename\": \"other.qcow2\"").to_string();
            [plain_face(room), vec![names_other]].concat()
        },
    };
    case.test();
}

#[test]
fn snapshot_apply_leaves_copied_flags_on_shared_clusters() {
    let case = Case {
        setup: "
            img create -q -f qcow2 top.qcow2 4M
            io -f qcow2 top.qcow2 | write -P 1 0 1M
            img snapshot -c s1 top.qcow2
            io -f qcow2 top.qcow2 | write -P 2 512k 1M
        ",
        line: "snapshot -a s1 top.qcow2",
        face: |room| {
            // A guest goes on writing: the snapshot must not notice.
            let face = plain_face(room);
            fs::copy(room.join("top.qcow2"), room.join("copy.qcow2")).unwrap();
            let write = ["-f", "qcow2", "-c", "write -q -P 7 0 2M", "copy.qcow2"];
            let _ = Command::new(&oracle().io).args(write).current_dir(room).output().unwrap();
            let kept = content(room, "copy.qcow2", Some("s1"));
            fs::remove_file(room.join("copy.qcow2")).unwrap();
            [face, vec![kept]].concat()
        },
    };
    case.test();
}

#[test]
fn shrinking_destroys_data_before_the_size_changes() {
    let case = Case {
        setup: "
            img create -q -f qcow2 top.qcow2 4M
            io -f qcow2 top.qcow2 | write -P 1 0 1M | write -P 2 3M 1M
        ",
        line: "resize -q --shrink top.qcow2 2M",
        face: plain_face,
    };
    case.test();
}

#[test]
fn snapshot_apply_to_another_size_destroys_data_first() {
    let case = Case {
        setup: "
            img create -q -f qcow2 top.qcow2 4M
            img snapshot -c small top.qcow2
            img resize -q top.qcow2 8M
            io -f qcow2 top.qcow2 | write -P 7 4M 4M
        ",
        line: "snapshot -a small top.qcow2",
        face: plain_face,
    };
    case.test();
}

#[test]
fn bitmaps_are_lost_by_a_kill() {
    let case = Case {
        setup: "
            img create -q -f qcow2 top.qcow2 4M
            img bitmap --add top.qcow2 b0
            io -f qcow2 top.qcow2 | write -P 1 0 1M
            img bitmap --add top.qcow2 b1
        ",
        line: "bitmap --merge b0 --disable top.qcow2 b1",
        face: |room| {
            let info = stock(room, &["info", "-U", "top.qcow2"]);
            let (_, rest) = info.split_once("bitmaps:").unwrap_or_default();
            let (bitmaps, _) = rest.split_once("refcount bits").unwrap_or_default();
            let bitmaps = bitmaps.to_owned();
            [plain_face(room), vec![bitmaps]].concat()
        },
    };
    case.test();
}

/// Commands that end with success under qemu-img although their last flush failed.
const FLUSHED: &[&str] = &[
    "rebase -F qcow2 -b other.qcow2 top.qcow2",
    "snapshot -c s1 top.qcow2",
    "convert -n -O qcow2 other.qcow2 top.qcow2",
    "resize -q top.qcow2 3M",
];

#[test]
fn success_is_told_after_a_failed_flush() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    for line in FLUSHED {
        let case = Case {
            setup: "
                img create -q -f qcow2 base.qcow2 2M
                io -f qcow2 base.qcow2 | write -P 1 0 1M
                img create -q -f qcow2 other.qcow2 2M
                io -f qcow2 other.qcow2 | write -P 9 1M 512k
                img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 2M
                io -f qcow2 top.qcow2 | write -P 2 64k 64k
            ",
            line,
            face: |room| {
                let list = stock(room, &["snapshot", "-l", "top.qcow2"]).lines().count().to_string();
                [plain_face(room), vec![list]].concat()
            },
        };
        let lies = lies(&case, binary());
        assert!(lies.is_empty(), "{line}: {lies:#?}");
        let stock_lies = self::lies(&case, &oracle().img);
        tell(&format!("{line}: qemu-img ends with success {} times without being done", stock_lies.len()));
    }
}

/// Calls whose failure a program does not tell: it ends with success, and the image is not new; or it
/// fails, and the image is neither.
fn lies(case: &Case, program: &Path) -> Vec<String> {
    let template = case.room();
    let whole = case.copy_of(&template);
    assert!(case.run(program, whole.path(), None).status.success(), "{} fails undisturbed", case.line);
    let (old, new) = ((case.face)(template.path()), (case.face)(whole.path()));
    let mut lies = Vec::new();
    for (call, error) in [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fdatasync", "EIO"), ("fsync", "EIO")]
    {
        for moment in MOMENTS.into_iter().step_by(2) {
            let room = case.copy_of(&template);
            let inject = format!("inject={call}:error={error}:when={moment}+");
            let is_done = case.run(program, room.path(), Some(&inject)).status.success();
            if program == binary() {
                let _ = case.recover(room.path());
            }
            let face = (case.face)(room.path());
            let is_lie = if is_done { face != new } else { face != new && face != old };
            if is_lie {
                lies.push(format!("{call} {moment}+ fails with {error}, success: {is_done}: {face:?}"));
            }
            if is_done && moment > 6 {
                break;
            }
        }
    }
    lies
}

#[test]
fn commit_destroys_the_siblings_of_an_image() {
    if testkit::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scene = Scene::new();
    script::run(
        "
            img create -q -f qcow2 base.qcow2 2M
            io -f qcow2 base.qcow2 | write -P 1 0 1M
            img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
            io -f qcow2 top.qcow2 | write -P 2 64k 64k
            img create -q -f qcow2 -b base.qcow2 -F qcow2 sibling.qcow2
        ",
        &scene.images(),
    );
    scene.run("catalog scan .");
    let sibling = || content(&scene.images(), "sibling.qcow2", None);
    let before = (sibling(), scene.read("base.qcow2"), scene.read("top.qcow2"));
    let refused = scene.run("commit top.qcow2");
    assert!(!refused.success() && refused.err().contains("sibling.qcow2"), "{}", refused.err());
    assert!((sibling(), scene.read("base.qcow2"), scene.read("top.qcow2")) == before, "nothing was touched");
    scene.out("commit -q --force top.qcow2");
    assert_ne!(sibling(), before.0, "this is what it was asked to do");
}
