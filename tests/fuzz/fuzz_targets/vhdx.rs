//! VHDX images: headers, regions, log, metadata, block table; the map, and the guest's bytes through it.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, CHECK};
use testkit::sparse;

fuzz_target!(|input: &[u8]| {
    let fs = exercise::tree(&sparse::unpack("vhdx", input), &[]);
    if let Ok(image) = exercise::open_as(&fs, "vhdx", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
    if let Ok(image) = exercise::open_as(&fs, "vhdx", CHECK) {
        drop(exercise::check(&image));
    }
});
