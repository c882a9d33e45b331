//! The file allocation table.

use super::boot::media;
use super::layout::{FatType, Layout};
use super::tree::Tree;
use crate::raw::SECTOR;

/// The table of a tree of files, as its bytes.
pub(super) fn table(layout: &Layout, tree: &Tree) -> Vec<u8> {
    let mut table = vec![0; layout.sectors_per_fat as usize * SECTOR as usize];
    let end_of_chain = layout.fat_type.end_of_chain();
    // The root directory has its own place.
    for node in tree.nodes.iter().skip(1) {
        for cluster in node.clusters.start..node.clusters.end {
            let next = cluster + 1;
            let value = if next == node.clusters.end { end_of_chain } else { next };
            set(&mut table, layout.fat_type, cluster, value);
        }
    }
    // No file has the first two.
    set(&mut table, layout.fat_type, 0, end_of_chain);
    set(&mut table, layout.fat_type, 1, end_of_chain);
    table[0] = media(layout.medium);
    table
}

fn set(table: &mut [u8], fat_type: FatType, cluster: u32, value: u32) {
    let at = (u64::from(cluster) * u64::from(fat_type.bits()) / 8) as usize;
    let bytes = value.to_le_bytes();
    // All clusters that there is room for have an entry.
    match fat_type {
        FatType::Fat32 => table[at..at + 4].copy_from_slice(&bytes),
        FatType::Fat16 => table[at..at + 2].copy_from_slice(&bytes[..2]),
        FatType::Fat12 if cluster.is_multiple_of(2) => {
            table[at] = bytes[0];
            table[at + 1] = (table[at + 1] & 0xf0) | (bytes[1] & 0x0f);
        }
        FatType::Fat12 => {
            table[at] = (table[at] & 0x0f) | (bytes[0] << 4);
            table[at + 1] = (value >> 4) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_twelve_bits_share_a_byte() {
        let mut table = [0; 6];
        set(&mut table, FatType::Fat12, 0, 0xabc);
        set(&mut table, FatType::Fat12, 1, 0x123);
        set(&mut table, FatType::Fat12, 2, 0xfff);
        assert_eq!(table, [0xbc, 0x3a, 0x12, 0xff, 0x0f, 0]);
    }
}
