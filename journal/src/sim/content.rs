//! The bytes of a simulated file: pages, and holes between them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::{Extent, ExtentKind};

const PAGE: u64 = crate::PAGE as u64;

/// Bytes, and what they are told apart by once somebody has asked.
#[derive(Debug, Clone)]
struct Page {
    bytes: [u8; crate::PAGE],
    digest: OnceLock<u64>,
}

impl Default for Page {
    fn default() -> Self {
        Self { bytes: [0; crate::PAGE], digest: OnceLock::new() }
    }
}

impl Page {
    fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            // Four sums side by side: one multiplication need not wait for the last.
            let mut sums = [0x243f_6a88_85a3_08d3_u64, 1, 2, 3];
            for words in self.bytes.as_chunks::<8>().0.as_chunks::<4>().0 {
                for (sum, word) in sums.iter_mut().zip(words) {
                    let mixed = (*sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    *sum = mixed ^ mixed >> 29;
                }
            }
            let mut state = DefaultHasher::new();
            sums.hash(&mut state);
            state.finish()
        })
    }
}

/// Bytes with holes. A copy shares its pages until one of the two is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    len: u64,
    modified: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Content {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that stand on pages, as a filesystem would count them.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// When it was last changed, by the clock of [`Content::touch`].
    pub(super) fn modified(&self) -> u64 {
        self.modified
    }

    /// Notes the time of a change.
    pub(super) fn touch(&mut self, time: u64) {
        self.modified = time;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }

    /// Fills `buf` from `offset`, up to the end, and says how far.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let end = self.len.min(offset.saturating_add(buf.len() as u64));
        let mut at = offset;
        while at < end {
            let inside = (at % PAGE) as usize;
            let step = (PAGE - at % PAGE).min(end - at) as usize;
            let to = &mut buf[(at - offset) as usize..][..step];
            match self.pages.get(&(at / PAGE)) {
                Some(page) => to.copy_from_slice(&page.bytes[inside..inside + step]),
                None => to.fill(0),
            }
            at += step as u64;
        }
        at.saturating_sub(offset) as usize
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let step = (crate::PAGE - inside).min(bytes.len() - done);
            self.page(at / PAGE)[inside..inside + step].copy_from_slice(&bytes[done..done + step]);
            done += step;
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len..self.len);
        }
        self.len = len;
    }

    /// Makes a range within the file zeroes; whole pages become holes.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        let touched: Vec<u64> =
            self.pages.range(range.start / PAGE..range.end.div_ceil(PAGE)).map(|(&index, _)| index).collect();
        for index in touched {
            let (start, end) = (index * PAGE, (index + 1) * PAGE);
            // Bytes past the end of the file are zeroes already.
            let is_whole = range.start <= start && range.end >= end.min(self.len);
            if is_whole {
                self.pages.remove(&index);
            } else {
                let inside = range.start.max(start) - start..range.end.min(end) - start;
                self.page(index)[inside.start as usize..inside.end as usize].fill(0);
            }
        }
    }

    pub(super) fn extent_at(&self, offset: u64) -> Extent {
        let rest = Extent { kind: ExtentKind::Hole, end: u64::MAX };
        if offset >= self.len {
            return rest;
        }
        let first = offset / PAGE;
        match self.pages.range(first..).next() {
            Some((&index, _)) if index == first => {
                let run = self
                    .pages
                    .range(first..)
                    .zip(first..)
                    .take_while(|((index, _), wanted)| *index == wanted);
                let end = (first + run.count() as u64) * PAGE;
                Extent { kind: ExtentKind::Data, end: end.min(self.len) }
            }
            Some((&index, _)) => Extent { kind: ExtentKind::Hole, end: index * PAGE },
            None => rest,
        }
    }

    /// What files of other bytes or another length are told apart by.
    pub(super) fn digest(&self) -> u64 {
        let mut state = DefaultHasher::new();
        self.len.hash(&mut state);
        for (index, page) in &self.pages {
            (index, page.digest()).hash(&mut state);
        }
        state.finish()
    }

    /// The pages that may differ from another file's: all that the two do not share.
    pub(super) fn unshared_pages(&self, other: &Self) -> Vec<u64> {
        let mut found = Vec::new();
        let mut others = other.pages.iter().peekable();
        for (&index, page) in &self.pages {
            while let Some((&before, _)) = others.next_if(|(of, _)| **of < index) {
                found.push(before);
            }
            match others.next_if(|(of, _)| **of == index) {
                Some((_, other)) if Arc::ptr_eq(page, other) => {}
                _ => found.push(index),
            }
        }
        found.extend(others.map(|(&index, _)| index));
        found
    }

    fn page(&mut self, index: u64) -> &mut [u8; crate::PAGE] {
        let page = Arc::make_mut(self.pages.entry(index).or_default());
        page.digest.take();
        &mut page.bytes
    }
}
