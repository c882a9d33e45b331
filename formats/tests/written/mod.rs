//! What the tests of written images share.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use formats::create::{CreateRequest, NewImage, OptionList, OptionTable, create};
use formats::qcow2::{OpenRequest, Qcow2};
use formats::{Durability, Error, Format, Image, OpenContext, OpenFlags, PermissiveGate};
use journal::{Access, Fs, OpenOptions, RealFs};

/// Begins a new qcow2 image.
pub fn begin(path: &Path, options: &str, size: u64) -> NewImage {
    let mut list = OptionList::default();
    if !options.is_empty() {
        list.add(OsStr::new(options)).unwrap();
    }
    let mut options = OptionTable::for_file(Format::Qcow2).parse(&list).unwrap();
    options.set_size(size).unwrap();
    let context = OpenContext { fs: &RealFs, gate: &PermissiveGate };
    let request = CreateRequest {
        target: path,
        format: Format::Qcow2,
        options: &options,
        backing: None,
        durability: Durability::Volatile,
    };
    create(&context, request).unwrap()
}

/// Opens a qcow2 image for writing.
pub fn reopen(path: &Path, data_file: Option<&Path>) -> Image {
    let disk = RealFs.open(path, OpenOptions::WRITE).unwrap();
    let data_file = data_file.map(|path| RealFs.open(path, OpenOptions::WRITE).unwrap());
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    let open_data_file = |_: &[u8]| Err(Error::invalid("not this way"));
    let request =
        OpenRequest { flags: &flags, data_file: data_file.as_ref(), open_data_file: &open_data_file };
    let driver = Qcow2::open(disk, &request).unwrap();
    Image::new(path.display().to_string(), Box::new(driver), None)
}

/// What qemu-img prints; its failure is the test's.
pub fn qemu_img(arguments: &[&OsStr]) -> String {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "qemu-img {arguments:?}: {text}");
    text
}
