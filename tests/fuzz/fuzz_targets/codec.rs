//! Compressed clusters of both kinds: any bytes, any length, into clusters of every size.
#![no_main]

use formats::Codec;
use formats::codec::{Decoder, Encoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let codec = if choice & 1 == 0 { Codec::Deflate } else { Codec::Zstd };
    let size = 512 << (choice >> 1) % 13;
    let mut cluster = vec![0; size];
    drop(Decoder::default().decode(codec, data, &mut cluster));

    // What is packed comes out as it went in.
    let given = data.len().min(size);
    cluster.fill(0);
    cluster[..given].copy_from_slice(&data[..given]);
    let mut encoder = Encoder::new(codec).expect("both codecs are built in");
    let mut payload = vec![0; size];
    if let Some(len) = encoder.encode(&cluster, &mut payload) {
        let mut back = vec![0xff; size];
        Decoder::default().decode(codec, &payload[..len], &mut back).expect("own streams can be read");
        assert!(back == cluster);
    }
});
