//! qcow images of version 1: header and tables; the map, and the guest's bytes through it.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open_as(&fs, "qcow", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
