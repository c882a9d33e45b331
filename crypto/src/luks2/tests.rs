//! Headers that are made here, and damaged.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};

use super::header::{BINARY, RawHeader};
use super::*;
use crate::{CipherKind, Error, Hash, IvKind, Mode, Result, Scheme, SectorCipher, split};

const SIZE: usize = 16 << 10;
const AREA: usize = 2 * SIZE;
const KEY: [u8; 32] = [0x5a; 32];
const SCHEME: Scheme =
    Scheme { cipher: CipherKind::Aes128, mode: Mode::Xts, iv: IvKind::Plain64, iv_hash: None };

/// What a volume with one key slot says.
fn metadata() -> Value {
    let mut digest = [0; 32];
    Hash::Sha256.derive(&KEY, b"", 1, &mut digest);
    json!({
        "keyslots": { "0": {
            "type": "luks2", "key_size": 32,
            "af": { "type": "luks1", "stripes": 4000, "hash": "sha256" },
            "area": { "type": "raw", "offset": "32768", "size": "131072", "encryption": "aes-xts-plain64", "key_size": 32 },
            "kdf": { "type": "pbkdf2", "hash": "sha256", "iterations": 1, "salt": "" },
        } },
        "tokens": {},
        "segments": { "0": {
            "type": "crypt", "offset": "1048576", "size": "dynamic", "iv_tweak": "0",
            "encryption": "aes-xts-plain64", "sector_size": 4096,
        } },
        "digests": { "0": {
            "type": "pbkdf2", "keyslots": ["0"], "segments": ["0"], "hash": "sha256", "iterations": 1,
            "salt": "", "digest": base64(&digest),
        } },
        "config": { "json_size": "12288", "keyslots_size": "131072" },
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let word =
            bytes.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - bytes.len()));
        let digit = |place: usize| match place <= bytes.len() {
            true => char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]),
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Both headers with that text, and the key material.
fn image(text: &[u8], sequences: [u64; 2]) -> Vec<u8> {
    let mut bytes = vec![0; AREA];
    for (place, sequence) in sequences.into_iter().enumerate() {
        let header = &mut bytes[place * SIZE..(place + 1) * SIZE];
        header[BINARY..BINARY + text.len()].copy_from_slice(text);
        header[..BINARY].copy_from_slice(&RawHeader::bytes_of(place * SIZE, SIZE, sequence));
        RawHeader::seal(header);
    }
    let mut material = split::split(Hash::Sha256, &KEY, 4000).unwrap();
    let mut key = [0; 32];
    Hash::Sha256.derive(b"pass", b"", 1, &mut key);
    SectorCipher::new(&SCHEME, &key).unwrap().encrypt(0, &mut material);
    bytes.extend_from_slice(&material);
    bytes
}

fn find(image: &[u8]) -> Result<Option<Header>> {
    Header::find(|at, buf| read(image, at, buf))
}

fn read(image: &[u8], at: u64, buf: &mut [u8]) -> Result<()> {
    buf.fill(0);
    let from = image.get(at as usize..).unwrap_or_default();
    let len = from.len().min(buf.len());
    buf[..len].copy_from_slice(&from[..len]);
    Ok(())
}

fn unlock(image: &[u8], passphrase: &[u8]) -> Result<SectorCipher> {
    let header = find(image)?.ok_or_else(|| Error::corrupt("no header"))?;
    header.unlock(passphrase, |at, buf| read(image, at, buf))
}

#[test]
fn a_passphrase_opens_its_slot() {
    let image = image(metadata().to_string().as_bytes(), [1, 1]);
    let cipher = unlock(&image, b"pass").unwrap();
    assert_eq!(cipher.sector_len(), 4096);
    assert!(unlock(&image, b"word").unwrap_err().to_string().contains("Invalid password"));
    let mut sectors = vec![7; 8192];
    cipher.encrypt(8, &mut sectors);
    // The number of a sector counts those of 512 bytes.
    let mut second = sectors.split_off(4096);
    cipher.decrypt(16, &mut second);
    assert!(second == [7; 4096] && sectors != [7; 4096]);
}

#[test]
fn the_newer_header_that_is_whole_counts() {
    let text = metadata().to_string();
    let mut newer = metadata();
    newer["segments"]["0"]["iv_tweak"] = json!("5");
    let tweak = |image: &[u8]| find(image).unwrap().map(|header| header.metadata.segment.iv_tweak);
    let first = image(text.as_bytes(), [1, 2]);
    let mut both = first.clone();
    both[SIZE..2 * SIZE].copy_from_slice(&image(newer.to_string().as_bytes(), [1, 2])[SIZE..2 * SIZE]);
    assert_eq!(tweak(&both), Some(5));
    both[SIZE + 5000] ^= 1;
    assert_eq!(tweak(&both), Some(0));
    let mut without_first = first.clone();
    without_first[..4096].fill(0);
    assert_eq!(tweak(&without_first), Some(0));
    without_first[SIZE..SIZE + 4096].fill(0);
    assert_eq!(tweak(&without_first), None);
    let mut damaged = first;
    damaged[5000] ^= 1;
    damaged[SIZE + 5000] ^= 1;
    assert!(find(&damaged).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut metadata = metadata();
        change(&mut metadata);
        unlock(&image(metadata.to_string().as_bytes(), [1, 1]), b"pass").unwrap_err().to_string()
    };
    for (text, change) in [
        (
            "needs 'online-reencrypt-v2'",
            &(|m: &mut Value| {
                m["config"]["requirements"] = json!({ "mandatory": ["online-reencrypt-v2"] });
            }) as &dyn Fn(&mut Value),
        ),
        ("several segments", &|m| m["segments"]["1"] = m["segments"]["0"].clone()),
        ("of a kind", &|m| m["segments"]["0"]["type"] = json!("linear")),
        ("of a kind", &|m| m["segments"]["0"]["integrity"] = json!({ "type": "hmac(sha256)" })),
        ("size of its sectors", &|m| m["segments"]["0"]["sector_size"] = json!(8192)),
        ("its place", &|m| m["segments"]["0"]["offset"] = json!("1049088")),
        ("no key slot", &|m| m["keyslots"]["0"]["priority"] = json!(0)),
        ("no key slot", &|m| m["keyslots"]["0"] = json!({ "type": "reencrypt" })),
        ("place of its key material", &|m| m["keyslots"]["0"]["area"]["offset"] = json!("0")),
        ("its stripes", &|m| m["keyslots"]["0"]["af"]["stripes"] = json!(4_000_000)),
        ("size of its key", &|m| m["keyslots"]["0"]["key_size"] = json!(1_u64 << 40)),
        ("JSON area", &|m| m["keyslots"]["0"]["kdf"]["type"] = json!("scrypt")),
        ("no digest", &|m| m["digests"]["0"]["segments"] = json!([])),
    ] {
        let told = refused(change);
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn a_damaged_header_is_an_error_or_an_answer() {
    let text = metadata().to_string().into_bytes();
    let sound = image(&text, [1, 0]);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut opened = 0;
    for round in 0..20_000 {
        let mut bytes = sound[..SIZE].to_vec();
        for _ in 0..=below(2) {
            let at = if below(6) == 0 { below(512) } else { BINARY + below(text.len()) };
            // Digits and brackets, for the most part.
            bytes[at] = [b'0', b'9', b'"', b'}', b'-', 0, below(256) as u8][below(7)];
        }
        if below(8) != 0 {
            RawHeader::seal(&mut bytes);
        }
        let Ok(Some(header)) = find(&bytes) else { continue };
        // The slot's key takes a while.
        if round % 16 == 0 {
            drop(header.unlock(b"pass", |at, buf| read(&sound, at, buf)));
        }
        opened += 1;
    }
    assert!(opened > 1000, "{opened}");
}
