//! Finds and changes single fields of a qcow2 file, to make damaged images.
//!
//! This reader is independent of the driver under test on purpose, and trusts the image: it is
//! only ever used on what the oracle wrote.
//!
//! Places: a header field by name (`l1_size`), `l1[0]`, `l2[0][5]`, `sub[0][5]` (the bitmap of an
//! extended entry), `rt[0]`, `rb[0][7]`, `snap[0]+16:4`, `ext[e2792aca]+0:4` and
//! `magic[e2792aca]` (a header extension's data and magic), `bm[0]+12:4`,
//! `bmt[0][1]`, or `@512:8` for eight bytes at an offset.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bits of an L1, L2 or bitmap table entry that are an offset.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// Header fields: name, offset, width in bytes.
const FIELDS: [(&str, u64, u64); 20] = [
    ("magic", 0, 4),
    ("version", 4, 4),
    ("backing_file_offset", 8, 8),
    ("backing_file_size", 16, 4),
    ("cluster_bits", 20, 4),
    ("size", 24, 8),
    ("crypt_method", 32, 4),
    ("l1_size", 36, 4),
    ("l1_table_offset", 40, 8),
    ("refcount_table_offset", 48, 8),
    ("refcount_table_clusters", 56, 4),
    ("nb_snapshots", 60, 4),
    ("snapshots_offset", 64, 8),
    ("incompatible", 72, 8),
    ("compatible", 80, 8),
    ("autoclear", 88, 8),
    ("refcount_order", 96, 4),
    ("header_length", 100, 4),
    ("compression_type", 104, 1),
    ("compression_padding", 105, 7),
];

/// A qcow2 file opened for damage.
#[derive(Debug)]
pub struct Patient {
    file: File,
}

/// A field: where it is and how wide, both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset in the file.
    pub at: u64,
    /// Width in bytes, at most 8.
    pub width: u64,
}

impl Patient {
    /// Opens a file.
    pub fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        Self { file: file.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display())) }
    }

    /// Applies `op` (`=`, `|=`, `^=`, `+=`) with a number or another place's value.
    pub fn poke(&self, place: &str, op: &str, value: &str) {
        let place = self.place(place);
        let value = self.value(value);
        let old = self.get(place);
        self.set(
            place,
            match op {
                "=" => value,
                "|=" => old | value,
                "^=" => old ^ value,
                "+=" => old.wrapping_add(value),
                _ => panic!("no such operation: {op}"),
            },
        );
    }

    /// The number in a place.
    pub fn get(&self, place: Place) -> u64 {
        let mut bytes = [0; 8];
        let width = place.width as usize;
        self.file.read_exact_at(&mut bytes[8 - width..], place.at).expect("the place is in the file");
        u64::from_be_bytes(bytes)
    }

    fn set(&self, place: Place, value: u64) {
        let width = place.width as usize;
        let bytes = &value.to_be_bytes()[8 - width..];
        self.file.write_all_at(bytes, place.at).expect("scratch files can be written");
    }

    fn value(&self, text: &str) -> u64 {
        match number(text) {
            Some(value) => value,
            None => self.get(self.place(text)),
        }
    }

    /// Where the place of that description is.
    pub fn place(&self, text: &str) -> Place {
        let (path, detail) = match text.split_once('+') {
            Some((path, detail)) => (path, Some(detail)),
            None => (text, None),
        };
        let base = self.base(path);
        match detail {
            None => base,
            Some(detail) => {
                let place = explicit(detail);
                Place { at: base.at + place.at, width: place.width }
            }
        }
    }

    fn base(&self, path: &str) -> Place {
        if let Some(detail) = path.strip_prefix('@') {
            return explicit(detail);
        }
        if let Some(&(_, at, width)) = FIELDS.iter().find(|field| field.0 == path) {
            return Place { at, width };
        }
        let mut parts = path.split(['[', ']']).filter(|part| !part.is_empty());
        let kind = parts.next().unwrap_or_default();
        let indices: Vec<&str> = parts.collect();
        let index = |n: usize| number(indices[n]).expect("an index is a number");
        match kind {
            "l1" => self.entry(self.field("l1_table_offset"), index(0), 8),
            "l2" => self.entry(self.l2_table(index(0)), index(1), self.l2_entry_size()),
            "sub" => {
                let entry = self.entry(self.l2_table(index(0)), index(1), self.l2_entry_size());
                Place { at: entry.at + 8, width: 8 }
            }
            "rt" => self.entry(self.field("refcount_table_offset"), index(0), 8),
            "rb" => {
                let block = self.get(self.entry(self.field("refcount_table_offset"), index(0), 8));
                let width = (1 << self.field("refcount_order")) / 8;
                self.entry(block, index(1), width)
            }
            "snap" => Place { at: self.snapshot(index(0)), width: 8 },
            "ext" => {
                let magic = u32::from_str_radix(indices[0], 16).expect("a magic is hexadecimal");
                Place { at: self.extension(magic), width: 8 }
            }
            "magic" => {
                let magic = u32::from_str_radix(indices[0], 16).expect("a magic is hexadecimal");
                Place { at: self.extension(magic) - 8, width: 4 }
            }
            "bm" => Place { at: self.bitmap(index(0)), width: 8 },
            "bmt" => self.entry(self.get(Place { at: self.bitmap(index(0)), width: 8 }), index(1), 8),
            _ => panic!("no such place: {path}"),
        }
    }

    fn field(&self, name: &str) -> u64 {
        self.get(self.base(name))
    }

    fn entry(&self, table: u64, index: u64, width: u64) -> Place {
        Place { at: (table & OFFSET_MASK) + index * width, width: width.min(8) }
    }

    fn l2_table(&self, index: u64) -> u64 {
        self.get(self.entry(self.field("l1_table_offset"), index, 8))
    }

    fn l2_entry_size(&self) -> u64 {
        let extended = self.field("version") >= 3 && self.field("incompatible") & (1 << 4) != 0;
        if extended { 16 } else { 8 }
    }

    /// Offset of a snapshot table entry.
    fn snapshot(&self, index: u64) -> u64 {
        let mut at = self.field("snapshots_offset");
        for _ in 0..index {
            let id = self.get(Place { at: at + 12, width: 2 });
            let name = self.get(Place { at: at + 14, width: 2 });
            let extra = self.get(Place { at: at + 36, width: 4 });
            at += (40 + extra + id + name).next_multiple_of(8);
        }
        at
    }

    /// Offset of a header extension's data.
    fn extension(&self, magic: u32) -> u64 {
        let mut at = if self.field("version") >= 3 { self.field("header_length") } else { 72 };
        loop {
            let found = self.get(Place { at, width: 4 });
            let len = self.get(Place { at: at + 4, width: 4 });
            if found == u64::from(magic) {
                return at + 8;
            }
            assert!(found != 0, "the image has no header extension {magic:08x}");
            at += 8 + len.next_multiple_of(8);
        }
    }

    /// Offset of a bitmap directory entry.
    fn bitmap(&self, index: u64) -> u64 {
        let mut at = self.get(Place { at: self.extension(0x2385_2875) + 16, width: 8 });
        for _ in 0..index {
            let name = self.get(Place { at: at + 18, width: 2 });
            let extra = self.get(Place { at: at + 20, width: 4 });
            at += (24 + extra + name).next_multiple_of(8);
        }
        at
    }
}

/// `offset` or `offset:width`.
fn explicit(text: &str) -> Place {
    let (at, width) = text.split_once(':').unwrap_or((text, "8"));
    let both = number(at).zip(number(width));
    let (at, width) = both.unwrap_or_else(|| panic!("no such place: {text}"));
    Place { at, width }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
