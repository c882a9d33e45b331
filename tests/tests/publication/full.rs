//! Full disks.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::bench::{After, Before, Bench, JOBS, said};

/// A small filesystem in memory, until it is dropped.
struct Small {
    directory: TempDir,
}

impl Small {
    /// Needs root.
    fn mount(size: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tximg-test"])
            .arg(directory.path())
            .output()
            .expect("mount can be started");
        mount.status.success().then_some(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_filesystem_keeps_the_old_image() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        for before in [Before::Nothing, Before::OldImage] {
            let Some(small) = Small::mount("2560k") else {
                testkit::need::skipped("no small filesystem can be mounted here (root can)");
                return;
            };
            let room = bench.room_at(small.path(), before);
            let output = room.run(&[], job);
            let circumstances = format!("{job:?} over {before:?} on a full filesystem");
            let after = room.verdict(job, before, &circumstances);
            assert_eq!(
                (output.status.code(), after),
                (Some(1), After::Old),
                "{circumstances}: {}",
                said(&output)
            );
            assert!(said(&output).contains("No space left on device"), "{circumstances}: {}", said(&output));
            assert!(room.litter().is_empty(), "{circumstances} left {:?}", room.litter());
        }
    }
}

#[test]
fn a_limit_on_file_sizes_keeps_the_old_image() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        for before in [Before::Nothing, Before::OldImage] {
            let room = bench.room(before);
            let limited = "ulimit -f 1024; exec \"$0\" \"$@\"";
            let output = room.run(&["sh", "-c", limited], job);
            let circumstances = format!("{job:?} over {before:?} with a file size limit");
            let after = room.verdict(job, before, &circumstances);
            assert!(!output.status.success(), "{circumstances}");
            assert_eq!(after, After::Old, "{circumstances}: {}", said(&output));
            assert!(room.litter().is_empty(), "{circumstances} left {:?}", room.litter());
        }
    }
}
