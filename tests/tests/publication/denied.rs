//! Missing permissions, as a user who is not root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use testkit::oracle::oracle;

use crate::bench::{After, Before, Bench, JOBS, Job, Room, said};

const NOBODY: u32 = 65534;

/// The wrapper that drops root's privileges, where there are any.
fn as_nobody() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    } else {
        &[]
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives the room's files to the user who will run the command.
fn give_away(room: &Room<'_>) {
    if rustix::process::geteuid().is_root() {
        for path in [room.path().to_owned(), room.target()] {
            if path.exists() {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
    }
}

fn run(room: &Room<'_>, job: Job) -> Output {
    room.run(as_nobody(), job)
}

#[test]
fn a_new_name_needs_a_writable_directory() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        let room = bench.room(Before::Nothing);
        give_away(&room);
        set_mode(room.path(), 0o555);
        let output = run(&room, job);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("Permission denied"), "{job:?}: {}", said(&output));
        assert_eq!(room.verdict(job, Before::Nothing, "unwritable directory"), After::Old);
    }
}

#[test]
fn a_file_that_must_not_be_written_is_kept() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        let room = bench.room(Before::OldImage);
        give_away(&room);
        set_mode(&room.target(), 0o444);
        let output = run(&room, job);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("Permission denied"), "{job:?}: {}", said(&output));
        assert_eq!(room.verdict(job, Before::OldImage, "unwritable file"), After::Old);
        assert!(room.litter().is_empty());
    }
}

#[test]
fn a_file_in_an_unwritable_directory_is_written_in_place() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        let room = bench.room(Before::OldImage);
        give_away(&room);
        set_mode(room.path(), 0o555);
        let inode = fs::metadata(room.target()).unwrap().ino();
        let output = run(&room, job);
        assert!(output.status.success(), "{job:?}: {}", said(&output));
        assert_eq!(room.verdict(job, Before::OldImage, "unwritable directory"), After::New);
        assert_eq!(fs::metadata(room.target()).unwrap().ino(), inode);
    }
}

/// A replacement would belong to somebody else, or is forbidden by the sticky bit.
#[test]
fn another_users_file_stays_his() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        testkit::need::skipped("only root can make files of other users");
        return;
    }
    let bench = Bench::new();
    for mode in [0o777, 0o1777] {
        for job in JOBS {
            let room = bench.room(Before::OldImage);
            set_mode(room.path(), mode);
            set_mode(&room.target(), 0o666);
            let before = fs::metadata(room.target()).unwrap();
            let output = run(&room, job);
            assert!(output.status.success(), "{job:?}: {}", said(&output));
            assert_eq!(room.verdict(job, Before::OldImage, "another user's file"), After::New);
            let after = fs::metadata(room.target()).unwrap();
            assert_eq!((after.ino(), after.uid(), after.mode()), (before.ino(), before.uid(), before.mode()));
        }
    }
}

#[test]
fn new_files_get_the_mode_that_qemu_img_gives() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for mask in ["000", "022", "027", "077"] {
        let room = bench.room(Before::Nothing);
        let masked = format!("umask {mask}; exec \"$0\" \"$@\"");
        let output = room.run(&["sh", "-c", &masked], JOBS[2]);
        assert!(output.status.success(), "{}", said(&output));
        let status = Command::new("sh")
            .args(["-c", &masked])
            .arg(&oracle().img)
            .args(["create", "-q", "-f", "qcow2", "stock", "1M"])
            .current_dir(room.path())
            .status()
            .unwrap();
        assert!(status.success());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode();
        assert_eq!(mode(&room.target()), mode(&room.path().join("stock")), "umask {mask}");
    }
}
