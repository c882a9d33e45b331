//! Compares large, mostly empty files without reading their holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

const CHUNK: u64 = 1 << 20;

/// Bytes of a VPC image's footer.
const VPC_FOOTER: u64 = 512;

/// Whether a file ends in the footer of a VPC image. One of a fixed size is not recognised by anything else.
pub fn is_fixed_vpc(path: &Path) -> bool {
    File::open(path).and_then(|file| ends_in_footer(&file)).unwrap_or(false)
}

fn ends_in_footer(file: &File) -> io::Result<bool> {
    let Some(at) = file.metadata()?.len().checked_sub(VPC_FOOTER) else { return Ok(false) };
    Ok(read(file, at, at + 8)? == b"conectix")
}

/// The first difference between two files, in words; `None` if they hold the same bytes, but for the
/// identity in a VPC image's footer.
pub fn difference(left: &Path, right: &Path) -> io::Result<Option<String>> {
    let (left, right) = (File::open(left)?, File::open(right)?);
    let (left_len, right_len) = (left.metadata()?.len(), right.metadata()?.len());
    if left_len != right_len {
        return Ok(Some(format!("lengths differ: expected {left_len}, got {right_len}")));
    }
    let identity = if ends_in_footer(&left)? && ends_in_footer(&right)? {
        // Its time, and its checksum and UUID, which stand beside each other.
        let footer = left_len - VPC_FOOTER;
        vec![footer + 0x18..footer + 0x1c, footer + 0x40..footer + 0x54]
    } else {
        Vec::new()
    };
    let mut at = 0;
    while let Some(data) = earlier(next_data(&left, at)?, next_data(&right, at)?) {
        let end = (data + CHUNK).min(left_len);
        let (mut a, mut b) = (read(&left, data, end)?, read(&right, data, end)?);
        for at in identity.iter().flat_map(Clone::clone).filter(|at| (data..end).contains(at)) {
            (a[(at - data) as usize], b[(at - data) as usize]) = (0, 0);
        }
        if let Some(index) = a.iter().zip(&b).position(|(a, b)| a != b) {
            return Ok(Some(format!(
                "bytes differ at {:#x}: expected {:#04x}, got {:#04x}",
                data + index as u64,
                a[index],
                b[index]
            )));
        }
        at = end;
    }
    Ok(None)
}

fn earlier(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}

fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read(file: &File, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (end - at) as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
