//! Names in sentences.
//!
//! A file name is bytes, a sentence is text. What is no text in a name is kept in a sentence as private
//! characters, one per byte, so that whoever prints the sentence can print the name byte for byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Byte `b` becomes the character `BASE + b`. Names that hold such characters are taken apart too.
const BASE: u32 = 0x10_ff00;

/// The UTF-8 encodings of these characters, for bytes from 0x80, begin like this.
const LEAD: [u8; 2] = [0xf4, 0x8f];

/// A name as a part of a sentence.
pub fn shown(name: &OsStr) -> String {
    shown_bytes(name.as_bytes())
}

/// Bytes as a part of a sentence.
pub fn shown_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if stands_for_byte(character) {
                keep(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        keep(&mut text, chunk.invalid());
    }
    text
}

/// Whether a character of a sentence stands for a byte.
pub fn stands_for_byte(character: char) -> bool {
    u32::from(character) >= BASE
}

fn keep(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().filter_map(|byte| char::from_u32(BASE + u32::from(*byte))));
}

/// A sentence as it is printed: with the names in it byte for byte.
pub fn printed(sentence: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some((&first, tail)) = rest.split_first() {
        match *rest {
            [lead, second, third @ 0xbe..=0xbf, fourth, ref after @ ..] if [lead, second] == LEAD => {
                bytes.push((third << 6) | (fourth & 0x3f));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).chain(*b"plain \xf4\x8f\xbe\x80 \xf0\x9f\x98\x80\xff").collect();
        let sentence = format!("Could not open '{}'", shown_bytes(&all));
        assert_eq!(printed(sentence.as_bytes()), [b"Could not open '", &all[..], b"'"].concat());
    }

    #[test]
    fn text_stays_as_it_is() {
        assert_eq!(shown(OsStr::new("ä/😀")), "ä/😀");
        assert_eq!(printed("ä/😀".as_bytes()), "ä/😀".as_bytes());
    }
}
