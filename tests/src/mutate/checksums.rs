//! Checksums of damaged images made anew, so that damage gets behind them; and work that a header asks for
//! kept small.

use std::ops::Range;

/// Where a VHDX image has its headers and region tables (VHDX specification, 2.2), and how long they are.
const VHDX_STRUCTURES: [(usize, usize); 4] =
    [(64 << 10, 4 << 10), (128 << 10, 4 << 10), (192 << 10, 64 << 10), (256 << 10, 64 << 10)];
/// Entries of a VHDX log begin at sectors of that size.
const LOG_SECTOR: usize = 4096;
/// Longer entries are left as they are.
const LOG_ENTRY_LIMIT: usize = 1 << 20;

/// Bytes of a VPC footer, and where its checksum is.
const FOOTER: (usize, usize) = (512, 64);
/// The same of the header of a dynamic disk.
const DYNAMIC_HEADER: (usize, usize) = (1024, 36);

/// What a LUKS header begins with.
const LUKS_MAGIC: &[u8] = b"LUKS\xba\xbe";
/// Iterations that a passphrase of a mutant costs, at most.
const MAX_ITERATIONS: u32 = 5000;

/// Makes all checksums of an image right.
pub(crate) fn remake(format: &str, image: &mut [u8]) {
    match format {
        "vhdx" => vhdx(image),
        "vpc" => vpc(image),
        _ => (),
    }
}

fn vhdx(image: &mut [u8]) {
    for (at, len) in VHDX_STRUCTURES {
        seal(image, at..at + len);
    }
    for at in (1 << 20..image.len()).step_by(LOG_SECTOR) {
        if image[at..].starts_with(b"loge") {
            let len = word(image, at + 8).map_or(0, u32::from_le_bytes) as usize;
            if len <= LOG_ENTRY_LIMIT {
                seal(image, at..at + len);
            }
        }
    }
}

/// CRC-32C in the second word, which counts as zero.
pub(crate) fn seal(image: &mut [u8], range: Range<usize>) {
    let Some(structure) = image.get_mut(range).filter(|structure| structure.len() >= 8) else { return };
    structure[4..8].fill(0);
    let sum = crc32c::crc32c(structure);
    structure[4..8].copy_from_slice(&sum.to_le_bytes());
}

fn vpc(image: &mut [u8]) {
    let (footer, _) = FOOTER;
    for at in [0, image.len().saturating_sub(footer)] {
        let is_footer = image[at..].starts_with(b"conectix");
        let header = image.get(at + 16..at + 24).and_then(|offset| offset.try_into().ok());
        if let Some(header) = header.map(u64::from_be_bytes).filter(|_| is_footer) {
            sum_up(image, at, FOOTER);
            sum_up(image, usize::try_from(header).unwrap_or(usize::MAX), DYNAMIC_HEADER);
        }
    }
}

/// The complement of the sum of all other bytes.
fn sum_up(image: &mut [u8], start: usize, (len, field): (usize, usize)) {
    let Some(structure) = start.checked_add(len).and_then(|end| image.get_mut(start..end)) else { return };
    structure[field..field + 4].fill(0);
    let sum: u32 = structure.iter().map(|&byte| u32::from(byte)).sum();
    structure[field..field + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// Keeps the iterations of LUKS headers small. A key costs the work that its header says, whoever opens it; that a
/// header may ask for hours of it is what `inspect` is for.
pub fn cheapen(image: &mut [u8]) {
    for at in (0..image.len()).step_by(512) {
        if image[at..].starts_with(LUKS_MAGIC) {
            // LUKS On-Disk Format Specification, figures 1 and 2.
            [at + 164].into_iter().chain((0..8).map(|slot| at + 208 + 48 * slot + 4)).for_each(|field| {
                let few = word(image, field).map(|count| u32::from_be_bytes(count).min(MAX_ITERATIONS));
                if let (Some(few), Some(place)) = (few, image.get_mut(field..field + 4)) {
                    place.copy_from_slice(&few.to_be_bytes());
                }
            });
        }
    }
}

fn word(image: &[u8], at: usize) -> Option<[u8; 4]> {
    image.get(at..at.checked_add(4)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_made_right() {
        let mut image = vec![0; 512];
        image[..8].copy_from_slice(b"conectix");
        image[16..24].fill(0xff);
        remake("vpc", &mut image);
        let sum: u32 = image.iter().map(|&byte| u32::from(byte)).sum();
        let of_sum: u32 = image[64..68].iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(!(sum - of_sum), u32::from_be_bytes(image[64..68].try_into().unwrap_or_default()));
    }

    #[test]
    fn iterations_are_kept_small() {
        let mut image = vec![0xff; 1024];
        image[512..518].copy_from_slice(LUKS_MAGIC);
        cheapen(&mut image);
        assert_eq!(word(&image, 512 + 164).map(u32::from_be_bytes), Some(MAX_ITERATIONS));
        assert_eq!(word(&image, 512 + 208 + 4).map(u32::from_be_bytes), Some(MAX_ITERATIONS));
        assert_eq!(word(&image, 164).map(u32::from_be_bytes), Some(u32::MAX));
    }
}
