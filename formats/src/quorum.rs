//! Several images that are to be the same: what most of them say counts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Access, Disk, ErrorKind, Zeroing};

use crate::engine::Write;
use crate::made_up::{Bytes, MadeUpDisk};
use crate::options::quorum::{Pattern, Voting};
use crate::{
    Allocation, Driver, Durability, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset, Image,
    ImageFile, Mapping, Result, Target, Writer, engine, notice,
};

/// The driver of a quorum of images.
#[derive(Debug)]
pub(crate) struct Quorum {
    disk: Arc<MadeUpDisk<Votes>>,
    access: Access,
}

/// What most images say.
#[derive(Debug)]
struct Votes {
    children: Vec<Arc<Image>>,
    voting: Voting,
    size: u64,
    /// Parts of one cluster are written one after another.
    writing: Mutex<()>,
}

impl Quorum {
    /// A quorum of images, of which there is at least one. All have to be as long as the first.
    pub(crate) fn new(children: Vec<Arc<Image>>, voting: Voting, access: Access) -> Result<Self> {
        let size = children.first().map_or(0, |image| image.virtual_size());
        if children.iter().any(|image| image.virtual_size() != size) {
            return Err(Error::corrupt("Could not refresh total sector count: Input/output error"));
        }
        let votes = Votes { children, voting, size, writing: Mutex::new(()) };
        Ok(Self { disk: Arc::new(MadeUpDisk(votes)), access })
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

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == Access::Write).then_some(self as _)
    }
}

/// What is written is written to all images, or the command fails.
impl Writer for Quorum {
    fn granularity(&self) -> u64 {
        1
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        Ok(Allocation { at, len, disk: Arc::clone(&self.disk) as Arc<dyn Disk>, offset: HostOffset(at.0) })
    }

    fn link(&self, _allocation: &Allocation) -> Result<()> {
        Ok(())
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        self.disk.0.write(at.0, Write::Zeroes { len, how })
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let writers = self.disk.0.children.iter().filter_map(|image| image.driver().writer());
        writers.into_iter().try_for_each(|writer| writer.commit(durability))
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

    fn take(&self, at: u64, bytes: &[u8]) -> journal::Result<()> {
        self.write(at, Write::Data(bytes)).map_err(|error| {
            let kind = error.floor().map_or(ErrorKind::Io, journal::Error::kind);
            journal::Error::new(kind, "write", &self.name(), Some(at))
        })
    }

    fn name(&self) -> PathBuf {
        self.children.first().map_or("quorum".into(), |image| image.filename().into())
    }
}

/// What several images say of a range, and which.
struct Version<'a> {
    bytes: Vec<u8>,
    voters: Vec<&'a Arc<Image>>,
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
                Some(version) => version.voters.push(image),
                None => versions.push(Version { bytes, voters: vec![image] }),
            }
        }
        if let ([one, two], true) = (&versions[..], self.voting.verifies) {
            let differs = one.bytes.iter().zip(&two.bytes).position(|(one, two)| one != two);
            let differs = at + differs.unwrap_or_default() as u64;
            let bytes = buf.len();
            notice::tell(&format!("quorum: offset={at} bytes={bytes} contents mismatch at offset {differs}"));
        }
        // Of versions with as many votes the last one counts, as in QEMU.
        versions.sort_by_key(|version| version.voters.len());
        match versions.pop() {
            Some(winner) if winner.voters.len() >= self.voting.threshold => {
                buf.copy_from_slice(&winner.bytes);
                if self.voting.rewrites { self.correct(versions, at, buf) } else { Ok(()) }
            }
            _ => Err(self.failed(at)),
        }
    }

    /// Gives those that were outvoted what the others say.
    fn correct(&self, outvoted: Vec<Version<'_>>, at: u64, bytes: &[u8]) -> journal::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for image in outvoted.into_iter().flat_map(|version| version.voters) {
            engine::write(image, at, Write::Data(bytes)).map_err(|_| self.failed(at))?;
        }
        Ok(())
    }

    /// Writes to all images.
    fn write(&self, at: u64, what: Write<'_>) -> Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.children.iter().try_for_each(|image| engine::write(image, at, what))
    }

    fn failed(&self, at: u64) -> journal::Error {
        journal::Error::new(ErrorKind::Io, "read", Path::new(&self.name()), Some(at))
    }
}
