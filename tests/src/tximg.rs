//! The program under test.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::oracle::in_path;
use crate::run::{Outcome, Run, SMALL_ADDRESS_SPACE};
use crate::{scene, words};

/// The program under test, by a symbolic link named `qemu-img`.
///
/// `TXIMG_BIN` names it; without that it is built from this workspace.
pub fn tximg() -> &'static Path {
    static LINK: OnceLock<PathBuf> = OnceLock::new();
    LINK.get_or_init(|| {
        let link = scene::scratch().join("bin/qemu-img");
        let dir = link.parent().expect("the link has a parent");
        std::fs::create_dir_all(dir).expect("the scratch directory can be written");
        symlink(binary(), &link).expect("the scratch directory can be written");
        link
    })
}

/// The program under test itself.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TXIMG_BIN") {
        Some(name) if Path::new(&name).components().count() == 1 => {
            let name = name.to_string_lossy();
            in_path(&name).unwrap_or_else(|| panic!("TXIMG_BIN is {name}, which is not in PATH"))
        }
        Some(path) => std::path::absolute(path).expect("there is a working directory"),
        None => build(),
    })
}

/// Runs a command line of it under its own name, in little memory.
pub fn own(dir: &Path, line: &str) -> Outcome {
    let run = Run::new(binary(), dir).named("tximg").address_space(SMALL_ADDRESS_SPACE);
    run.args(words::split(line)).run()
}

/// Builds `tximg` in the profile and target directory of the running test.
fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("the running test has a path");
    let profile_dir = exe.ancestors().nth(2).expect("tests run from <target>/<profile>/deps");
    let target_dir = profile_dir.parent().expect("tests run from <target>/<profile>/deps");
    let profile = if cfg!(debug_assertions) { "test" } else { "release" };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--package",
            "cli",
            "--bin",
            "tximg",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target_dir)
        .current_dir(root())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "tximg does not build");
    profile_dir.join("tximg")
}

/// The project's root directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in a workspace")
}
