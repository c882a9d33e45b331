//! Modes: how a block cipher encrypts a sector.

use crate::cipher::Blocks;
use crate::{CipherKind, Error, Result};

/// The largest block.
pub(crate) const MAX_BLOCK: usize = 16;

/// An initialisation vector, of which as many bytes count as a block has.
pub(crate) type Iv = [u8; MAX_BLOCK];

/// A mode of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each block by itself.
    Ecb,
    /// Each block after the one before it.
    Cbc,
    /// A key stream from a counter.
    Ctr,
    /// Tweaked by the sector and the block's place in it (IEEE 1619).
    Xts,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ecb, Self::Cbc, Self::Ctr, Self::Xts];

    /// The name as it is typed and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecb => "ecb",
            Self::Cbc => "cbc",
            Self::Ctr => "ctr",
            Self::Xts => "xts",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Bytes of the key that a cipher takes in this mode: XTS takes two keys.
    pub fn key_len(self, cipher: CipherKind) -> usize {
        if self == Self::Xts { 2 * cipher.key_len() } else { cipher.key_len() }
    }
}

/// A cipher in a mode, with its key.
#[derive(Debug)]
pub(crate) struct Moded {
    mode: Mode,
    block: usize,
    data: Box<dyn Blocks>,
    /// The second key of XTS.
    tweak: Option<Box<dyn Blocks>>,
}

impl Moded {
    /// Puts a cipher with a key of [`Mode::key_len`] bytes into a mode.
    pub(crate) fn new(cipher: CipherKind, mode: Mode, key: &[u8]) -> Result<Self> {
        if mode == Mode::Xts && cipher.block_len() != MAX_BLOCK {
            return Err(Error::unsupported("Unsupported cipher mode xts"));
        }
        let (first, second) = key.split_at(cipher.key_len().min(key.len()));
        let tweak = if mode == Mode::Xts { Some(cipher.keyed(second)?) } else { None };
        Ok(Self { mode, block: cipher.block_len(), data: cipher.keyed(first)?, tweak })
    }

    /// Encrypts one sector, a multiple of the block.
    pub(crate) fn encrypt(&self, iv: &Iv, sector: &mut [u8]) {
        match (self.mode, &self.tweak) {
            (Mode::Xts, Some(tweak)) => xts(&**tweak, iv, sector, |bytes| self.data.encrypt(bytes)),
            (Mode::Ctr, _) => self.key_stream(iv, sector),
            (Mode::Cbc, _) => self.chain(iv, sector),
            (Mode::Ecb | Mode::Xts, _) => self.data.encrypt(sector),
        }
    }

    /// Decrypts one sector, a multiple of the block.
    pub(crate) fn decrypt(&self, iv: &Iv, sector: &mut [u8]) {
        match (self.mode, &self.tweak) {
            (Mode::Xts, Some(tweak)) => xts(&**tweak, iv, sector, |bytes| self.data.decrypt(bytes)),
            (Mode::Ctr, _) => self.key_stream(iv, sector),
            (Mode::Cbc, _) => self.unchain(iv, sector),
            (Mode::Ecb | Mode::Xts, _) => self.data.decrypt(sector),
        }
    }

    fn chain(&self, iv: &Iv, sector: &mut [u8]) {
        let mut before = *iv;
        for block in sector.chunks_exact_mut(self.block) {
            mix(block, &before);
            self.data.encrypt(block);
            before[..self.block].copy_from_slice(block);
        }
    }

    fn unchain(&self, iv: &Iv, sector: &mut [u8]) {
        let encrypted = sector.to_vec();
        self.data.decrypt(sector);
        let mut before = &iv[..self.block];
        for (block, now) in sector.chunks_exact_mut(self.block).zip(encrypted.chunks_exact(self.block)) {
            mix(block, before);
            before = now;
        }
    }

    fn key_stream(&self, iv: &Iv, sector: &mut [u8]) {
        let mut counter = *iv;
        let mut stream = vec![0; sector.len()];
        for block in stream.chunks_exact_mut(self.block) {
            block.copy_from_slice(&counter[..self.block]);
            for byte in counter[..self.block].iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        self.data.encrypt(&mut stream);
        mix(sector, &stream);
    }
}

/// Mixes the tweaks in before and after all blocks are ciphered at once: that keeps the processor's
/// pipeline full where a loop block by block would wait for each.
fn xts(tweak: &dyn Blocks, iv: &Iv, sector: &mut [u8], cipher: impl Fn(&mut [u8])) {
    const BLOCKS: usize = 32;
    let mut first = *iv;
    tweak.encrypt(&mut first);
    let mut value = u128::from_le_bytes(first);
    let mut tweaks = [0_u8; BLOCKS * MAX_BLOCK];
    // Larger sectors go on where a piece ends.
    for piece in sector.chunks_mut(tweaks.len()) {
        for place in tweaks[..piece.len()].chunks_exact_mut(MAX_BLOCK) {
            place.copy_from_slice(&value.to_le_bytes());
            // Times x in GF(2^128).
            value = (value << 1) ^ (0x87 * (value >> 127));
        }
        mix(piece, &tweaks);
        cipher(piece);
        mix(piece, &tweaks);
    }
}

/// Adds bytes without carry.
fn mix(bytes: &mut [u8], others: &[u8]) {
    bytes.iter_mut().zip(others).for_each(|(byte, other)| *byte ^= other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xts_is_that_of_ieee_1619() {
        // Vector 2 of annex B.
        let key = [[0x11; 16], [0x22; 16]].concat();
        let xts = Moded::new(CipherKind::Aes128, Mode::Xts, &key).unwrap();
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&0x33_3333_3333_u64.to_le_bytes());
        let mut sector = [0x44; 32];
        xts.encrypt(&iv, &mut sector);
        assert_eq!(sector[..8], [0xc4, 0x54, 0x18, 0x5e, 0x6a, 0x16, 0x93, 0x6e]);
    }

    #[test]
    fn cbc_is_that_of_sp_800_38a() {
        let key =
            [0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c];
        let plain =
            [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        let iv = std::array::from_fn(|at| at as u8);
        let cbc = Moded::new(CipherKind::Aes128, Mode::Cbc, &key).unwrap();
        let mut block = plain;
        cbc.encrypt(&iv, &mut block);
        assert_eq!(block[..4], [0x76, 0x49, 0xab, 0xac]);
        let ctr = Moded::new(CipherKind::Aes128, Mode::Ctr, &key).unwrap();
        let iv = std::array::from_fn(|at| 0xf0 + at as u8);
        let mut block = plain;
        ctr.encrypt(&iv, &mut block);
        assert_eq!(block[..4], [0x87, 0x4d, 0x61, 0x91]);
    }

    #[test]
    fn every_cipher_undoes_itself_in_every_mode() {
        let key: Vec<u8> = (0..64).collect();
        for cipher in CipherKind::ALL {
            for mode in Mode::ALL {
                let Ok(moded) = Moded::new(cipher, mode, &key[..mode.key_len(cipher)]) else {
                    assert_eq!((cipher, mode), (CipherKind::Cast5, Mode::Xts));
                    continue;
                };
                let plain: Vec<u8> = (0..512).map(|at| (at % 251) as u8).collect();
                let mut bytes = plain.clone();
                moded.encrypt(&[7; 16], &mut bytes);
                assert_ne!(bytes, plain);
                moded.decrypt(&[7; 16], &mut bytes);
                assert_eq!(bytes, plain, "{cipher:?} {mode:?}");
            }
        }
    }
}
