//! What the tests of written images share.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it, and wants to fail loudly")]

#[path = "../../../tests/src/need.rs"]
pub mod need;
#[path = "../../../tests/src/start.rs"]
pub mod start;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use formats::codec::Encoder;
use formats::create::{CreateRequest, NewImage, OptionList, OptionTable, create};
use formats::engine::{self, Write};
use formats::qcow2::{OpenRequest, Qcow2};
use formats::{Durability, Error, Format, GuestOffset, Image, OpenContext, OpenFlags, PermissiveGate};
use journal::{Access, Fs, OpenOptions, Zeroing};

/// Begins a new qcow2 image.
pub fn begin(fs: &dyn Fs, path: &Path, options: &str, size: u64) -> NewImage {
    let mut list = OptionList::default();
    if !options.is_empty() {
        list.add(OsStr::new(options)).unwrap();
    }
    let mut options = OptionTable::for_file(Format::Qcow2).parse(&list).unwrap();
    options.set_size(size).unwrap();
    let context = OpenContext { fs, gate: &PermissiveGate, secrets: None };
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
pub fn reopen(fs: &dyn Fs, path: &Path, data_file: Option<&Path>) -> Image {
    let disk = fs.open(path, OpenOptions::WRITE).unwrap();
    let data_file = data_file.map(|path| fs.open(path, OpenOptions::WRITE).unwrap());
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    let open_data_file = |_: &[u8]| Err(Error::invalid("not this way"));
    let request = OpenRequest {
        flags: &flags,
        data_file: data_file.as_ref(),
        open_data_file: &open_data_file,
        find_passphrase: &no_key,
    };
    let driver = Qcow2::open(disk, &request).unwrap();
    Image::new(path.display().to_string(), Box::new(driver), None)
}

/// What qemu-img prints; its failure is the test's.
pub fn qemu_img(arguments: &[&OsStr]) -> String {
    let output = start::output(Command::new("qemu-img").args(arguments)).expect("qemu-img is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "qemu-img {arguments:?}: {text}");
    text
}

/// Numbers that look random and are the same each time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Changes an image and its model in the same way. What is discarded shows what is beneath.
pub fn scramble(image: &Image, model: &mut [u8], beneath: &[u8], numbers: &mut Numbers, steps: u64) {
    let size = model.len() as u64;
    let writer = image.driver().writer().unwrap();
    for _ in 0..steps {
        let at = numbers.below(size);
        let longest = 1 << (6 + numbers.below(14));
        let len = 1 + numbers.below(longest.min(size - at));
        let range = at as usize..(at + len) as usize;
        match numbers.below(10) {
            0 => {
                engine::write(image, at, Write::Zeroes { len, how: Zeroing::Unmap }).unwrap();
                model[range].fill(0);
            }
            1 => {
                engine::write(image, at, Write::Zeroes { len, how: Zeroing::Keep }).unwrap();
                model[range].fill(0);
            }
            2 => {
                let unit = writer.granularity();
                let start = at.next_multiple_of(unit);
                let end = if at + len == size { size } else { (at + len) / unit * unit };
                if start < end {
                    writer.discard(GuestOffset(start), end - start).unwrap();
                    let range = start as usize..end as usize;
                    model[range.clone()].copy_from_slice(&beneath[range]);
                }
            }
            3 | 4 => compress_one(image, model, numbers, at),
            _ => {
                let bytes: Vec<u8> = (0..len).map(|_| numbers.next() as u8).collect();
                engine::write(image, at, Write::Data(&bytes)).unwrap();
                model[range].copy_from_slice(&bytes);
            }
        }
    }
}

fn compress_one(image: &Image, model: &mut [u8], numbers: &mut Numbers, at: u64) {
    let writer = image.driver().writer().unwrap();
    let Some(compression) = writer.compression() else { return };
    let size = compression.cluster_size as usize;
    let start = at as usize / size * size;
    let end = (start + size).min(model.len());
    let value = numbers.next();
    let cluster: Vec<u8> =
        (0..size).map(|i| if i % 7 < 3 { (value >> (i % 8)) as u8 } else { i as u8 }).collect();
    let mut payload = vec![0; size - 1];
    if let Some(len) = Encoder::new(compression.stream).unwrap().encode(&cluster, &mut payload) {
        writer.write_compressed(GuestOffset(start as u64), &payload[..len]).unwrap();
        model[start..end].copy_from_slice(&cluster[..end - start]);
    }
}

fn no_key(
    _: formats::qcow2::header::Encryption,
) -> formats::Result<std::sync::Arc<formats::secrets::Secret>> {
    Err(formats::Error::invalid("No secret"))
}
