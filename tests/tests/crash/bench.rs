//! Images on a simulated disk.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use formats::create::{CreateOptions, CreateRequest, NewImage, OptionList, OptionTable, create};
use formats::engine::read;
use formats::{Durability, Format, Image, OpenContext, OpenFlags, PermissiveGate, Result, open_filename};
use journal::{Access, SimFs};
use testkit::oracle::oracle;

/// Where the image under test stands.
pub const PATH: &str = "/image";

/// A context over a simulated disk.
pub fn context(fs: &SimFs) -> OpenContext<'_> {
    OpenContext { fs, gate: &PermissiveGate }
}

/// Opens the image, its format known.
pub fn open(fs: &SimFs, format: Format, access: Access) -> Result<Image> {
    open_filename(
        &context(fs),
        OsStr::new(PATH),
        Some(format.name()),
        OpenFlags { access, ..OpenFlags::READ },
    )
}

/// Begins an image with these options.
pub fn begin(fs: &SimFs, format: Format, options: &str) -> Result<NewImage> {
    let table = OptionTable::for_file(format);
    let mut list = OptionList::default();
    list.add(OsStr::new(options))?;
    let options: CreateOptions = table.parse(&list)?;
    let request = CreateRequest {
        target: Path::new(PATH),
        format,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    create(&context(fs), request)
}

/// Every guest byte.
pub fn guest(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0xee; usize::try_from(image.virtual_size()).unwrap()];
    read(image, 0, &mut bytes).unwrap();
    bytes
}

/// What the oracle finds wrong with a qcow2 image of these bytes, and with its guest's.
pub fn oracle_objects(image: &[u8], guest: &[&[u8]]) -> Option<String> {
    let scratch = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        #[allow(clippy::disallowed_methods, reason = "scratch files of tests need no durability")]
        std::fs::write(&path, bytes).unwrap();
    };
    put("image", image);
    let img = |args: &[&str]| {
        let output = Command::new(&oracle().img).args(args).current_dir(scratch.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(said.into_owned()) }
    };
    if let Err(said) = img(&["check", "-f", "qcow2", "image"]) {
        return Some(said);
    }
    let any = guest.iter().any(|bytes| {
        put("guest", bytes);
        img(&["compare", "-s", "-f", "qcow2", "-F", "raw", "image", "guest"]).is_ok()
            || img(&["compare", "-f", "qcow2", "-F", "raw", "image", "guest"]).is_ok()
    });
    (!any).then(|| "qemu-img reads neither the old nor the new guest".to_owned())
}
