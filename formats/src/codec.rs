//! Compressed clusters: raw deflate and Zstandard, with state that is reused from one cluster to
//! the next.

use std::fmt;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflater::CompressionLvl;
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::{Codec, Error, Framing, Result, Stream};

mod adc;
pub(crate) mod grain;

/// Window of deflate streams, as its base-2 logarithm: qcow2 readers inflate with 4 KiB.
const DEFLATE_WINDOW_BITS: u8 = 12;

/// Level of new Zstandard frames: 0 is the library's default.
const ZSTD_LEVEL: i32 = 0;

/// Decompresses clusters. One per thread; keeps its state between clusters.
pub struct Decoder {
    fast_inflate: libdeflater::Decompressor,
    inflate: Decompress,
    zstd: Option<ZstdDecoder<'static>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            fast_inflate: libdeflater::Decompressor::new(),
            inflate: Decompress::new_with_window_bits(false, DEFLATE_WINDOW_BITS),
            zstd: None,
        }
    }
}

impl Decoder {
    /// Fills all of `cluster` from `payload`, whose end may be padding.
    pub fn decode(&mut self, stream: impl Into<Stream>, payload: &[u8], cluster: &mut [u8]) -> Result<()> {
        match stream.into() {
            Stream::Codec(Codec::Deflate) => self.inflate(payload, cluster),
            Stream::Codec(Codec::Zstd) => self.unzstd(payload, cluster),
            Stream::Zlib => sound(self.fast_inflate.zlib_decompress(payload, cluster) == Ok(cluster.len())),
            Stream::Grain { framing, least } => self.unpack_grain(framing, least, payload, cluster),
            Stream::Bzip2 => sound(unbzip2(payload, cluster)),
            Stream::Lzfse => sound(unlzfse(payload, cluster)),
            Stream::Adc => sound(adc::decode(payload, cluster)),
        }
    }

    fn inflate(&mut self, payload: &[u8], cluster: &mut [u8]) -> Result<()> {
        if self.fast_inflate.deflate_decompress(payload, cluster) == Ok(cluster.len()) {
            return Ok(());
        }
        // The fast decoder wants the stream to end with the cluster. Readers in the field accept
        // one that goes on, so this one decides.
        self.inflate.reset(false);
        loop {
            let (consumed, produced) = (self.inflate.total_in() as usize, self.inflate.total_out() as usize);
            let (input, output) = (&payload[consumed..], &mut cluster[produced..]);
            if output.is_empty() {
                return Ok(());
            }
            let status =
                self.inflate.decompress(input, output, FlushDecompress::Finish).map_err(|_| broken())?;
            let progress = self.inflate.total_out() as usize > produced;
            let complete = self.inflate.total_out() as usize == cluster.len();
            match status {
                _ if complete => return Ok(()),
                Status::StreamEnd => return Err(broken()),
                _ if !progress => return Err(broken()),
                _ => {}
            }
        }
    }

    fn unpack_grain(
        &mut self,
        framing: Framing,
        least: u32,
        payload: &[u8],
        cluster: &mut [u8],
    ) -> Result<()> {
        let stream = match framing {
            Framing::Bare => payload.get(..cluster.len()),
            Framing::Marked => grain::stream(payload),
        };
        let filled = self.fast_inflate.zlib_decompress(stream.ok_or_else(broken)?, cluster);
        let filled = filled.map_err(|_| broken())?;
        sound(filled as u64 >= u64::from(least))?;
        cluster[filled..].fill(0);
        Ok(())
    }

    fn unzstd(&mut self, payload: &[u8], cluster: &mut [u8]) -> Result<()> {
        if self.zstd.is_none() {
            self.zstd = Some(ZstdDecoder::new().map_err(|_| broken())?);
        }
        let Some(decoder) = self.zstd.as_mut() else { return Err(broken()) };
        decoder.reinit().map_err(|_| broken())?;
        let size = cluster.len();
        let mut input = InBuffer::around(payload);
        let mut output = OutBuffer::around(cluster);
        while output.pos() < size {
            let before = (input.pos, output.pos());
            decoder.run(&mut input, &mut output).map_err(|_| broken())?;
            if (input.pos, output.pos()) == before {
                return Err(broken());
            }
        }
        Ok(())
    }
}

/// Whether a stream is sound, and exactly as long as the cluster.
fn unbzip2(payload: &[u8], cluster: &mut [u8]) -> bool {
    let mut stream = bzip2::Decompress::new(false);
    let status = stream.decompress(payload, cluster);
    matches!(status, Ok(bzip2::Status::StreamEnd)) && stream.total_out() == cluster.len() as u64
}

/// The same. No more is made than there is room for.
fn unlzfse(payload: &[u8], mut cluster: &mut [u8]) -> bool {
    let decoded = lzfse_rust::LzfseRingDecoder::default().decode(&mut &*payload, &mut cluster);
    decoded.is_ok() && cluster.is_empty()
}

fn sound(is: bool) -> Result<()> {
    if is { Ok(()) } else { Err(broken()) }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Compresses clusters with one codec. One per thread; keeps its state between clusters.
pub struct Encoder {
    state: EncoderState,
}

enum EncoderState {
    Deflate(Box<Compress>),
    Zstd(zstd::bulk::Compressor<'static>),
    Zlib(libdeflater::Compressor),
}

impl Encoder {
    /// An encoder for streams of a kind that can be made, at the default level.
    pub fn new(stream: impl Into<Stream>) -> Result<Self> {
        let state = match stream.into() {
            Stream::Codec(Codec::Deflate) => EncoderState::Deflate(Box::new(new_deflate())),
            Stream::Codec(Codec::Zstd) => EncoderState::Zstd(
                zstd::bulk::Compressor::new(ZSTD_LEVEL)
                    .map_err(|_| Error::unsupported("Zstandard is not available"))?,
            ),
            Stream::Zlib | Stream::Grain { .. } => {
                EncoderState::Zlib(libdeflater::Compressor::new(CompressionLvl::default()))
            }
            Stream::Bzip2 | Stream::Lzfse | Stream::Adc => {
                return Err(Error::unsupported("Compression not supported for this file format"));
            }
        };
        Ok(Self { state })
    }

    /// Compresses `cluster` into `payload`.
    ///
    /// Returns how many bytes that took, or `None` if the result does not fit, that is, if the
    /// cluster is better stored as it is.
    pub fn encode(&mut self, cluster: &[u8], payload: &mut [u8]) -> Option<usize> {
        match &mut self.state {
            EncoderState::Deflate(deflate) => {
                deflate.reset();
                let status = deflate.compress(cluster, payload, FlushCompress::Finish);
                if matches!(status, Ok(Status::StreamEnd)) {
                    return Some(deflate.total_out() as usize);
                }
                // A stream that was left unfinished keeps its place in zlib-rs's output buffer
                // over a reset, and overruns the buffer one day: only a new one is clean.
                **deflate = new_deflate();
                None
            }
            EncoderState::Zstd(zstd) => zstd.compress_to_buffer(cluster, payload).ok(),
            EncoderState::Zlib(zlib) => zlib.zlib_compress(cluster, payload).ok(),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.state {
            EncoderState::Deflate(_) => Stream::Codec(Codec::Deflate),
            EncoderState::Zstd(_) => Stream::Codec(Codec::Zstd),
            EncoderState::Zlib(_) => Stream::Zlib,
        };
        f.debug_struct("Encoder").field("stream", &stream).finish_non_exhaustive()
    }
}

fn new_deflate() -> Compress {
    Compress::new_with_window_bits(flate2::Compression::default(), false, DEFLATE_WINDOW_BITS)
}

fn broken() -> Error {
    Error::corrupt("Compressed cluster cannot be decompressed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| ((i * i) >> 7) as u8 & 0x3f).collect()
    }

    #[test]
    fn what_is_encoded_decodes_even_with_padding_behind_it() {
        for codec in [Codec::Deflate, Codec::Zstd] {
            let cluster = text(65536);
            let mut payload = vec![0xa5; 65535];
            let mut encoder = Encoder::new(codec).unwrap();
            for _ in 0..2 {
                let len = encoder.encode(&cluster, &mut payload).unwrap();
                let mut out = vec![0; cluster.len()];
                let padded = (len + 511).min(payload.len());
                Decoder::default().decode(codec, &payload[..padded], &mut out).unwrap();
                assert_eq!(out, cluster);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said_so() {
        let noise: Vec<u8> =
            (0u64..4096).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        for codec in [Codec::Deflate, Codec::Zstd] {
            let mut payload = vec![0; 64];
            assert_eq!(Encoder::new(codec).unwrap().encode(&noise, &mut payload), None);
        }
    }

    #[test]
    fn an_encoder_goes_on_after_any_number_of_clusters_that_do_not_fit() {
        let mut seed = 1_u64;
        let mut noise = |len: usize| -> Vec<u8> {
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            };
            (0..len).map(|_| next()).collect()
        };
        for size in [512, 4096, 16384, 65536] {
            let mut encoder = Encoder::new(Codec::Deflate).unwrap();
            let mut payload = vec![0; size - 1];
            for _ in 0..64 {
                assert_eq!(encoder.encode(&noise(size), &mut payload), None);
            }
            let len = encoder.encode(&text(size), &mut payload).unwrap();
            let mut out = vec![0; size];
            Decoder::default().decode(Codec::Deflate, &payload[..len], &mut out).unwrap();
            assert_eq!(out, text(size));
        }
    }

    #[test]
    fn a_stream_that_ends_early_or_is_garbage_is_an_error() {
        for codec in [Codec::Deflate, Codec::Zstd] {
            let mut payload = vec![0; 65535];
            let len = Encoder::new(codec).unwrap().encode(&text(4096), &mut payload).unwrap();
            let mut out = vec![0; 8192];
            assert!(Decoder::default().decode(codec, &payload[..len], &mut out).is_err());
            assert!(Decoder::default().decode(codec, &[0xff; 512], &mut out).is_err());
            assert!(Decoder::default().decode(codec, &[], &mut out).is_err());
        }
    }

    #[test]
    fn a_deflate_stream_longer_than_the_cluster_fills_it() {
        let mut payload = vec![0; 65535];
        let long = text(8192);
        let len = Encoder::new(Codec::Deflate).unwrap().encode(&long, &mut payload).unwrap();
        let mut out = vec![0; 4096];
        Decoder::default().decode(Codec::Deflate, &payload[..len], &mut out).unwrap();
        assert_eq!(out, long[..4096]);
    }
}
