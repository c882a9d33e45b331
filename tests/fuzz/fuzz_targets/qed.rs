//! QED images: header and tables; the map, the guest's bytes through it, the check.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, CHECK};

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open_as(&fs, "qed", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
    if let Ok(image) = exercise::open_as(&fs, "qed", CHECK) {
        drop(exercise::check(&image));
    }
});
