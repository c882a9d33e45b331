//! Digests, and keys derived from passphrases.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sha2::digest::Digest;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// MD5, 16 bytes.
    Md5,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// RIPEMD-160, 20 bytes.
    Ripemd160,
    /// SM3, 32 bytes.
    Sm3,
}

/// Does something with a hash's type.
macro_rules! with_hash {
    ($hash:expr, $name:ident => $body:expr) => {
        match $hash {
            Hash::Md5 => {
                type $name = md5::Md5;
                $body
            }
            Hash::Sha1 => {
                type $name = sha1::Sha1;
                $body
            }
            Hash::Sha224 => {
                type $name = sha2::Sha224;
                $body
            }
            Hash::Sha256 => {
                type $name = sha2::Sha256;
                $body
            }
            Hash::Sha384 => {
                type $name = sha2::Sha384;
                $body
            }
            Hash::Sha512 => {
                type $name = sha2::Sha512;
                $body
            }
            Hash::Ripemd160 => {
                type $name = ripemd::Ripemd160;
                $body
            }
            Hash::Sm3 => {
                type $name = sm3::Sm3;
                $body
            }
        }
    };
}

/// Iterations of the first measurement.
const FIRST_ROUND: u64 = 1 << 12;
/// A measurement that takes at least so long counts: the clock is that of the thread, so that what else the
/// machine does is not measured.
const LONG_ENOUGH: Duration = Duration::from_millis(100);
/// What the next measurement is to take, and how much larger than the last it is at most.
const AIM: Duration = Duration::from_millis(150);
const GROWTH: u64 = 64;

impl Hash {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Ripemd160,
        Self::Sm3,
    ];

    /// The name as it is typed and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Ripemd160 => "ripemd160",
            Self::Sm3 => "sm3",
        }
    }

    /// The hash of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Bytes of a digest.
    pub fn digest_len(self) -> usize {
        with_hash!(self, H => <H as Digest>::output_size())
    }

    /// The digest of several pieces, one behind another.
    pub(crate) fn digest(self, pieces: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        with_hash!(self, H => {
            let mut state = H::new();
            pieces.iter().for_each(|piece| state.update(piece));
            Zeroizing::new(state.finalize().to_vec())
        })
    }

    /// Derives `key.len()` bytes from a passphrase (PBKDF2, RFC 8018 section 5.2).
    pub(crate) fn derive(self, passphrase: &[u8], salt: &[u8], iterations: u32, key: &mut [u8]) {
        with_hash!(self, H => pbkdf2::pbkdf2_hmac::<H>(passphrase, salt, iterations, key));
    }

    /// How many iterations a key of that length takes in a second of this thread's time.
    pub(crate) fn iterations_per_second(self, passphrase: &[u8], salt: &[u8], key_len: usize) -> Result<u64> {
        let mut iterations = FIRST_ROUND;
        loop {
            let rounds =
                u32::try_from(iterations).map_err(|_| Error::invalid("Unable to get accurate CPU usage"))?;
            let mut key = Zeroizing::new(vec![0; key_len]);
            let start = thread_time();
            self.derive(passphrase, salt, rounds, &mut key);
            let taken = thread_time().saturating_sub(start);
            // In time `aim` there would be so many.
            let scaled = |aim: Duration| {
                let count = u128::from(iterations) * aim.as_nanos() / taken.as_nanos().max(1);
                u64::try_from(count).unwrap_or(u64::MAX)
            };
            if taken >= LONG_ENOUGH {
                return Ok(scaled(Duration::from_secs(1)));
            }
            iterations = scaled(AIM).clamp(iterations * 2, iterations * GROWTH);
        }
    }
}

/// Processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_those_of_rfc_6070() {
        let mut key = [0; 20];
        Hash::Sha1.derive(b"password", b"salt", 2, &mut key);
        assert_eq!(key[..4], [0xea, 0x6c, 0x01, 0x4d]);
        Hash::Sha1.derive(b"password", b"salt", 4096, &mut key);
        assert_eq!(key[..4], [0x4b, 0x00, 0x79, 0x01]);
    }

    #[test]
    fn digests_of_nothing() {
        let first = |hash: Hash| hash.digest(&[])[..4].to_vec();
        assert_eq!(first(Hash::Md5), [0xd4, 0x1d, 0x8c, 0xd9]);
        assert_eq!(first(Hash::Sha256), [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(first(Hash::Ripemd160), [0x9c, 0x11, 0x85, 0xa5]);
        assert_eq!(first(Hash::Sm3), [0x1a, 0xb2, 0x1d, 0x83]);
        for hash in Hash::ALL {
            assert_eq!(hash.digest(&[b"a", b"b"]), hash.digest(&[b"ab"]));
            assert_eq!(hash.digest(&[]).len(), hash.digest_len());
            assert_eq!(Hash::from_name(hash.name()), Some(hash));
        }
    }
}
