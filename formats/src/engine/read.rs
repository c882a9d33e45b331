//! Guest bytes through a backing chain.

use std::sync::Arc;

use journal::Disk;

use crate::codec::Decoder;
use crate::{CompressedRun, Error, GuestOffset, HostOffset, Image, Result, Stream, Target};

/// Fills `buf` with the guest bytes from `at`. What lies past the end of the image is zeroes.
///
/// For many reads, a [`Reader`] keeps the decompression state and the last cluster.
pub fn read(image: &Image, at: u64, buf: &mut [u8]) -> Result<()> {
    Reader::new(image).read(at, buf)
}

/// Reads one image, many times. One per thread.
#[derive(Debug)]
pub struct Reader<'a> {
    image: &'a Image,
    decompressed: Decompressed,
}

impl<'a> Reader<'a> {
    /// A reader of `image` and what is behind it.
    pub fn new(image: &'a Image) -> Self {
        Self { image, decompressed: Decompressed::default() }
    }

    /// Fills `buf` with the guest bytes from `at`. What lies past the end of the image is zeroes.
    pub fn read(&mut self, at: u64, buf: &mut [u8]) -> Result<()> {
        read_layer(self.image, at, buf, &mut self.decompressed)
    }
}

fn read_layer(image: &Image, mut at: u64, mut buf: &mut [u8], decompressed: &mut Decompressed) -> Result<()> {
    image.driver().pass_reading(buf.len() as u64);
    while !buf.is_empty() {
        let left = image.virtual_size().saturating_sub(at);
        if left == 0 {
            buf.fill(0);
            return Ok(());
        }
        let mapping = image.driver().map(GuestOffset(at), left.min(buf.len() as u64))?;
        let (run, rest) = buf.split_at_mut(mapping.len as usize);
        match (&mapping.target, image.backing()) {
            (Target::Data { disk, offset, .. }, _) => disk.read_padded(offset.0, run)?,
            (Target::Zero { .. }, _) | (Target::Unallocated { .. }, None) => run.fill(0),
            (Target::Compressed(cluster), _) => decompressed.read(cluster, at, run)?,
            (Target::Unallocated { .. }, Some(backing)) => {
                image.driver().trust_backing()?;
                read_layer(backing, at, run, decompressed)?;
            }
        }
        at += mapping.len;
        buf = rest;
    }
    Ok(())
}

/// The last decompressed cluster, and the state to decompress the next.
#[derive(Debug, Default)]
struct Decompressed {
    decoder: Decoder,
    payload: Vec<u8>,
    cluster: Vec<u8>,
    /// The file and offset that `cluster` came from.
    source: Option<(Arc<dyn Disk>, HostOffset)>,
}

impl Decompressed {
    /// Fills `run`, which lies in the cluster, from guest offset `at`.
    fn read(&mut self, cluster: &CompressedRun, at: u64, run: &mut [u8]) -> Result<()> {
        let size = cluster.cluster_size as usize;
        let kept = matches!(&self.source, Some((disk, offset))
            if Arc::ptr_eq(disk, &cluster.disk) && *offset == cluster.offset);
        if !kept && run.len() == size {
            return self.decode(cluster, Place::Directly(run));
        }
        if !kept {
            self.source = None;
            self.decode(cluster, Place::Kept(size))?;
            self.source = Some((Arc::clone(&cluster.disk), cluster.offset));
        }
        let start = (at - cluster.cluster.0) as usize;
        run.copy_from_slice(&self.cluster[start..start + run.len()]);
        Ok(())
    }

    fn decode(&mut self, cluster: &CompressedRun, place: Place<'_>) -> Result<()> {
        self.payload.resize(cluster.len as usize, 0);
        cluster.disk.read_padded(cluster.offset.0, &mut self.payload)?;
        let out = match place {
            Place::Directly(run) => run,
            Place::Kept(size) => {
                self.cluster.resize(size, 0);
                &mut self.cluster
            }
        };
        self.decoder.decode(cluster.stream, &self.payload, out).map_err(|error| {
            tracing::debug!(cluster = cluster.cluster.0, %error, "A compressed cluster is broken.");
            // What a failing disk, or a wrong request, is told as: the sentence around it says where.
            match cluster.stream {
                Stream::Grain { .. } => Error::invalid("Invalid argument"),
                _ => Error::corrupt("Input/output error"),
            }
        })
    }
}

/// Where a decompressed cluster goes.
enum Place<'a> {
    /// To the caller, who wants all of it.
    Directly(&'a mut [u8]),
    /// Into the kept cluster, of that many bytes.
    Kept(usize),
}
