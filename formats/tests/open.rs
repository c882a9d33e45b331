//! Opening chains: who is asked, what is locked, where it ends, and what is read.

#![allow(clippy::disallowed_methods, reason = "the test makes image files behind the library's back")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Mutex;

use common::{Scratch, qemu_img, qemu_io};
use formats::{
    Error, ErrorKind, Gate, Image, ImplicitFile, OpenContext, OpenFlags, PermissiveGate, Result, engine,
    open_filename, open_image_opts,
};
use journal::{Claim, Fs, OpenOptions, RealFs};

/// Makes a qcow2 image; `arguments` stand before its name, `size` after it.
fn create(scratch: &Scratch, name: &str, arguments: &[&str], size: &[&str]) -> String {
    let path = scratch.path(name).to_str().unwrap().to_owned();
    let output = qemu_img(&[&["create", "-q", "-f", "qcow2"], arguments, &[&path], size].concat());
    assert!(output.status.success(), "{output:?}");
    path
}

fn open(name: &str, flags: OpenFlags) -> Result<Image> {
    let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
    open_filename(&context, OsStr::new(name), None, flags)
}

fn described(text: String) -> Result<Image> {
    let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
    open_image_opts(&context, &OsString::from(text), OpenFlags::READ)
}

fn content(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0xee; image.virtual_size() as usize];
    engine::read(image, 0, &mut bytes).unwrap();
    bytes
}

/// Writes down what it is asked, and refuses one role.
#[derive(Debug, Default)]
struct Recorder {
    asked: Mutex<Vec<(String, String, String)>>,
    refused: Option<&'static str>,
}

impl Gate for Recorder {
    fn check(&self, file: ImplicitFile<'_>) -> Result<()> {
        let asked = (file.named_by.to_owned(), file.role.to_owned(), file.name.to_owned());
        self.asked.lock().unwrap().push(asked);
        if self.refused == Some(file.role) {
            return Err(Error::new(ErrorKind::Refused, "Not allowed"));
        }
        Ok(())
    }
}

#[test]
fn files_that_an_image_names_pass_the_gate() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let data = scratch.path("data").to_str().unwrap().to_owned();
    let base = create(&scratch, "base", &["-o", &format!("data_file={data}")], &["1M"]);
    let top = create(&scratch, "top", &["-b", "base", "-F", "qcow2"], &[]);
    let open = |gate: &Recorder| {
        let context = OpenContext { fs: &RealFs, gate, secrets: None };
        open_filename(&context, OsStr::new(&top), None, OpenFlags::READ).map(|_| ())
    };
    let gate = Recorder::default();
    open(&gate).unwrap();
    let asked = [(&*top, "backing", "base"), (&*base, "data-file", &*data)];
    let asked = asked.map(|(by, role, name)| (by.to_owned(), role.to_owned(), name.to_owned()));
    assert_eq!(*gate.asked.lock().unwrap(), asked);

    let strict = Recorder { refused: Some("data-file"), ..Recorder::default() };
    let error = open(&strict).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.report(), format!("Could not open '{top}': Could not open backing file: Not allowed"));

    // To look at an image touches nothing that it names.
    let nobody = Recorder::default();
    let context = OpenContext { fs: &RealFs, gate: &nobody, secrets: None };
    let info = OpenFlags { backing: false, data: false, ..OpenFlags::READ };
    open_filename(&context, OsStr::new(&top), None, info).unwrap();
    open_filename(&context, OsStr::new(&base), None, info).unwrap();
    assert!(nobody.asked.lock().unwrap().is_empty());
}

#[test]
fn a_chain_is_read_through_all_its_images() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    create(&scratch, "0", &[], &["1M"]);
    qemu_io(&path("0"), &["write -P 1 0 64k", "write -P 1 512k 64k"]);
    for layer in 1..8 {
        create(&scratch, &layer.to_string(), &["-b", &(layer - 1).to_string(), "-F", "qcow2"], &[]);
    }
    qemu_io(&path("7"), &["write -P 7 512k 64k"]);
    let image = open(&path("7"), OpenFlags::READ).unwrap();
    let bytes = content(&image);
    assert!(bytes[..65536].iter().all(|byte| *byte == 1));
    assert!(bytes[512 << 10..576 << 10].iter().all(|byte| *byte == 7));
    assert!(bytes[576 << 10..].iter().all(|byte| *byte == 0));
    assert_eq!(std::iter::successors(Some(&image), |image| image.backing().map(|below| &**below)).count(), 8);
    assert_eq!(image.full_backing_name(), Some(scratch.path("6").as_os_str()));
}

#[test]
fn a_loop_has_an_end() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let one = create(&scratch, "one", &["-u", "-b", "two", "-F", "qcow2"], &["1M"]);
    let two = create(&scratch, "two", &["-u", "-b", "one", "-F", "qcow2"], &["1M"]);
    let error = open(&one, OpenFlags::READ).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.report().ends_with(&format!("Backing file '{two}' creates an infinite loop.")),
        "{error:?}"
    );
}

#[test]
fn locks_are_respected_in_qemus_way() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let name = &*create(&scratch, "image", &[], &["1M"]);
    let path = scratch.path("image");
    let writer = RealFs.open(&path, OpenOptions::WRITE).unwrap();
    writer.lock(Claim::writer()).unwrap();

    let error = open(name, OpenFlags::READ).unwrap_err();
    assert_eq!(error.report(), format!("Could not open '{name}': Failed to get shared \"write\" lock"));
    assert_eq!(error.hint(), Some(&*format!("Is another process using the image [{name}]?")));
    assert!(open(name, OpenFlags { force_share: true, ..OpenFlags::READ }).is_ok());
    assert!(described(format!("driver=qcow2,file.filename={name},file.locking=off")).is_ok());

    let raw = |flags| {
        let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
        open_filename(&context, path.as_os_str(), Some("raw"), flags)
    };
    assert!(raw(OpenFlags::READ).is_ok(), "raw alone denies nothing");
    assert!(raw(OpenFlags { deny_writers: true, ..OpenFlags::READ }).is_err());

    writer.lock(Claim::none()).unwrap();
    let reader = open(name, OpenFlags::READ).unwrap();
    assert!(writer.lock(Claim::writer()).is_err());
    drop(reader);
    writer.lock(Claim::writer()).unwrap();
}

#[test]
fn raw_shows_a_part_of_a_file_or_of_another_image() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("bytes");
    let bytes: Vec<u8> = (0..3000_u32).map(|at| (at / 7) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let name = path.to_str().unwrap();
    let part = described(format!("driver=raw,offset=100,size=1024,file.filename={name}")).unwrap();
    assert_eq!(content(&part), bytes[100..1124]);
    let whole = open(name, OpenFlags::READ).unwrap();
    assert_eq!(whole.virtual_size(), 3072);
    assert_eq!(content(&whole)[..3000], bytes[..]);
    assert!(content(&whole)[3000..].iter().all(|byte| *byte == 0));

    let image = scratch.path("image");
    let image = image.to_str().unwrap();
    assert!(qemu_img(&["convert", "-f", "raw", "-O", "qcow2", name, image]).status.success());
    let inner = format!("driver=raw,offset=512,size=1024,file.driver=qcow2,file.file.filename={image}");
    assert_eq!(content(&described(inner).unwrap()), bytes[512..1536]);
}

#[test]
fn names_need_not_be_text() {
    if common::need::lacks(&["qemu-img", "qemu-io"]) {
        return;
    }
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let path = scratch.path("").join(OsStr::from_bytes(b"\xff\xfe"));
    std::fs::write(&path, [7; 512]).unwrap();
    let context = OpenContext { fs: &RealFs, gate: &PermissiveGate, secrets: None };
    let image = open_filename(&context, path.as_os_str(), None, OpenFlags::READ).unwrap();
    assert_eq!(image.name().exact(), Some(path.as_os_str()));
    assert_eq!(content(&image), [7; 512]);
    let missing = Path::new(OsStr::from_bytes(b"/none/\xff"));
    let error = open_filename(&context, missing.as_os_str(), None, OpenFlags::READ).unwrap_err();
    let told = formats::shown::printed(error.report().as_bytes());
    assert_eq!(told, b"Could not open '/none/\xff': Could not open '/none/\xff': No such file or directory");
}
