//! What a published file takes over from the one it replaces, and what is replaced at all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests look at real files from outside")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use journal::{Draft, DraftOptions, ErrorKind, Fs, OpenOptions, RealFs, SimFs};
use rustix::fs::XattrFlags;

/// A directory with one old file in it.
struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::write(directory.path().join("old"), b"old").unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Every name in the directory, hidden ones too.
    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

fn begin(path: &Path) -> Box<dyn Draft> {
    let draft = RealFs.draft(path, DraftOptions::default()).unwrap();
    draft.disk().write_at(0, b"new").unwrap();
    draft
}

fn replace(path: &Path) {
    let draft = begin(path);
    assert!(draft.is_atomic());
    draft.publish().unwrap();
}

#[test]
fn a_draft_has_no_name_at_all() {
    let scratch = Scratch::new();
    let (new, old) = (begin(&scratch.path("new")), begin(&scratch.path("old")));
    assert_eq!(scratch.names(), ["old"]);
    assert_eq!(new.disk().status().unwrap().links, 0);
    new.publish().unwrap();
    old.publish().unwrap();
    assert_eq!(scratch.names(), ["new", "old"]);
    assert_eq!(fs::read(scratch.path("old")).unwrap(), b"new");
}

#[test]
fn mode_owner_and_attributes_are_kept() {
    let scratch = Scratch::new();
    let path = scratch.path("old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    rustix::fs::setxattr(&path, "user.purpose", b"test", XattrFlags::empty()).unwrap();
    if rustix::process::geteuid().is_root() {
        // Only root can give files away; for others the owner stays the same trivially.
        std::os::unix::fs::chown(&path, Some(65534), Some(65533)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    replace(&path);
    let after = fs::metadata(&path).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(&path, "user.purpose", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"test");
}

#[test]
fn access_lists_are_kept_and_not_invented() {
    /// Owner `rw`, user 1 `r`, group `r`, mask `r`, others nothing.
    const LIST: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
        16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let list_of = |path: &Path| {
        let mut list = [0; 256];
        let len = rustix::fs::getxattr(path, "system.posix_acl_access", &mut list[..]);
        len.map(|len| list[..len].to_vec()).unwrap_or_default()
    };
    let scratch = Scratch::new();
    fs::write(scratch.path("plain"), b"old").unwrap();
    rustix::fs::setxattr(scratch.path("old"), "system.posix_acl_access", &LIST, XattrFlags::empty()).unwrap();
    let directory = scratch.directory.path();
    rustix::fs::setxattr(directory, "system.posix_acl_default", &LIST, XattrFlags::empty()).unwrap();
    for name in ["old", "plain"] {
        let path = scratch.path(name);
        let mode = fs::metadata(&path).unwrap().mode();
        replace(&path);
        assert_eq!(list_of(&path), if name == "old" { LIST.to_vec() } else { Vec::new() }, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().mode(), mode);
    }
}

#[test]
fn symbolic_links_are_followed() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("elsewhere")).unwrap();
    fs::rename(scratch.path("old"), scratch.path("elsewhere/old")).unwrap();
    symlink("elsewhere/old", scratch.path("link")).unwrap();
    symlink("link", scratch.path("link to link")).unwrap();
    replace(&scratch.path("link to link"));
    assert_eq!(scratch.names(), ["elsewhere", "link", "link to link"]);
    assert!(fs::symlink_metadata(scratch.path("link to link")).unwrap().is_symlink());
    assert_eq!(fs::read(scratch.path("elsewhere/old")).unwrap(), b"new");
}

#[test]
fn dangling_links_lead_to_the_new_file() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("elsewhere")).unwrap();
    symlink("elsewhere/missing", scratch.path("link")).unwrap();
    replace(&scratch.path("link"));
    assert_eq!(fs::read(scratch.path("elsewhere/missing")).unwrap(), b"new");
    symlink("loop", scratch.path("loop")).unwrap();
    assert!(RealFs.draft(&scratch.path("loop"), DraftOptions::default()).is_err());
}

#[test]
fn other_names_of_the_file_are_kept() {
    let scratch = Scratch::new();
    fs::hard_link(scratch.path("old"), scratch.path("other")).unwrap();
    let draft = begin(&scratch.path("old"));
    assert!(!draft.is_atomic());
    draft.publish().unwrap();
    assert_eq!(fs::read(scratch.path("other")).unwrap(), b"new");
}

#[test]
fn a_descriptor_is_written_in_place() {
    let scratch = Scratch::new();
    let held = fs::OpenOptions::new().read(true).write(true).open(scratch.path("old")).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let draft = begin(Path::new(&path));
    assert!(!draft.is_atomic());
    draft.publish().unwrap();
    assert_eq!(held.metadata().unwrap().ino(), fs::metadata(scratch.path("old")).unwrap().ino());
    assert_eq!(fs::read(scratch.path("old")).unwrap(), b"new");
}

#[test]
fn a_name_that_appears_meanwhile_is_replaced_unless_it_is_used() {
    let scratch = Scratch::new();
    let path = scratch.path("new");
    let draft = begin(&path);
    fs::write(&path, b"newcomer").unwrap();
    draft.publish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");

    let path = scratch.path("newer");
    let draft = begin(&path);
    fs::write(&path, b"newcomer").unwrap();
    let user = RealFs.open(&path, OpenOptions::READ).unwrap();
    user.lock(journal::Claim::reader()).unwrap();
    assert_eq!(draft.publish().unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(fs::read(&path).unwrap(), b"newcomer");
    assert_eq!(scratch.names(), ["new", "newer", "old"]);
}

#[test]
fn what_cannot_be_created_says_why() {
    let scratch = Scratch::new();
    let reason = |path: PathBuf| RealFs.draft(&path, DraftOptions::default()).unwrap_err().reason();
    assert_eq!(reason(scratch.path("old/x")), "Not a directory");
    assert_eq!(reason(scratch.path("missing/")), "Is a directory");
    assert_eq!(reason(scratch.path(".")), "Is a directory");
    assert_eq!(reason(PathBuf::new()), "No such file or directory");
    assert_eq!(reason(scratch.path(&"x".repeat(256))), "File name too long");
    assert_eq!(scratch.names(), ["old"]);
}

#[test]
fn the_longest_name_can_be_replaced() {
    let scratch = Scratch::new();
    let path = scratch.path(&"x".repeat(255));
    replace(&path);
    replace(&path);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn hints_that_the_filesystem_does_not_know_do_no_harm() {
    let scratch = Scratch::new();
    let options = DraftOptions { nocow: true, extent_size_hint: Some(1 << 20), volatile: true };
    let draft = RealFs.draft(&scratch.path("new"), options).unwrap();
    draft.disk().write_at(0, b"new").unwrap();
    draft.disk().sync().unwrap();
    draft.publish().unwrap();
    assert_eq!(fs::read(scratch.path("new")).unwrap(), b"new");
}

#[test]
fn character_devices_are_written_in_place() {
    let null = RealFs.draft(Path::new("/dev/null"), DraftOptions::default()).unwrap();
    assert!(!null.is_atomic());
    null.disk().write_at(0, b"gone").unwrap();
    null.publish().unwrap();
    let full = RealFs.draft(Path::new("/dev/full"), DraftOptions::default()).unwrap();
    assert_eq!(full.disk().write_at(0, b"x").unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(full.disk().set_len(1).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn copies_are_offloaded_between_real_files() {
    let scratch = Scratch::new();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(scratch.path("source"), &bytes).unwrap();
    let source = RealFs.open(&scratch.path("source"), OpenOptions::READ).unwrap();
    let target = RealFs.open(&scratch.path("old"), OpenOptions::WRITE).unwrap();
    let mut done = 0;
    while done < 200_000 {
        done += target.copy_from(done, &*source, 100_000 + done, 200_000 - done).unwrap();
    }
    assert!(fs::read(scratch.path("old")).unwrap() == bytes[100_000..]);
    assert_eq!(target.copy_from(0, &*source, 300_000, 10).unwrap(), 0, "nothing past the end");
    let simulated = SimFs::new();
    simulated.add_file("/a", &bytes);
    let no_file = simulated.open(Path::new("/a"), OpenOptions::READ).unwrap();
    let error = target.copy_from(0, &*no_file, 0, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn paths_are_resolved_as_far_as_they_exist() {
    let scratch = Scratch::new();
    symlink("old", scratch.path("link")).unwrap();
    let real = scratch.directory.path().canonicalize().unwrap();
    assert_eq!(RealFs.resolve(&scratch.path("link")).unwrap(), real.join("old"));
    assert_eq!(RealFs.resolve(&scratch.path("missing/deep")).unwrap(), real.join("missing/deep"));
}
