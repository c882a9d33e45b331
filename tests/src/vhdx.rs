//! VHDX logs: what an interrupted Hyper-V leaves, and no QEMU.

use crate::mutate::seal;

/// Where images made by QEMU have their log, and how long it is.
const LOG: usize = 1 << 20;
/// Where they have both headers.
const HEADERS: [usize; 2] = [64 << 10, 128 << 10];
/// Sectors of a log.
const SECTOR: usize = 4096;
/// Identity of the log.
const GUID: [u8; 16] = [0x55; 16];

/// Puts an entry into an image's log that makes one sector what it is already, and another one zeroes.
pub fn add_log(image: &mut [u8], same: usize, zeroes: usize) {
    let Some(data) = image.get(same..same + SECTOR).map(<[u8]>::to_vec) else { return };
    let entry = entry(image.len() as u64, (same as u64, &data), zeroes as u64);
    if let Some(log) = image.get_mut(LOG..LOG + entry.len()) {
        log.copy_from_slice(&entry);
        seal(image, LOG..LOG + entry.len());
        for at in HEADERS {
            image[at + 48..at + 64].copy_from_slice(&GUID);
            seal(image, at..at + SECTOR);
        }
    }
}

/// A log entry (VHDX specification, 2.3.1): its header, two descriptors, and a sector of data.
fn entry(file_len: u64, (place, data): (u64, &[u8]), zeroes: u64) -> Vec<u8> {
    const SEQUENCE: u64 = 1;
    let mut bytes = b"loge\0\0\0\0".to_vec();
    bytes.extend((2 * SECTOR as u32).to_le_bytes());
    // Its tail is itself, at the log's beginning.
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(SEQUENCE.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(GUID);
    bytes.extend(file_len.to_le_bytes());
    bytes.extend(file_len.to_le_bytes());
    bytes.extend(b"desc");
    bytes.extend(&data[SECTOR - 4..]);
    bytes.extend(&data[..8]);
    bytes.extend(place.to_le_bytes());
    bytes.extend(SEQUENCE.to_le_bytes());
    bytes.extend(b"zero\0\0\0\0");
    bytes.extend((SECTOR as u64).to_le_bytes());
    bytes.extend(zeroes.to_le_bytes());
    bytes.extend(SEQUENCE.to_le_bytes());
    bytes.resize(SECTOR, 0);
    bytes.extend(b"data");
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(&data[8..SECTOR - 4]);
    bytes.extend((SEQUENCE as u32).to_le_bytes());
    bytes
}
