//! Targets that exist and are kept (`-n`), and devices.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::oracle::oracle;
use testkit::run::Run;
use testkit::script;
use testkit::tximg::binary;

use crate::bench::{Before, Bench, Room};

/// Converts the source into `stock` by the oracle and into `ours`, then compares the two.
fn compare_conversions(room: &Room<'_>, flags: &str, format: &str, [stock, ours]: [&str; 2]) {
    let run = |program: &Path, line: String| {
        let outcome = Run::new(program, room.path()).named("qemu-img").args(line.split(' ')).run();
        assert!(outcome.success(), "{}: {line}: {}{}", program.display(), outcome.out(), outcome.err());
        outcome.out()
    };
    let convert =
        |target: &str| format!("convert {flags} -f raw -O {format} source.raw {target}").replace("  ", " ");
    run(&oracle().img, convert(stock));
    run(binary(), convert(ours));
    let compared = run(&oracle().img, format!("compare -f {format} -F {format} {stock} {ours}"));
    assert_eq!(compared, "Images are identical.\n", "{flags} {format}");
}

#[test]
fn what_stands_after_the_source_is_kept() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for format in ["raw", "qcow2"] {
        for sparse in ["-n", "-n -S 0"] {
            let room = bench.room(Before::Nothing);
            for name in ["stock", "ours"] {
                let make = format!(
                    "img create -q -f {format} {name} 26M
                    io -f {format} {name} | write -P 9 0 26M"
                );
                script::run(&make, room.path());
            }
            compare_conversions(&room, sparse, format, ["stock", "ours"]);
        }
    }
}

/// A loop device, until it is dropped.
struct Loop(PathBuf);

impl Loop {
    /// A device, where one can be had.
    fn over(file: &Path) -> Option<Self> {
        let reason = match Command::new("losetup").args(["--find", "--show"]).arg(file).output() {
            Ok(output) if output.status.success() => {
                return Some(Self(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("losetup: {error}"),
        };
        testkit::need::skipped(&reason);
        None
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn devices_get_the_same_bytes_and_keep_the_rest() {
    if testkit::need::lacks(&["qemu-img", "qemu-io", "strace"]) {
        return;
    }
    let bench = Bench::new();
    for format in ["raw", "qcow2"] {
        for flags in ["", "-n -S 0", "-c"] {
            if (format, flags) == ("raw", "-c") {
                continue;
            }
            let room = bench.room(Before::Nothing);
            script::run("noise stock 30M 3\nnoise ours 30M 3", room.path());
            let devices = ["stock", "ours"].map(|name| Loop::over(&room.path().join(name)));
            let [Some(stock), Some(ours)] = devices else { return };
            if flags.contains("-n") && format == "qcow2" {
                for device in [&stock, &ours] {
                    script::run(&format!("img create -q -f qcow2 {} 25M", device.name()), room.path());
                }
            }
            compare_conversions(&room, flags, format, [stock.name(), ours.name()]);
        }
    }
}
