//! A file seen through a cipher.

use std::cell::RefCell;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crypto::{SECTOR, SectorCipher};
use journal::{
    AlignedBuf, Allocate, Claim, Disk, DiskStatus, ErrorKind, Extent, ExtentKind, Result, Zeroing,
};

thread_local! {
    /// Where a thread encrypts what it writes. It never holds plain bytes for longer than that.
    static ENCRYPTED: RefCell<AlignedBuf> = RefCell::new(AlignedBuf::new(0));
}

/// A disk whose bytes are another one's, decrypted.
///
/// It is for reading and writing data that a driver has mapped; what else is done to a file is done
/// to the file itself.
#[derive(Debug)]
pub(super) struct CipherDisk {
    inner: Arc<dyn Disk>,
    cipher: Arc<SectorCipher>,
    /// What is added to an offset before its sector is counted.
    shift: u64,
}

impl CipherDisk {
    pub(super) fn new(inner: Arc<dyn Disk>, cipher: Arc<SectorCipher>, shift: u64) -> Self {
        Self { inner, cipher, shift }
    }

    fn sector(&self, offset: u64) -> u64 {
        offset.wrapping_add(self.shift) / SECTOR as u64
    }

    /// Bytes that are encrypted at once.
    fn unit(&self) -> u64 {
        self.cipher.sector_len() as u64
    }

    fn refuse(&self, op: &'static str, offset: Option<u64>) -> journal::Error {
        journal::Error::new(ErrorKind::Unsupported, op, Path::new("an encrypted image"), offset)
    }

    /// Hands the encrypted bytes to `write`.
    fn encrypted(
        &self,
        offset: u64,
        bufs: &[IoSlice<'_>],
        write: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if !offset.is_multiple_of(self.unit()) || !len.is_multiple_of(self.cipher.sector_len()) {
            return Err(self.refuse("write a part of a sector to", Some(offset)));
        }
        ENCRYPTED.with_borrow_mut(|buffer| {
            buffer.ensure_len(len);
            let bytes = &mut buffer[..len];
            let mut rest = &mut *bytes;
            for buf in bufs {
                let (place, after) = rest.split_at_mut(buf.len());
                place.copy_from_slice(buf);
                rest = after;
            }
            self.cipher.encrypt(self.sector(offset), bytes);
            write(bytes)
        })
    }

    /// Reads whole sectors.
    fn read_sectors(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_padded(offset, buf)?;
        self.cipher.decrypt(self.sector(offset), buf);
        Ok(())
    }

    /// Reads a part of one sector.
    fn read_within(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut sector = zeroize::Zeroizing::new(vec![0; self.cipher.sector_len()]);
        let within = (offset % self.unit()) as usize;
        self.read_sectors(offset - within as u64, &mut sector)?;
        buf.copy_from_slice(&sector[within..within + buf.len()]);
        Ok(())
    }
}

impl Disk for CipherDisk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    /// What lies past the end is decrypted like zeroes, so nothing ends here.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read_padded(offset, buf)?;
        Ok(buf.len())
    }

    fn read_padded(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let before = (offset.next_multiple_of(self.unit()) - offset) as usize;
        let (head, rest) = buf.split_at_mut(before.min(buf.len()));
        let (whole, tail) = rest.split_at_mut(rest.len() - rest.len() % self.cipher.sector_len());
        if !head.is_empty() {
            self.read_within(offset, head)?;
        }
        let start = offset + head.len() as u64;
        if !whole.is_empty() {
            self.read_sectors(start, whole)?;
        }
        if tail.is_empty() { Ok(()) } else { self.read_within(start + whole.len() as u64, tail) }
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_padded(offset, buf)
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        self.encrypted(offset, bufs, |bytes| self.inner.write_at(offset, bytes))
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.encrypted(offset, &[IoSlice::new(buf)], |bytes| self.inner.write_bulk_at(offset, bytes))
    }

    fn set_len(&self, _len: u64) -> Result<()> {
        Err(self.refuse("resize", None))
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn allocate(&self, range: Range<u64>, _how: Allocate) -> Result<()> {
        Err(self.refuse("allocate in", Some(range.start)))
    }

    fn zero(&self, range: Range<u64>, _how: Zeroing) -> Result<()> {
        Err(self.refuse("make holes in", Some(range.start)))
    }

    fn copy_from(&self, offset: u64, _: &dyn Disk, _: u64, _: u64) -> Result<u64> {
        Err(self.refuse("copy into", Some(offset)))
    }

    fn extent_at(&self, _offset: u64) -> Result<Extent> {
        Ok(Extent { kind: ExtentKind::Data, end: u64::MAX })
    }

    fn status(&self) -> Result<DiskStatus> {
        self.inner.status()
    }

    /// The file has been locked when the image was opened.
    fn lock(&self, _claim: Claim) -> Result<()> {
        Ok(())
    }
}
