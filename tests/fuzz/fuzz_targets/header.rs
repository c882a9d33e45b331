//! The header and its extensions, and what `info` prints of them.
#![no_main]

use formats::qcow2::header::{Header, Purpose};
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, METADATA};

fuzz_target!(|image: &[u8]| {
    let fs = exercise::tree(image, &[("base.qcow2", b"")]);
    if let Ok(image) = exercise::open(&fs, METADATA) {
        drop(exercise::describe(&image));
    }
    // A header that is accepted and written again says the same.
    let Ok(header) = Header::parse(image, Purpose::Check) else { return };
    let Ok(bytes) = header.serialize() else { return };
    let again = Header::parse(&bytes, Purpose::Check).expect("what was written can be read");
    assert_eq!(again.virtual_size(), header.virtual_size());
    assert_eq!(again.backing(), header.backing());
});
