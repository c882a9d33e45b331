//! Descriptors of Parallels bundles; the guest's bytes through the files that they name.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|descriptor: &[u8]| {
    let fs = exercise::tree(descriptor, &[("a", &[1; 4096]), ("b", b"WithouFreSpacExt\x02")]);
    if let Ok(image) = exercise::open_as(&fs, "prl-xml", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
