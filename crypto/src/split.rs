//! Anti-forensic splitting: a key as stripes of which every one is needed (LUKS specification,
//! section 2.4).

use zeroize::Zeroizing;

use crate::{Hash, Result, random};

/// Splits a key into that many stripes of its length.
pub(crate) fn split(hash: Hash, key: &[u8], stripes: usize) -> Result<Zeroizing<Vec<u8>>> {
    let len = key.len();
    let mut material = Zeroizing::new(vec![0; len.saturating_mul(stripes)]);
    let (most, last) = material.split_at_mut(len.saturating_mul(stripes.saturating_sub(1)));
    random::fill(most)?;
    let state = gather(hash, most, len);
    for ((place, key), state) in last.iter_mut().zip(key).zip(&*state) {
        *place = key ^ state;
    }
    Ok(material)
}

/// Puts a key of that length together again.
pub(crate) fn merge(hash: Hash, material: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let (most, last) = material.split_at(material.len().saturating_sub(len));
    let mut key = gather(hash, most, len);
    key.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
    key
}

/// What stripes but the last make of nothing.
fn gather(hash: Hash, stripes: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut state = Zeroizing::new(vec![0; len]);
    for stripe in stripes.chunks_exact(len.max(1)) {
        state.iter_mut().zip(stripe).for_each(|(byte, other)| *byte ^= other);
        diffuse(hash, &mut state);
    }
    state
}

/// Spreads every bit over its piece of a digest's length.
fn diffuse(hash: Hash, state: &mut [u8]) {
    for (piece, number) in state.chunks_mut(hash.digest_len()).zip(0_u32..) {
        let digest = hash.digest(&[&number.to_be_bytes(), piece]);
        let len = piece.len();
        piece.copy_from_slice(&digest[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_key_comes_together_again() {
        for hash in Hash::ALL {
            for len in [16, 24, 32, 64] {
                let key: Vec<u8> = (0..len).collect();
                let material = split(hash, &key, 100).unwrap();
                assert_eq!(material.len(), key.len() * 100);
                assert_eq!(*merge(hash, &material, key.len()), key);
            }
        }
    }
}
