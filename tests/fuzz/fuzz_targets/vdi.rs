//! VDI images: header and table; the map, the check, and the guest's bytes.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, CHECK};

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open_as(&fs, "vdi", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
    if let Ok(image) = exercise::open_as(&fs, "vdi", CHECK) {
        drop(exercise::check(&image));
    }
});
