//! Names: the long one as it is, and the short one that is made of it.

use std::collections::{HashMap, HashSet};

use zerocopy::little_endian::U16;
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::ENTRY_SIZE;
use crate::{Error, Result};

/// A short name: eight bytes and three more, with spaces behind them.
pub(super) type ShortName = [u8; 11];

/// Bytes of a short name before its extension.
const STEM: usize = 8;
/// Characters that a short name may have besides letters and digits.
const MARKS: &[u8] = b"$%'-_@~`!(){}^#&";
/// The highest number that tells short names apart.
const MAX_TAIL: u32 = 999_998;

/// UTF-16 units in an entry of a long name.
const UNITS: usize = 13;
/// Attributes of an entry that has a part of a long name.
const LONG_NAME: u8 = 0x0f;
/// The mark of a long name's last entry, which comes first.
const LAST_ENTRY: u8 = 0x40;

/// A directory entry with a part of a long name (FAT specification 7.1).
#[derive(Debug, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LongEntry {
    /// Its number, from 1.
    order: u8,
    first: [U16; 5],
    attributes: u8,
    kind: u8,
    /// A sum of the short name that belongs to it.
    checksum: u8,
    middle: [U16; 6],
    cluster: U16,
    last: [U16; 2],
}

const _: () = assert!(size_of::<LongEntry>() == ENTRY_SIZE);

/// The entries of a long name, in the order in which they stand; `None` if the name is not UTF-8.
pub(super) fn long_entries(name: &[u8], short: &ShortName) -> Option<Vec<[u8; ENTRY_SIZE]>> {
    let units: Vec<u16> = std::str::from_utf8(name).ok()?.encode_utf16().collect();
    let checksum = checksum(short);
    let parts: Vec<&[u16]> = units.chunks(UNITS).collect();
    let entries = parts.iter().enumerate().rev().map(|(index, part)| {
        let last = if index + 1 == parts.len() { LAST_ENTRY } else { 0 };
        long_entry((index + 1) as u8 | last, part, checksum)
    });
    Some(entries.collect())
}

fn long_entry(order: u8, part: &[u16], checksum: u8) -> [u8; ENTRY_SIZE] {
    // Behind the name is a zero, and behind that ones.
    let unit = |place: usize| {
        U16::new(part.get(place).copied().unwrap_or(if place == part.len() { 0 } else { 0xffff }))
    };
    let entry = LongEntry {
        order,
        first: std::array::from_fn(unit),
        attributes: LONG_NAME,
        kind: 0,
        checksum,
        middle: std::array::from_fn(|place| unit(place + 5)),
        cluster: 0.into(),
        last: std::array::from_fn(|place| unit(place + 11)),
    };
    zerocopy::transmute!(entry)
}

fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The short names of a directory.
#[derive(Debug, Default)]
pub(super) struct ShortNames {
    taken: HashSet<ShortName>,
    /// The first number that has not been tried for a name.
    untried: HashMap<ShortName, u32>,
}

impl ShortNames {
    /// Takes a name that is no file's.
    pub(super) fn reserve(&mut self, name: ShortName) {
        self.taken.insert(name);
    }

    /// A short name for a file that no other file in the directory has.
    pub(super) fn make(&mut self, name: &[u8]) -> Result<ShortName> {
        let (plain, lossy) = shortened(name);
        if !lossy && self.taken.insert(plain) {
            return Ok(plain);
        }
        let untried = self.untried.entry(plain).or_insert(1);
        while *untried <= MAX_TAIL {
            let candidate = with_tail(plain, *untried);
            *untried += 1;
            if self.taken.insert(candidate) {
                return Ok(candidate);
            }
        }
        Err(Error::corrupt("Too many files of alike names in a directory"))
    }
}

/// What is left of a name in a short one, and whether anything got lost.
fn shortened(name: &[u8]) -> (ShortName, bool) {
    let mut short = [b' '; 11];
    let mut lossy = false;
    let characters: Vec<Option<char>> = Characters(name).collect();
    let is_dot = |character: &Option<char>| *character == Some('.');
    // A dot before the first character that is kept begins no extension.
    let kept = characters.iter().position(|character| !is_dot(character) && short_byte(*character).is_some());
    let last_dot = characters.iter().rposition(is_dot).filter(|dot| kept.is_some_and(|kept| kept < *dot));
    let first_dot = kept.and_then(|kept| characters.iter().skip(kept).position(is_dot).map(|dot| dot + kept));
    lossy |= first_dot != last_dot || characters.iter().take(kept.unwrap_or(usize::MAX)).any(is_dot);

    let (stem, extension) = short.split_at_mut(STEM);
    let stem_end = first_dot.unwrap_or(characters.len());
    let kept_stem = characters.iter().take(stem_end).filter(|character| !is_dot(character));
    lossy |= fill(stem, kept_stem.copied());
    if let Some(dot) = last_dot {
        lossy |= fill(extension, characters.iter().skip(dot + 1).copied());
    }
    (short, lossy)
}

/// Puts the characters that a short name can have into a part of one; whether anything got lost.
fn fill(part: &mut [u8], characters: impl Iterator<Item = Option<char>>) -> bool {
    let mut places = part.iter_mut();
    let mut lossy = false;
    for character in characters {
        match short_byte(character).and_then(|byte| Some((places.next()?, byte))) {
            Some((place, byte)) => *place = byte,
            None => lossy = true,
        }
    }
    lossy
}

/// The byte of a short name for a character, if it can have one.
fn short_byte(character: Option<char>) -> Option<u8> {
    let upper = upper_case(character?);
    if upper.is_ascii_uppercase() || upper.is_ascii_digit() {
        return Some(upper as u8);
    }
    // QEMU looks at the low byte alone, whatever the character is.
    let low = (upper as u32 & 0xff) as u8;
    MARKS.contains(&low).then_some(low)
}

/// The one capital letter of a character, if it has one that is a single character.
fn upper_case(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}

/// A short name with a number at the end of its stem.
fn with_tail(plain: ShortName, number: u32) -> ShortName {
    let mut name = plain;
    let tail = format!("~{number}");
    let end = plain.iter().take(STEM).position(|byte| *byte == b' ').unwrap_or(STEM);
    let start = end.min(STEM - tail.len());
    name[start..start + tail.len()].copy_from_slice(tail.as_bytes());
    name
}

/// The characters of a name that need not be UTF-8: what is none is `None`, and takes as many bytes as its
/// first one announces.
struct Characters<'a>(&'a [u8]);

impl Iterator for Characters<'_> {
    type Item = Option<char>;

    fn next(&mut self) -> Option<Self::Item> {
        let lead = *self.0.first()?;
        let announced = match lead {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            0xf8..0xfc => 5,
            0xfc..0xfe => 6,
            _ => 1,
        };
        let (bytes, rest) = self.0.split_at(announced.min(self.0.len()));
        self.0 = rest;
        Some(std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(name: &str) -> String {
        String::from_utf8(ShortNames::default().make(name.as_bytes()).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn short_names() {
        for (name, expected) in [
            ("a.txt", "A       TXT"),
            ("A long name.text", "ALONGN~1TEX"),
            (".profile", "PROFIL~1   "),
            ("..x", "X~1        "),
            ("a.b.c", "A~1     C  "),
            ("12345678.123", "12345678123"),
            ("123456789", "123456~1   "),
            ("a.", "A          "),
            ("é", "~1         "),
            ("\u{17f}\u{131}", "SI         "),
            ("\u{127}", "&          "),
            ("a.tar.gz", "A~1     GZ "),
        ] {
            assert_eq!(short(name), expected, "{name}");
        }
    }

    #[test]
    fn short_names_are_told_apart() {
        let mut names = ShortNames::default();
        let mut make = |name: &str| String::from_utf8(names.make(name.as_bytes()).unwrap().to_vec()).unwrap();
        assert_eq!(make("readme"), "README     ");
        assert_eq!(make("README"), "README~1   ");
        assert_eq!(make("ReadMe"), "README~2   ");
        assert_eq!(make("abcdefghi"), "ABCDEF~1   ");
        for number in 2..10 {
            assert_eq!(make(&format!("abcdefgh{number}")), format!("ABCDEF~{number}   "));
        }
        assert_eq!(make("abcdefghx"), "ABCDE~10   ");
    }

    #[test]
    fn a_long_name_is_told_backwards() {
        let entries = long_entries(b"abcdefghijklmnop", b"ABCDEF~1   ").unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(&entries[0][1..11], b"n\0o\0p\0\0\0\xff\xff");
        assert_eq!(&entries[1][28..32], b"l\0m\0");
        assert_eq!(long_entries(b"\xff", b"~1         "), None);
        // A name that fills its entries has no zero behind it.
        assert_eq!(long_entries(b"abcdefghijklm", b"ABCDEF~1   ").unwrap().len(), 1);
    }
}
