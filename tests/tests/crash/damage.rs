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

/// Of a QED image, the first cluster is said to be far behind the file's end.
pub fn qed_entry(image: &mut [u8]) {
    let table = le_u64(image, qed_used(image, le_u64(image, 40)));
    let entry = qed_used(image, table);
    image[entry..entry + 8].copy_from_slice(&QED_LOST.to_le_bytes());
    qed_is_to_be_checked(image);
}

/// Of a QED image, a table is said to be far behind the file's end, and there is more at the end than is used.
pub fn qed_table(image: &mut Vec<u8>) {
    let entry = qed_used(image, le_u64(image, 40));
    image[entry..entry + 8].copy_from_slice(&QED_LOST.to_le_bytes());
    let cluster_size = le_u32(image, 4) as usize;
    image.resize(image.len().next_multiple_of(cluster_size) + cluster_size, 9);
    qed_is_to_be_checked(image);
}

const QED_LOST: u64 = 1 << 40;

/// Where the first entry is that says something, in a table at that offset.
fn qed_used(image: &[u8], table: u64) -> usize {
    (table as usize..).step_by(8).find(|at| le_u64(image, *at) > 1).unwrap()
}

fn qed_is_to_be_checked(image: &mut [u8]) {
    image[16] |= 2;
}

/// Of a Parallels image, two entries share a cluster, and one is far behind the file's end.
pub fn parallels_entries(image: &mut [u8]) {
    let [used, .., free, last] = parallels_places(image)[..] else { return };
    image.copy_within(used..used + 4, free);
    image[last..last + 4].copy_from_slice(&PARALLELS_LOST.to_le_bytes());
    parallels_is_in_use(image);
}

/// Of a Parallels image, an entry is far behind the file's end, which is behind what is used.
pub fn parallels_end(image: &mut Vec<u8>) {
    let [.., last] = parallels_places(image)[..] else { return };
    image[last..last + 4].copy_from_slice(&PARALLELS_LOST.to_le_bytes());
    image.resize(image.len() + 100_000, 9);
    parallels_is_in_use(image);
}

const PARALLELS_LOST: u32 = 0x00ff_0000;

/// Where the first entry is that says something, and all behind it that say nothing.
fn parallels_places(image: &[u8]) -> Vec<usize> {
    let table = (64..).step_by(4).take(le_u32(image, 32) as usize);
    let (free, used): (Vec<usize>, Vec<usize>) = table.partition(|at| le_u32(image, *at) == 0);
    used.into_iter().take(1).chain(free).collect()
}

fn parallels_is_in_use(image: &mut [u8]) {
    image[44..48].copy_from_slice(&0x746f_6e59_u32.to_le_bytes());
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}
