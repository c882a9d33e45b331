//! Several images that are to be the same: what most of them say counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Disk, ErrorKind};

use crate::made_up::{Bytes, MadeUpDisk};
use crate::options::quorum::{Pattern, Voting};
use crate::{
    Driver, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset, Image, ImageFile, Mapping, Result,
    Target, engine, notice,
};

/// The driver of a quorum of images.
#[derive(Debug)]
pub(crate) struct Quorum {
    disk: Arc<MadeUpDisk<Votes>>,
}

/// What most images say.
#[derive(Debug)]
struct Votes {
    children: Vec<Arc<Image>>,
    voting: Voting,
    size: u64,
}

impl Quorum {
    /// A quorum of images, of which there is at least one. All have to be as long as the first.
    pub(crate) fn new(children: Vec<Arc<Image>>, voting: Voting) -> Result<Self> {
        let size = children.first().map_or(0, |image| image.virtual_size());
        if children.iter().any(|image| image.virtual_size() != size) {
            return Err(Error::corrupt("Could not refresh total sector count: Input/output error"));
        }
        Ok(Self { disk: Arc::new(MadeUpDisk(Votes { children, voting, size })) })
    }
}

impl Driver for Quorum {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn virtual_size(&self) -> u64 {
        self.disk.0.size
    }

    /// Zeroes are where all images have them.
    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let (mut zeroes, mut data) = (len, 0);
        for image in &self.disk.0.children {
            match engine::status(image, at.0, len) {
                Ok(status) if status.zero => zeroes = zeroes.min(status.len),
                Ok(status) => data = data.max(status.len),
                // Whoever reads it will see whether the others are enough.
                Err(_) => data = len,
            }
        }
        if data == 0 {
            return Ok(Mapping { len: zeroes, target: Target::Zero { host: None } });
        }
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        let target = Target::Data { disk, offset: HostOffset(at.0), holes: Holes::Nowhere };
        Ok(Mapping { len: data, target })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        Vec::new()
    }
}

impl Bytes for Votes {
    fn size(&self) -> u64 {
        self.size
    }

    fn make(&self, at: u64, buf: &mut [u8]) -> journal::Result<()> {
        match self.voting.pattern {
            Pattern::First => self.read_first(at, buf),
            Pattern::Vote => self.vote(at, buf),
        }
    }

    fn name(&self) -> PathBuf {
        self.children.first().map_or("quorum".into(), |image| image.filename().into())
    }
}

/// What several images say of a range, and how many.
struct Version {
    bytes: Vec<u8>,
    votes: usize,
}

impl Votes {
    /// Reads from the first image that can be read.
    fn read_first(&self, at: u64, buf: &mut [u8]) -> journal::Result<()> {
        match self.children.iter().find_map(|image| engine::read(image, at, buf).ok()) {
            Some(()) => Ok(()),
            None => Err(self.failed(at)),
        }
    }

    fn vote(&self, at: u64, buf: &mut [u8]) -> journal::Result<()> {
        let mut versions: Vec<Version> = Vec::new();
        for image in &self.children {
            let mut bytes = vec![0; buf.len()];
            if engine::read(image, at, &mut bytes).is_err() {
                continue;
            }
            match versions.iter_mut().find(|version| version.bytes == bytes) {
                Some(version) => version.votes += 1,
                None => versions.push(Version { bytes, votes: 1 }),
            }
        }
        if let ([one, two], true) = (&versions[..], self.voting.verifies) {
            let differs = one.bytes.iter().zip(&two.bytes).position(|(one, two)| one != two);
            let differs = at + differs.unwrap_or_default() as u64;
            let bytes = buf.len();
            notice::tell(&format!("quorum: offset={at} bytes={bytes} contents mismatch at offset {differs}"));
        }
        // Of versions with as many votes the last one counts, as in QEMU.
        match versions.into_iter().max_by_key(|version| version.votes) {
            Some(winner) if winner.votes >= self.voting.threshold => {
                buf.copy_from_slice(&winner.bytes);
                Ok(())
            }
            _ => Err(self.failed(at)),
        }
    }

    fn failed(&self, at: u64) -> journal::Error {
        journal::Error::new(ErrorKind::Io, "read", Path::new(&self.name()), Some(at))
    }
}
