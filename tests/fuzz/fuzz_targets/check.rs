//! The consistency check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, CHECK};

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open(&fs, CHECK) {
        drop(exercise::check(&image));
    }
});
