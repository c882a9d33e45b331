//! What a VMDK image asks for ("Virtual Disk Format 5.0": the descriptor, the hosted sparse extent).

use journal::Disk;

use super::concern::{Code, Concern, Reference, Role};
use super::sample::Sample;
use crate::Result;

const SECTOR: u64 = 512;
/// `SparseExtentHeader`: `capacity`, `descriptorOffset`, `descriptorSize` and `gdOffset`, in sectors.
const CAPACITY: usize = 12;
const DESCRIPTOR_OFFSET: usize = 28;
const DESCRIPTOR_SIZE: usize = 36;
const GD_OFFSET: usize = 56;
/// The grain directory's place is told by the footer.
const GD_AT_END: u64 = u64::MAX;
/// A longer descriptor is none that anybody meant.
const MAX_DESCRIPTOR: u64 = 1 << 20;
/// The kinds that are one file by themselves.
const WHOLE: [&str; 2] = ["monolithicSparse", "streamOptimized"];

/// Tells what the header and the descriptor ask for.
pub(super) fn look(
    disk: &dyn Disk,
    sample: &Sample,
    references: &mut Vec<Reference>,
    concerns: &mut Vec<Concern>,
) -> Result<()> {
    let number = |at: usize| u64::from_le_bytes(sample.array(at));
    let is_sparse = sample.has(0, b"KDMV");
    let place = match is_sparse {
        true => {
            number(DESCRIPTOR_OFFSET).saturating_mul(SECTOR)..number(DESCRIPTOR_SIZE).saturating_mul(SECTOR)
        }
        false => 0..disk.len()?,
    };
    let len = place.end.min(MAX_DESCRIPTOR) as usize;
    let mut bytes = vec![0; if place.start < disk.len()? { len } else { 0 }];
    disk.read_padded(place.start, &mut bytes)?;
    let descriptor = Descriptor::parse(&bytes);
    let kind = descriptor.kind.as_deref().unwrap_or_default();
    if !is_sparse || !WHOLE.contains(&kind) {
        let detail = format!("It is of the type '{kind}', which is not one file by itself");
        concerns.push(Concern::new(Code::VmdkType, detail));
    }
    if is_sparse && number(DESCRIPTOR_OFFSET) != 1 {
        let detail = "Its descriptor is not where the type has it";
        concerns.push(Concern::new(Code::VmdkType, detail));
    }
    // Of an extent that is the file itself, the name is not looked at, unless it leads elsewhere.
    let is_elsewhere = |name: &&Vec<u8>| !is_sparse || number(CAPACITY) == 0 || name.contains(&b'/');
    let elsewhere = descriptor.extents.iter().filter(is_elsewhere);
    references.extend(elsewhere.map(|name| Reference { role: Role::Extent, name: name.clone() }));
    if let Some(name) = descriptor.parent {
        references.push(Reference { role: Role::Backing, name });
    }
    if is_sparse && number(GD_OFFSET) == GD_AT_END && !is_footer_of(sample) {
        concerns.push(Concern::new(Code::VmdkFooter, "Its footer is not like its header"));
    }
    Ok(())
}

/// Whether the sector before the last one is the header but for the grain directory's place.
fn is_footer_of(sample: &Sample) -> bool {
    let footer = &sample.end[..SECTOR as usize];
    let same = |at: std::ops::Range<usize>| sample.start[at.clone()] == footer[at];
    same(0..GD_OFFSET) && same(GD_OFFSET + 8..SECTOR as usize)
}

/// The lines of a descriptor that name something.
#[derive(Debug, Default)]
struct Descriptor {
    kind: Option<String>,
    extents: Vec<Vec<u8>>,
    parent: Option<Vec<u8>>,
}

impl Descriptor {
    fn parse(bytes: &[u8]) -> Self {
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut descriptor = Self::default();
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            descriptor.read(line);
        }
        descriptor
    }

    fn read(&mut self, line: &[u8]) {
        let starts = |word: &[u8]| line.len() > word.len() && line[..word.len()].eq_ignore_ascii_case(word);
        let quoted = || line.split(|&byte| byte == b'"').nth(1).map(<[u8]>::to_vec);
        if starts(b"createType") {
            self.kind = quoted().map(|kind| String::from_utf8_lossy(&kind).into_owned());
        } else if starts(b"parentFileNameHint") {
            self.parent = quoted();
        } else if starts(b"RW ") || starts(b"RDONLY ") || starts(b"NOACCESS ") {
            self.extents.extend(quoted());
        }
    }
}
