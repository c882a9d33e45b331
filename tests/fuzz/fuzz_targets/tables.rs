//! L1 and L2 tables: the map, and the guest's bytes through it.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[("base.qcow2", b"a raw file may stand behind")]);
    if let Ok(image) = exercise::open(&fs, OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
