//! LUKS headers of version 2: the two of them, and the JSON area, to which no checksum stands in the way.
#![no_main]

use crypto::Error;
use crypto::luks2::{Header, Metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|volume: &[u8]| {
    drop(Metadata::parse(volume, 32 << 10));
    let found = Header::find(|at, buf: &mut [u8]| -> Result<(), Error> {
        buf.fill(0);
        let from = usize::try_from(at).ok().and_then(|at| volume.get(at..)).unwrap_or_default();
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(())
    });
    drop(found);
});
