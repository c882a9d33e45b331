//! The consistency check, and the repair.
#![no_main]

use formats::OpenFlags;
use journal::Access;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, CHECK};

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open(&fs, CHECK) {
        drop(exercise::check(&image));
    }
    if let Ok(image) = exercise::open(&fs, OpenFlags { access: Access::Write, ..CHECK }) {
        drop(exercise::repair(&image));
    }
});
