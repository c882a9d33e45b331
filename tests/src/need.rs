//! Programs that a test needs beside Rust and a C compiler.

use std::io::Write;
use std::path::Path;

/// Whether a program is missing, in which case the test says so aloud and is passed over.
///
/// With `TXIMG_REQUIRE_QEMU` set, as in CI, nothing is passed over: a missing program fails the
/// test.
#[must_use]
pub fn lacks(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here =
        |program: &&&str| std::env::split_paths(&path).any(|dir: std::path::PathBuf| is_file(&dir, program));
    let Some(missing) = programs.iter().find(|program| !here(program)) else { return false };
    assert!(
        std::env::var_os("TXIMG_REQUIRE_QEMU").is_none(),
        "{missing} is not installed, and TXIMG_REQUIRE_QEMU says that it must be"
    );
    skipped(&format!("{missing} is not installed (Debian: qemu-utils, e2fsprogs, strace)"));
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
