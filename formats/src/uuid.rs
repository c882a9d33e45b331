//! Random identities of new images.

use std::hash::{BuildHasher, RandomState};

/// A random UUID, version 4, its bytes in the order in which they are printed.
pub(crate) fn random() -> [u8; 16] {
    let word = || RandomState::new().hash_one(std::process::id());
    let mut uuid = (u128::from(word()) << 64 | u128::from(word())).to_be_bytes();
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A UUID as it is printed.
pub(crate) fn text(uuid: &[u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*uuid));
    let (first, rest) = hex.split_at(8);
    let (second, rest) = rest.split_at(4);
    let (third, rest) = rest.split_at(4);
    let (fourth, fifth) = rest.split_at(4);
    [first, second, third, fourth, fifth].join("-")
}

/// The same UUID as Windows stores it: the first three fields have their low byte first.
pub(crate) fn to_guid(uuid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_version_4_uuid() {
        let uuid = random();
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
        assert_eq!(to_guid(to_guid(uuid)), uuid);
        assert_eq!(to_guid(uuid)[7] >> 4, 4);
        assert_eq!(text(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
