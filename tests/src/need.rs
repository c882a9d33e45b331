//! Programs that a test needs beside Rust and a C compiler.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where Debian has programs that are on nobody's path but the administrator's.
pub const ADMINISTRATION: &str = "/usr/sbin";

/// Debian's packages with these programs, where they have another name.
const PACKAGES: &[(&str, &str)] = &[
    ("7z", "p7zip-full"),
    ("cryptsetup", "cryptsetup-bin"),
    ("mkfs.ext4", "e2fsprogs"),
    ("nbdcopy", "libnbd-bin"),
    ("qcowinfo", "libqcow-utils"),
    ("qcowmount", "libqcow-utils"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("vhdiinfo", "libvhdi-utils"),
    ("vhdimount", "libvhdi-utils"),
    ("vmdkinfo", "libvmdk-utils"),
    ("vmdkmount", "libvmdk-utils"),
];

/// Whether a program is missing, in which case the test says so aloud and is passed over.
///
/// With `TXIMG_REQUIRE_QEMU` set, as in CI, nothing is passed over: a missing program fails the
/// test.
#[must_use]
pub fn lacks(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain([PathBuf::from(ADMINISTRATION)]).collect();
    let here = |program: &&&str| dirs.iter().any(|dir| is_file(dir, program));
    let Some(missing) = programs.iter().find(|program| !here(program)) else { return false };
    assert!(
        std::env::var_os("TXIMG_REQUIRE_QEMU").is_none(),
        "{missing} is not installed, and TXIMG_REQUIRE_QEMU says that it must be"
    );
    let package = PACKAGES.iter().find(|(program, _)| program == missing).map_or(*missing, |found| found.1);
    skipped(&format!("{missing} is not installed (Debian: {package})"));
    true
}

/// Says aloud that the running test is passed over, and why.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a suite");
    // Not by a print macro: the test harness would keep that to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

fn is_file(dir: &Path, program: &str) -> bool {
    dir.join(program).is_file()
}
