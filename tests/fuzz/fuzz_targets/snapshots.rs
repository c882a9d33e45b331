//! The snapshot table, and the image as of each snapshot.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[]);
    if let Ok(image) = exercise::open(&fs, OpenFlags { backing: false, ..OpenFlags::READ }) {
        drop(exercise::snapshots(&image));
    }
});
