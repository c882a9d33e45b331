//! Which formats a file looks like.

use super::concern::{Code, Concern};
use super::sample::Sample;
use crate::{Format, probe};

/// What a raw disk's bytes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A filesystem of ISO 9660.
    Iso,
    /// GUID partitions.
    Gpt,
    /// Partitions of a master boot record.
    Mbr,
    /// A LUKS volume of version 2, which no driver opens.
    Luks2,
}

impl Content {
    /// The name as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
            Self::Luks2 => "luks2",
        }
    }
}

/// Everything that a file looks like.
#[derive(Debug)]
pub(super) struct Signatures {
    /// Image formats; none means raw.
    pub(super) formats: Vec<Format>,
    /// What a raw disk may hold.
    pub(super) contents: Vec<Content>,
    /// Whether the file is told by its end alone, so that the disk's own bytes stand at its start.
    by_end: bool,
    /// What is wrong with a partition table.
    table: Option<&'static str>,
}

/// Where ISO 9660's volume descriptors have their identifier.
const ISO: [usize; 3] = [0x8001, 0x8801, 0x9001];
/// Where the header of GUID partitions is, with sectors of 512 and of 4096 bytes.
const GPT: [usize; 2] = [512, 4096];

impl Signatures {
    pub(super) fn of(sample: &Sample) -> Self {
        let mut formats: Vec<_> = probe::certain(&sample.start).collect();
        let by_start = formats.len();
        let trailers = [(&b"conectix"[..], Format::Vpc), (b"koly", Format::Dmg)];
        for (magic, format) in trailers {
            if sample.last_sector_has(magic) && !formats.contains(&format) {
                formats.push(format);
            }
        }
        let has_gpt = GPT.iter().any(|&at| sample.has(at, b"EFI PART"));
        let partitions = Partitions::of(sample);
        let is_there = [
            (Content::Iso, ISO.iter().any(|&at| sample.has(at, b"CD001"))),
            (Content::Gpt, has_gpt),
            (Content::Mbr, partitions == Partitions::Sound && !has_gpt),
            (Content::Luks2, sample.has(0, b"LUKS\xba\xbe\0\x02")),
        ];
        let contents = is_there.into_iter().filter_map(|(content, is)| is.then_some(content)).collect();
        let table = match partitions {
            Partitions::Unsound => Some("A partition is marked in a way that no partition is"),
            Partitions::None if has_gpt => {
                Some("GUID partitions stand there without the record that protects them")
            }
            _ => None,
        };
        Self { formats, contents, by_end: by_start == 0, table }
    }

    /// What is against the file by itself, and as what it is said to be.
    pub(super) fn concerns(&self, said: Option<Format>) -> Vec<Concern> {
        let mut concerns = Vec::new();
        let mut names: Vec<_> = self.formats.iter().map(|format| format.name()).collect();
        if !self.by_end && !names.is_empty() {
            names.extend(self.contents.iter().map(|content| content.name()));
        }
        if names.len() > 1 {
            concerns
                .push(Concern::new(Code::SeveralFormats, format!("It is {} at once", names.join(" and "))));
        }
        let first = self.formats.first().copied().unwrap_or(Format::Raw);
        if let Some(said) = said
            && said != first
        {
            let detail = format!("It was said to be {said}, and looks like {first}");
            concerns.push(Concern::new(Code::OtherFormat, detail));
        }
        if self.contents.contains(&Content::Luks2) {
            let detail = "A LUKS volume of version 2 is no image that can be opened";
            concerns.push(Concern::new(Code::LuksVersion, detail));
        }
        if let Some(wrong) = self.table.filter(|_| self.formats.is_empty() || self.by_end) {
            concerns.push(Concern::new(Code::PartitionTable, wrong));
        }
        concerns
    }
}

/// What a master boot record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partitions {
    /// There is none, or it has no partitions: a boot sector of a filesystem.
    None,
    Sound,
    Unsound,
}

impl Partitions {
    const TABLE: usize = 446;
    const ENTRY: usize = 16;

    fn of(sample: &Sample) -> Self {
        // Filesystems' boot sectors begin with a jump, and have code where a table would be.
        let is_filesystem = matches!(sample.array::<3>(0), [0xeb, _, 0x90] | [0xe9, _, _]);
        if !sample.has(510, &[0x55, 0xaa]) || is_filesystem {
            return Self::None;
        }
        let entries = (0..4).map(|index| sample.array::<{ Self::ENTRY }>(Self::TABLE + index * Self::ENTRY));
        let used: Vec<_> = entries.filter(|entry| entry[4] != 0).collect();
        let bootable = used.iter().filter(|entry| entry[0] == 0x80).count();
        let is_marked = |entry: &[u8; Self::ENTRY]| matches!(entry[0], 0 | 0x80);
        match used.is_empty() {
            true => Self::None,
            false if used.iter().all(is_marked) && bootable <= 1 => Self::Sound,
            false => Self::Unsound,
        }
    }
}
