//! dmg images: what leads to the guest's bytes, and these.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open_as(&fs, "dmg", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
