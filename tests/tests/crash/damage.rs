//! Damaged images, to be repaired.

use journal::sim::Frozen;

use crate::subject::TOP;

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A cluster that nobody uses is counted.
    Leak,
    /// The last cluster of the file, which is used, is not counted.
    Uncounted,
    /// A cluster with one user is not marked so.
    Copied,
    /// The place of the first refcount block is lost.
    LostBlock,
}

impl Damage {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Leak, Self::Uncounted, Self::Copied, Self::LostBlock];

    /// The same tree with the image damaged.
    pub fn inflict(self, tree: &Frozen) -> Frozen {
        let fs = tree.thaw();
        let mut image = Patient { bytes: fs.bytes(TOP).unwrap() };
        image.suffer(self);
        fs.add_file(TOP, &image.bytes);
        fs.freeze()
    }
}

/// An image's bytes.
struct Patient {
    bytes: Vec<u8>,
}

impl Patient {
    fn suffer(&mut self, damage: Damage) {
        let cluster_size = 1 << self.u32(20);
        let table = self.u64(48) as usize;
        let l1 = self.u64(40) as usize;
        match damage {
            Damage::Leak => {
                let end = self.bytes.len().next_multiple_of(cluster_size);
                self.bytes.resize(end + cluster_size, 0);
                self.count(end / cluster_size, 1);
            }
            Damage::Uncounted => self.count((self.bytes.len() - 1) / cluster_size, 0),
            Damage::Copied => {
                let entries = (l1..).step_by(8);
                let used = entries.take(self.u32(36) as usize).find(|at| self.u64(*at) != 0).unwrap();
                self.bytes[used] ^= 0x80;
            }
            Damage::LostBlock => self.bytes[table..table + 8].fill(0),
        }
    }

    /// Sets the count of a cluster under the first refcount block.
    fn count(&mut self, cluster: usize, count: u8) {
        let bits = if self.u32(4) == 2 { 16 } else { 1_usize << self.u32(96) };
        let block = self.u64(self.u64(48) as usize) as usize;
        if bits >= 8 {
            let at = block + cluster * bits / 8;
            self.bytes[at..at + bits / 8].fill(0);
            self.bytes[at + bits / 8 - 1] = count;
        } else {
            let (at, shift) = (block + cluster * bits / 8, cluster * bits % 8);
            let mask = ((1_u8 << bits) - 1) << shift;
            self.bytes[at] = self.bytes[at] & !mask | count << shift;
        }
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(*self.bytes[at..].first_chunk().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(*self.bytes[at..].first_chunk().unwrap())
    }
}
