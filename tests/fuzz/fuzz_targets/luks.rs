//! LUKS volumes: header and key slots, opened with the seeds' passphrase; the guest's bytes.
#![no_main]

use formats::OpenFlags;
use libfuzzer_sys::fuzz_target;
use testkit::exercise::{self, METADATA, Opening};
use testkit::{mutate, sparse};

fuzz_target!(|input: &[u8]| {
    let mut image = sparse::unpack("luks", input);
    // A key costs the work that its header says.
    mutate::cheapen(&mut image);
    let fs = exercise::tree(&image, &[]);
    if let Ok(image) = exercise::open_as(&fs, "luks", METADATA) {
        drop(exercise::describe(&image));
    }
    if let Ok(image) = Opening::WithSecret("luks").open(&fs, OpenFlags::READ) {
        drop(exercise::read(&image));
    }
});
