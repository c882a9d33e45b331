//! VMDK images: descriptor, headers, directory, tables; the map, and the guest's bytes through it.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise;

fuzz_target!(|image: &[u8]| {
    // A descriptor may name this as an extent: the same bytes again.
    let fs = exercise::tree(image, &[("extent.vmdk", image)]);
    if let Ok(image) = exercise::open_as(&fs, "vmdk", OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
