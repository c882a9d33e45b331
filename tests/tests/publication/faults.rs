//! System calls that fail.

use crate::bench::{After, Before, Bench, JOBS, said};

/// A call, how it fails, and whether another one can do its work.
struct Fault {
    call: &'static str,
    error: &'static str,
    way_out: WayOut,
}

#[derive(PartialEq, Eq)]
enum WayOut {
    None,
    Another,
}

const FAULTS: [Fault; 10] = [
    Fault { call: "pwrite64", error: "EIO", way_out: WayOut::None },
    Fault { call: "pwrite64", error: "ENOSPC", way_out: WayOut::None },
    Fault { call: "pwrite64", error: "EINVAL", way_out: WayOut::Another },
    Fault { call: "ftruncate", error: "EFBIG", way_out: WayOut::None },
    Fault { call: "fallocate", error: "EOPNOTSUPP", way_out: WayOut::Another },
    Fault { call: "copy_file_range", error: "EXDEV", way_out: WayOut::Another },
    Fault { call: "fsync", error: "EIO", way_out: WayOut::None },
    Fault { call: "linkat", error: "EDQUOT", way_out: WayOut::None },
    Fault { call: "renameat", error: "EIO", way_out: WayOut::None },
    Fault { call: "fchmod", error: "EPERM", way_out: WayOut::None },
];

#[test]
fn a_call_that_fails_leaves_the_old_image() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        for before in [Before::Nothing, Before::OldImage] {
            for Fault { call, error, way_out } in &FAULTS {
                let room = bench.room(before);
                let inject = format!("inject={call}:error={error}:when=1+");
                let output = room.run(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], job);
                let circumstances = format!("{job:?} over {before:?}, {call} failing with {error}");
                let after = room.verdict(job, before, &circumstances);
                let expected = if output.status.success() { After::New } else { After::Old };
                assert_eq!(after, expected, "{circumstances}: {}", said(&output));
                assert!(room.litter().is_empty(), "{circumstances} left {:?}", room.litter());
                if *way_out == WayOut::Another && *call != "pwrite64" {
                    assert!(output.status.success(), "{circumstances}: {}", said(&output));
                }
                if !output.status.success() {
                    assert_eq!(output.status.code(), Some(1), "{circumstances}: {}", said(&output));
                    assert!(said(&output).starts_with("tximg: "), "{circumstances}: {}", said(&output));
                }
            }
        }
    }
}

/// Only the directory's own sync comes after the name: then the new image is there, whole.
#[test]
fn a_failing_sync_never_ends_well() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for job in JOBS {
        for when in 1..4 {
            let room = bench.room(Before::OldImage);
            let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
            let output = room.run(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject], job);
            let circumstances = format!("{job:?}, sync {when} failing");
            let after = room.verdict(job, Before::OldImage, &circumstances);
            if when == 1 {
                assert_eq!(
                    (output.status.code(), after),
                    (Some(1), After::Old),
                    "{circumstances}: {}",
                    said(&output)
                );
            }
        }
    }
}
