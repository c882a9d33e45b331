//! Disk sectors, there and back.

use crate::iv::IvGenerator;
use crate::mode::Moded;
use crate::{CipherKind, Hash, IvKind, Mode, Result};

/// Bytes that sectors are counted in; most ciphers encrypt so many with one initialisation vector.
pub const SECTOR: usize = 512;

/// How sectors are encrypted, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The block cipher.
    pub cipher: CipherKind,
    /// How it encrypts a sector.
    pub mode: Mode,
    /// Where initialisation vectors come from.
    pub iv: IvKind,
    /// The hash that makes a key for them.
    pub iv_hash: Option<Hash>,
}

impl Scheme {
    /// What the oldest encrypted images have.
    pub const LEGACY: Self =
        Self { cipher: CipherKind::Aes128, mode: Mode::Cbc, iv: IvKind::Plain64, iv_hash: None };

    /// Bytes of its key.
    pub fn key_len(&self) -> usize {
        self.mode.key_len(self.cipher)
    }
}

/// A cipher of disk sectors with its key. Threads may share it.
#[derive(Debug)]
pub struct SectorCipher {
    moded: Moded,
    iv: IvGenerator,
    /// Bytes that are encrypted at once.
    sector_len: usize,
    /// What is added to the numbers of sectors.
    tweak: u64,
}

impl SectorCipher {
    /// The cipher of a scheme with a key of [`Scheme::key_len`] bytes.
    pub fn new(scheme: &Scheme, key: &[u8]) -> Result<Self> {
        let iv = IvGenerator::new(scheme.iv, scheme.iv_hash, scheme.cipher, key)?;
        Ok(Self { moded: Moded::new(scheme.cipher, scheme.mode, key)?, iv, sector_len: SECTOR, tweak: 0 })
    }

    /// The same cipher for larger sectors, a multiple of [`SECTOR`]. Their numbers count those of that size all the
    /// same, and something is added to them.
    pub fn with_sectors(self, sector_len: usize, tweak: u64) -> Self {
        Self { sector_len, tweak, ..self }
    }

    /// Bytes that are encrypted at once.
    pub fn sector_len(&self) -> usize {
        self.sector_len
    }

    /// Sectors with their vectors' numbers.
    fn numbered<'a>(&self, first: u64, bytes: &'a mut [u8]) -> impl Iterator<Item = (&'a mut [u8], u64)> {
        let step = (self.sector_len / SECTOR) as u64;
        let start = first.wrapping_add(self.tweak);
        bytes
            .chunks_mut(self.sector_len)
            .zip(0_u64..)
            .map(move |(sector, index)| (sector, start.wrapping_add(index * step)))
    }

    /// The cipher of legacy images: the passphrase is the key, cut or filled with zeroes.
    pub fn legacy(passphrase: &[u8]) -> Result<Self> {
        let mut key = zeroize::Zeroizing::new([0; 16]);
        let len = passphrase.len().min(key.len());
        key[..len].copy_from_slice(&passphrase[..len]);
        Self::new(&Scheme::LEGACY, &*key)
    }

    /// Encrypts sectors, the first of which has that number, counted in units of [`SECTOR`]. A shorter last one is
    /// whole blocks.
    pub fn encrypt(&self, first: u64, bytes: &mut [u8]) {
        for (sector, number) in self.numbered(first, bytes) {
            self.moded.encrypt(&self.iv.vector(number), sector);
        }
    }

    /// Decrypts sectors, the first of which has that number. A shorter last one is whole blocks.
    pub fn decrypt(&self, first: u64, bytes: &mut [u8]) {
        for (sector, number) in self.numbered(first, bytes) {
            self.moded.decrypt(&self.iv.vector(number), sector);
        }
    }
}
